"""The errors that lungfield raises; the message says what is wrong, where, and what to do."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from typing import ClassVar


class Reason(StrEnum):
    """Reason codes of files that were not segmented, for tables, journal and report.

    docs/reasons.md explains them. The first five belong to `NotFrontalChestError`; those up to `CHANGED`, and
    `OUT_OF_MEMORY`, to `UnreadableError`.
    """

    # The file is readable, but there is nothing to segment: it is skipped.
    OTHER_OBJECT = "other-object"
    OTHER_BODY_PART = "other-body-part"
    OTHER_VIEW = "other-view"
    SEVERAL_FRAMES = "several-frames"
    LABEL_MAP = "label-map"

    # The file has an error: it fails.
    UNKNOWN_FORMAT = "unknown-format"
    DAMAGED = "damaged"
    UNSUPPORTED = "unsupported"
    OVER_LIMIT = "over-limit"
    TOO_SMALL = "too-small"
    UNIFORM = "uniform"
    INACCESSIBLE = "inaccessible"
    CHANGED = "changed"

    # Processing failed: it may succeed another time.
    CRASHED = "crashed"
    TIMED_OUT = "timed-out"
    OUT_OF_MEMORY = "out-of-memory"
    NOT_WRITTEN = "not-written"
    INTERNAL = "internal"


class LungfieldError(Exception):
    """Base class of all errors that a user can cause and fix.

    Args:
        message: what is wrong, where, and what to do.
        reason: the reason code, for an error of a file; by default that of the class.
    """

    default_reason: ClassVar[Reason] = Reason.INTERNAL

    def __init__(self, message: str, *, reason: Reason | None = None) -> None:
        super().__init__(message)
        self.reason = reason or self.default_reason


class UnreadableError(LungfieldError):
    """A file could not be read as an image: damaged, unsupported, over a limit, or inaccessible."""

    default_reason = Reason.DAMAGED


class NotFrontalChestError(LungfieldError):
    """A readable image that is no frontal chest radiograph."""

    default_reason = Reason.OTHER_OBJECT


class BundleError(LungfieldError):
    """A bundle is missing, incomplete or wrong: no weights, no config, unknown name."""


class DataError(LungfieldError):
    """A folder, data list or reference mask is missing, empty or contradictory."""


class OutputError(LungfieldError):
    """A result could not be written."""

    default_reason = Reason.NOT_WRITTEN


class ClusterError(LungfieldError):
    """Ray is not installed, its cluster cannot be reached, or it ended a run."""


class HeaderError(OutputError):
    """No DICOM object that refers to a radiograph can be made from its header."""


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """An error and its causes (`__cause__`), the outermost first, as MONAI wraps exceptions."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__


def user_error(error: BaseException | None) -> LungfieldError | None:
    """The first `LungfieldError` among an error and its causes, or None."""
    return next((one for one in causes(error) if isinstance(one, LungfieldError)), None)


def first_line(error: BaseException) -> str:
    """The first line of an exception's message; its class name if the message is empty."""
    return next(iter(str(error).splitlines()), type(error).__name__)
