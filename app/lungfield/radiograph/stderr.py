"""What native decoders print to standard error: some tell of damage there, and nowhere else."""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Callable
from typing import TypeVar

STDERR = 2
_LOCK = threading.Lock()
_Result = TypeVar("_Result")


def call_and_listen(call: Callable[[], _Result]) -> tuple[_Result, list[bytes]]:
    """Return what a call returns, and the lines that were printed to standard error meanwhile.

    Standard error is that of the whole process, so lines of other threads may be among them: hand those that
    mean nothing to `pass_on`. One thread at a time gets in.
    """
    with _LOCK, tempfile.TemporaryFile() as printed:
        try:
            terminal = os.dup(STDERR)
        except OSError:  # closed, as in some services: nothing can be printed
            return call(), []
        os.dup2(printed.fileno(), STDERR)
        try:
            result = call()
        finally:
            os.dup2(terminal, STDERR)
            os.close(terminal)
        printed.seek(0)
        return result, printed.readlines()


def pass_on(lines: list[bytes]) -> None:
    """Print lines to standard error after all."""
    if lines:
        os.write(STDERR, b"".join(lines))
