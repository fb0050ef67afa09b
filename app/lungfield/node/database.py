"""The SQLite file of a node: durable transactions that its threads share."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Generic, TypeVar

from lungfield.errors import DataError, OutputError
from lungfield.node.schema import prepare

T = TypeVar("T")
_BUSY_LIMIT_S = 30.0


class Database:
    """A connection for writing and one for reading, each used by one thread at a time.

    A write is on disk when it returns (WAL, synchronous=FULL). Threads that write at the same time share one
    transaction, and so one sync of the disk; if a change fails, only that change is rolled back.

    Args:
        path: of the file, created if missing; its folder must exist.

    Raises:
        DataError: the file is damaged, or of a later version.
        OutputError: the file cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._pending: deque[_Change[Any]] = deque()
        self._writing, self._reading = threading.Lock(), threading.Lock()
        with self._translated():
            self._writer = _connect(path)
            self._writer.execute("PRAGMA journal_mode=WAL")
            self._writer.execute("PRAGMA synchronous=FULL")
            self._writer.execute("PRAGMA foreign_keys=ON")
            prepare(self._writer)
            self._reader = _connect(path)
        path.chmod(0o600)

    def close(self) -> None:
        """Close both connections; no thread may use them any more."""
        with self._writing, self._reading:
            self._writer.close()
            self._reader.close()

    def write(self, change: Callable[[sqlite3.Connection], T]) -> T:
        """Make a change in a transaction, and return once it is on disk.

        Args:
            change: called with the connection, in the thread of any writer; its exceptions are raised here.

        Raises:
            DataError: the file is damaged.
            OutputError: the file could not be written, for example to a full disk; nothing was changed.
        """
        ours = _Change(change)
        self._pending.append(ours)
        # The thread that gets the lock makes the changes of all threads that wait.
        with self._writing:
            if not ours.ended:
                self._commit([self._pending.popleft() for _ in range(len(self._pending))])
        with self._translated():
            return ours.outcome()

    def read(self, question: str, values: tuple[Any, ...] = ()) -> list[sqlite3.Row]:
        """All rows of a query.

        Raises:
            DataError: the file is damaged.
            OutputError: the file could not be read.
        """
        with self._reading, self._translated():
            return self._reader.execute(question, values).fetchall()

    def _commit(self, changes: list[_Change[Any]]) -> None:
        try:
            self._writer.execute("BEGIN IMMEDIATE")
            for change in changes:
                change.make(self._writer)
            self._writer.execute("COMMIT")
        except BaseException as error:
            for change in changes:
                change.error = error
        finally:
            if self._writer.in_transaction:
                self._writer.execute("ROLLBACK")
            for change in changes:
                change.ended = True

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        """Turn SQLite's exceptions into `DataError` and `OutputError` with advice."""
        try:
            yield
        except sqlite3.OperationalError as error:
            raise OutputError(
                f"The queue {self.path} cannot be read or written: {error}; check that the disk is not full "
                "and that the folder belongs to the node's user."
            ) from error
        except sqlite3.DatabaseError as error:
            raise DataError(
                f"The queue {self.path} cannot be used ({error}). Replace it by a backup, or choose "
                "another state folder."
            ) from error


class _Change(Generic[T]):
    """A change that a thread waits for, and its result."""

    def __init__(self, change: Callable[[sqlite3.Connection], T]) -> None:
        self._change = change
        self._value: T | None = None
        self.error: BaseException | None = None
        self.ended = False

    def make(self, database: sqlite3.Connection) -> None:
        """Make the change; on failure, roll it back."""
        database.execute("SAVEPOINT change")
        try:
            self._value = self._change(database)
        except Exception as error:
            # A full disk may have ended the transaction already; then all changes in it have failed.
            if not database.in_transaction:
                raise
            self.error = error
            database.execute("ROLLBACK TO change")
        database.execute("RELEASE change")

    def outcome(self) -> T:
        if self.error is not None:
            raise self.error
        return self._value  # type: ignore[return-value]


def _connect(path: Path) -> sqlite3.Connection:
    database = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=_BUSY_LIMIT_S)
    database.row_factory = sqlite3.Row
    return database
