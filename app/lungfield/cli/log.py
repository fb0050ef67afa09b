"""A log for programs: one JSON object a line. It names files, never patients."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lungfield.errors import OutputError


@contextmanager
def log_to(path: Path | None) -> Iterator[None]:
    """Append what lungfield logs to a file, as JSON lines; nowhere for None.

    Raises:
        OutputError: the file cannot be written.
    """
    if path is None:
        yield
        return
    from pythonjsonlogger.json import JsonFormatter

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handler = logging.FileHandler(path, encoding="utf-8")
    except OSError as error:
        raise OutputError(f"The log file {path} cannot be written: {error.strerror}.") from error
    handler.setFormatter(
        JsonFormatter(
            "{levelname}{name}{message}", style="{", timestamp=True, rename_fields={"levelname": "level"}
        )
    )
    logger = logging.getLogger("lungfield")
    level = logger.level
    logger.setLevel(logging.INFO)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
        handler.close()
