"""Errors as a user should meet them: one clear message instead of a traceback."""

from __future__ import annotations

import sys
from types import TracebackType

from lungfield.errors import user_error
from lungfield.names import shown_lines


def report_plainly() -> None:
    """From now on, end this process with one line for a `LungfieldError`; other errors keep their traceback.

    For processes whose main function is not ours, such as `python -m monai.bundle run`.
    """

    def report(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        known = user_error(error)
        if known is None:
            sys.__excepthook__(kind, error, trace)
        else:
            sys.stderr.write(f"lungfield: {shown_lines(str(known))}\n")

    sys.excepthook = report
