"""One SQLite file for all threads of a node, which share its durable transactions."""

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

    A write has reached the disk when it returns (WAL, synchronous=FULL). Threads that write at the same time
    share one transaction, and so one wait for the disk; a change that fails takes back only itself.

    Args:
        path: of the file, made where it is missing; its folder is there.

    Raises:
        DataError: the file is damaged, or of a later version.
        OutputError: it cannot be written.
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
        """Close both connections, once nobody uses them."""
        with self._writing, self._reading:
            self._writer.close()
            self._reader.close()

    def write(self, change: Callable[[sqlite3.Connection], T]) -> T:
        """Make a change in a transaction; it is on the disk when this returns.

        Args:
            change: called with the connection, in the thread of any writer; what it raises is raised here.

        Raises:
            DataError: the file is damaged.
            OutputError: it could not be written, as the disk is full; nothing was changed then.
        """
        ours = _Change(change)
        self._pending.append(ours)
        # Whoever gets the lock makes the changes of all who wait for it.
        with self._writing:
            if not ours.ended:
                self._commit([self._pending.popleft() for _ in range(len(self._pending))])
        with self._translated():
            return ours.outcome()

    def read(self, question: str, values: tuple[Any, ...] = ()) -> list[sqlite3.Row]:
        """All rows that answer a question.

        Raises:
            DataError: the file is damaged.
            OutputError: it could not be read.
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
        """Turn what SQLite raises into errors that say what to do."""
        try:
            yield
        except sqlite3.OperationalError as error:
            raise OutputError(
                f"The queue {self.path} cannot be read or written: {error}; see whether the disk is full and "
                "the folder belongs to the node's user."
            ) from error
        except sqlite3.DatabaseError as error:
            raise DataError(
                f"The queue {self.path} cannot be used ({error}). Put a backup in its place, or choose "
                "another state folder."
            ) from error


class _Change(Generic[T]):
    """What a thread wants written, and what came of it."""

    def __init__(self, change: Callable[[sqlite3.Connection], T]) -> None:
        self._change = change
        self._value: T | None = None
        self.error: BaseException | None = None
        self.ended = False

    def make(self, database: sqlite3.Connection) -> None:
        """Make the change, or leave everything as it was."""
        database.execute("SAVEPOINT change")
        try:
            self._value = self._change(database)
        except Exception as error:
            # A full disk may have ended the transaction already: then it is the end of all changes in it.
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
