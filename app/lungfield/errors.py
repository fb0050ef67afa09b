"""The errors that lungfield raises; each says what is wrong, where, and what to do about it."""


class LungfieldError(Exception):
    """Base of every error that a user of lungfield can cause and mend."""


class UnreadableError(LungfieldError):
    """A file could not be read as an image: damaged, truncated, unsupported, or over a limit."""


class NotFrontalChestError(LungfieldError):
    """A readable image that is not a frontal chest radiograph, with the reason why."""


class BundleError(LungfieldError):
    """A bundle is missing, incomplete or wrong: no weights, no config, unknown name."""


class DataError(LungfieldError):
    """A folder, data list or reference mask is missing, empty or contradictory."""


class OutputError(LungfieldError):
    """A result could not be written."""


class HeaderError(OutputError):
    """The header of a radiograph does not allow a DICOM object that refers to it."""
