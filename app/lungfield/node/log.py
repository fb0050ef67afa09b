"""The node's log: one JSON object a line, for programs and for people, without a patient's identity.

A log is read by more people than an archive is, and is kept longer. So identity is kept out by rule and not
by care: an entry has only the fields that are named here, UIDs in a text are struck out, an exception is told
by its kind and its place, and of what other libraries log only the place is told, as they quote headers.
"""

from __future__ import annotations

import logging
import re
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from logging.handlers import RotatingFileHandler
from pathlib import Path

from pythonjsonlogger.json import JsonFormatter

from lungfield.errors import OutputError
from lungfield.names import shown

FIELDS = frozenset(
    {
        "address",
        "ae_title",
        "attempts",
        "bundle",
        "bytes",
        "check",
        "code",
        "count",
        "destination",
        "free_bytes",
        "instance",
        "known",
        "next_attempt_s",
        "peer",
        "port",
        "receipt",
        "seconds",
        "source",
        "state",
        "status",
    }
)
"""What `logging`'s `extra` may hold; anything else is left out. `instance` is the number of a row of the
store, `peer` and `address` are addresses of the network, `code` a reason's code, `status` one of DIMSE or of
HTTP."""

FILE_BYTES = 16 << 20
"""Size at which a log file is put aside, in bytes."""

KEPT_FILES = 8
"""How many of those put aside are kept."""

_OWN = "lungfield"
_OF_A_RECORD = frozenset(vars(logging.makeLogRecord({})))
# A UID has more components than an address of the network has, and a root of 0, 1 or 2 (PS3.5, section 9).
_UID = re.compile(r"\b[0-2](?:\.[0-9]+){4,}\b")


def without_uids(text: str) -> str:
    """A text with every DICOM UID in it struck out."""
    return _UID.sub("[UID]", text)


@contextmanager
def logging_to(path: Path | None = None, *, level: int = logging.INFO) -> Iterator[None]:
    """Log as JSON lines while the block runs.

    A file is put aside at 16 MiB, as `node.log.1` and so on, and 8 of them are kept.

    Args:
        path: the file to append to; its folder is made where it is missing. None for stderr, where systemd
            and containers take it from.
        level: the least level of lungfield's own entries; of other libraries', that is WARNING.

    Raises:
        OutputError: the file cannot be written.
    """
    handler = _handler(path)
    handler.setFormatter(_Formatter())
    own, root = logging.getLogger(_OWN), logging.getLogger()
    levels = own.level, root.level
    own.setLevel(level)
    root.setLevel(logging.WARNING)
    root.addHandler(handler)
    try:
        yield
    finally:
        root.removeHandler(handler)
        own.setLevel(levels[0])
        root.setLevel(levels[1])
        handler.close()


class _Formatter(JsonFormatter):
    def __init__(self) -> None:
        names = {"levelname": "level"}
        super().__init__("{levelname}{name}{message}", style="{", timestamp=True, rename_fields=names)

    def format(self, record: logging.LogRecord) -> str:
        return super().format(_without_identity(record))


def _handler(path: Path | None) -> logging.Handler:
    if path is None:
        return logging.StreamHandler()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return RotatingFileHandler(path, maxBytes=FILE_BYTES, backupCount=KEPT_FILES, encoding="utf-8")
    except OSError as error:
        raise OutputError(
            f"{path}: the log file cannot be written: {error.strerror or type(error).__name__}; "
            "check its folder and its owner, or log to stderr."
        ) from error


def _without_identity(record: logging.LogRecord) -> logging.LogRecord:
    """A copy of a record that tells of nobody."""
    own = record.name.split(".")[0] == _OWN
    place = f"{record.module}:{record.lineno}"
    text = without_uids(shown(record.getMessage())) if own else f"{record.levelname.lower()} at {place}"
    values = {name: value for name, value in vars(record).items() if name in _OF_A_RECORD}
    clean = logging.makeLogRecord(values | {"msg": text, "args": None, "exc_info": None, "exc_text": None})
    clean.stack_info = None
    for name in FIELDS & vars(record).keys():
        value = getattr(record, name)
        setattr(clean, name, value if isinstance(value, (int, float)) else without_uids(shown(str(value))))
    if record.exc_info and record.exc_info[0] is not None:
        kind, _, trace = record.exc_info
        clean.error = kind.__name__
        clean.at = [f"{Path(one.filename).name}:{one.lineno}" for one in traceback.extract_tb(trace)]
    return clean
