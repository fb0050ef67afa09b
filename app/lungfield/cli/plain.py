"""Errors as a user should meet them: one clear message instead of a traceback."""

from __future__ import annotations

import sys
from types import TracebackType

from lungfield.errors import LungfieldError


def user_error(error: BaseException | None) -> LungfieldError | None:
    """The `LungfieldError` that is `error` or lies behind it, if there is one."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        if isinstance(error, LungfieldError):
            return error
        seen.add(id(error))
        error = error.__cause__
    return None


def report_plainly() -> None:
    """From now on, end this process with one line for a `LungfieldError`; other errors keep their traceback.

    For processes whose main function is not ours, such as `python -m monai.bundle run`.
    """

    def report(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        known = user_error(error)
        if known is None:
            sys.__excepthook__(kind, error, trace)
        else:
            print(f"lungfield: {known}", file=sys.stderr)

    sys.excepthook = report
