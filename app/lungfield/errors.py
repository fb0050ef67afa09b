"""The errors that lungfield raises; each says what is wrong, where, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from typing import ClassVar


class Reason(StrEnum):
    """Why a file was not segmented: the short list of codes that tables, journal and report use.

    What each means and what to do is in docs/reasons.md. The first five come with `NotFrontalChestError`,
    those up to `CHANGED`, and `OUT_OF_MEMORY`, with `UnreadableError`.
    """

    # Readable, but nothing to segment: the file is skipped.
    OTHER_OBJECT = "other-object"
    OTHER_BODY_PART = "other-body-part"
    OTHER_VIEW = "other-view"
    SEVERAL_FRAMES = "several-frames"
    LABEL_MAP = "label-map"

    # Something is wrong with the file: it failed.
    UNKNOWN_FORMAT = "unknown-format"
    DAMAGED = "damaged"
    UNSUPPORTED = "unsupported"
    OVER_LIMIT = "over-limit"
    TOO_SMALL = "too-small"
    UNIFORM = "uniform"
    INACCESSIBLE = "inaccessible"
    CHANGED = "changed"

    # Something went wrong with it here: it failed, and may succeed another time.
    CRASHED = "crashed"
    TIMED_OUT = "timed-out"
    OUT_OF_MEMORY = "out-of-memory"
    NOT_WRITTEN = "not-written"
    INTERNAL = "internal"


class LungfieldError(Exception):
    """Base of every error that a user of lungfield can cause and mend.

    Args:
        message: what is wrong, where, and what to do.
        reason: the code of it, where a file is what is wrong; by default that of the class.
    """

    default_reason: ClassVar[Reason] = Reason.INTERNAL

    def __init__(self, message: str, *, reason: Reason | None = None) -> None:
        super().__init__(message)
        self.reason = reason or self.default_reason


class UnreadableError(LungfieldError):
    """A file could not be read as an image: damaged, unsupported, over a limit, or out of reach."""

    default_reason = Reason.DAMAGED


class NotFrontalChestError(LungfieldError):
    """A readable image that is not a frontal chest radiograph, with the reason why."""

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
    """The header of a radiograph does not allow a DICOM object that refers to it."""


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """An error and what lies behind it (`__cause__`), the outermost first; MONAI wraps what it calls."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__


def user_error(error: BaseException | None) -> LungfieldError | None:
    """The `LungfieldError` that is `error` or lies behind it, if there is one."""
    return next((one for one in causes(error) if isinstance(one, LungfieldError)), None)


def first_line(error: BaseException) -> str:
    """What a library's error says in its first line; its name where it says nothing."""
    return next(iter(str(error).splitlines()), type(error).__name__)
