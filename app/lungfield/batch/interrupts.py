"""Turn SIGINT and SIGTERM during a run into an exception that ends it cleanly."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lungfield.batch.results import BatchResult


class Interrupted(BaseException):
    """SIGINT or SIGTERM ended the run; the files that had ended are in the journal and in the tables.

    Attributes:
        signal_number: the signal.
        batch: the result so far; None before the first file was started.
    """

    def __init__(self, signal_number: int) -> None:
        super().__init__(signal_number)
        self.signal_number = signal_number
        self.batch: BatchResult | None = None


class _Deferred:
    """State of `deferred`: nesting depth, and the signal that arrived meanwhile."""

    depth = 0
    pending: int | None = None


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Turn SIGINT and SIGTERM into `Interrupted`; has no effect outside of the main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(number: int, _frame: object) -> None:
        if _Deferred.depth:
            _Deferred.pending = number
        else:
            raise Interrupted(number)

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def deferred() -> Iterator[None]:
    """Delay `Interrupted` to the end of the block, for short steps that must be completed."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    _Deferred.depth += 1
    try:
        yield
    finally:
        _Deferred.depth -= 1
        number = _Deferred.pending
        if not _Deferred.depth and number is not None:
            _Deferred.pending = None
            raise Interrupted(number)
