"""SIGINT and SIGTERM while a run is at work: an exception that ends it in good order."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lungfield.batch.results import BatchResult


class Interrupted(BaseException):
    """The run was asked to end before its time; what was done is in the journal and in the tables.

    `batch` says what, and `signal_number` which signal asked.
    """

    def __init__(self, signal_number: int) -> None:
        super().__init__(signal_number)
        self.signal_number = signal_number
        self.batch: BatchResult | None = None


class _Deferred:
    """Signals that arrive while `deferred` is at work."""

    depth = 0
    pending: int | None = None


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Turn SIGINT and SIGTERM into `Interrupted`, where signals can be handled (in the main thread)."""
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
    """Raise `Interrupted` only at the end: for short steps that must not be left half done."""
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
