"""The node's log: one JSON object per line, without a patient's identity.

More people read a log than an archive, and it is kept longer. So rules keep identities out: an entry has only
the fields listed here, UIDs in texts are removed, an exception is logged by its class and line number, and of
the entries of other libraries, which may quote headers, only the location in the code is logged.
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
"""The keys of `logging`'s `extra` that are written; others are dropped. `instance` is the number of a row in
the queue, `peer` and `address` are network addresses, `code` is a reason code, and `status` is one of DIMSE
or HTTP."""

FILE_BYTES = 16 << 20
"""Size at which a log file is rotated, in bytes."""

KEPT_FILES = 8
"""Number of rotated files that are kept."""

_OWN = "lungfield"
_OF_A_RECORD = frozenset(vars(logging.makeLogRecord({})))
# A UID has more components than an IP address, and a root of 0, 1 or 2 (PS3.5, section 9).
_UID = re.compile(r"\b[0-2](?:\.[0-9]+){4,}\b")


def without_uids(text: str) -> str:
    """A text in which every DICOM UID is replaced."""
    return _UID.sub("[UID]", text)


@contextmanager
def logging_to(path: Path | None = None, *, level: int = logging.INFO) -> Iterator[None]:
    """A context that logs JSON lines.

    A file is rotated at 16 MiB, to `node.log.1` and so on, and 8 of them are kept.

    Args:
        path: the file to append to; its folder is created if missing. None for stderr, which systemd and
            containers collect.
        level: the lowest level of lungfield's own entries; for other libraries it is WARNING.

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
    """A copy of a record without identities."""
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
