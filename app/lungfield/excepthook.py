"""Show user errors as one clear message instead of a traceback."""

from __future__ import annotations

import os
import re
import sys
from types import TracebackType

from lungfield.errors import causes, first_line, user_error
from lungfield.names import shown_lines

TRACEBACK = "LUNGFIELD_TRACEBACK"
"""The environment variable that restores tracebacks, for debugging."""

_OF_A_WORKER = re.compile(r"^lungfield\.errors\.\w+: (.*?)(?:\n\n|\Z)", re.MULTILINE | re.DOTALL)
_OF_MONAI = re.compile(r"Failed to (?:instantiate component '(?P<component>[^']*)'|evaluate )")


def report_plainly() -> None:
    """Install an excepthook that prints one line for a user error; bugs keep their traceback.

    For processes whose main function is not ours, such as `python -m monai.bundle run`. User errors are a
    `LungfieldError`, values with which a config cannot be built, insufficient GPU memory, and Ctrl-C.
    """

    def report(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        text = None if os.environ.get(TRACEBACK) else _plain_text(error)
        if text is None:
            sys.__excepthook__(kind, error, trace)
        else:
            sys.stderr.write(f"lungfield: {shown_lines(text)}\n")

    sys.excepthook = report


def _plain_text(error: BaseException) -> str | None:
    """The message for a user error; None for a bug."""
    chain = list(causes(error))
    known = user_error(error)
    if isinstance(error, KeyboardInterrupt):
        return "interrupted."
    # A data loader's worker process passes its error as text.
    message = next((match[1] for one in chain if (match := _OF_A_WORKER.search(str(one)))), None)
    if message is not None:
        return message.strip()
    if known is not None:
        return str(known)
    if any(type(one).__name__ == "OutOfMemoryError" for one in chain):
        return "the GPU has too little memory. Give a smaller --batch_size or --image_size, or --device cpu."
    wrapped = [match for one in chain if (match := _OF_MONAI.match(str(one)))]
    if not wrapped or any(map(_ran, chain)):
        return None
    components = [match["component"] for match in wrapped if match["component"]]
    what = (
        f"{components[-1].rpartition('.')[2]} cannot be built" if components else "the config does not work"
    )
    cause = f"{type(chain[-1]).__name__}: {first_line(chain[-1]).rstrip('.')}"
    return f"{what}: {cause}. Check the given values. ({TRACEBACK}=1 shows the traceback.)"


def _ran(error: BaseException) -> bool:
    """Whether an engine was running already, so that the error is not one of the config."""
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_globals.get("__name__") == "ignite.engine.engine":
            return True
        trace = trace.tb_next
    return False
