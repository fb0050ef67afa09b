"""What can go wrong with a benchmark."""

from lungfield.errors import LungfieldError


class BenchmarkError(LungfieldError):
    """The call makes no sense, or what was to be timed did not do its work."""
