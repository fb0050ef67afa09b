"""The journal: an SQLite database with the result of each file, which survives a crash of the process."""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from lungfield.errors import DataError, OutputError

FOLDER = ".lungfield"
"""Hidden folder in the output folder, with the journal and the lock."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS run (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS files (
    file TEXT PRIMARY KEY,
    size INTEGER NOT NULL,
    mtime_ns INTEGER NOT NULL,
    uid_hash TEXT,
    row TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS by_uid ON files (uid_hash) WHERE uid_hash IS NOT NULL;
CREATE TABLE IF NOT EXISTS outputs (path TEXT PRIMARY KEY) WITHOUT ROWID;
"""


@dataclass(frozen=True)
class Fingerprint:
    """Size in bytes and modification time in ns since 1970, to detect that a file has changed."""

    size: int
    mtime_ns: int

    @classmethod
    def of(cls, path: Path) -> Fingerprint:
        """The current fingerprint of a file; zeros if it does not exist."""
        try:
            status = path.stat()
        except OSError:
            return cls(0, 0)
        return cls(status.st_size, status.st_mtime_ns)


@dataclass(frozen=True)
class Entry:
    """The result of a file.

    Attributes:
        file: its name in the tables.
        fingerprint: taken before the file was read.
        uid_hash: SHA-256 of its SOP Instance UID, or None; the journal does not store the UID itself.
        row: its row in the tables.
    """

    file: str
    fingerprint: Fingerprint
    uid_hash: str | None
    row: Mapping[str, Any]


class Journal:
    """An SQLite database in the output folder, open and locked during a run.

    An entry is added in its own transaction after the file's results are on disk. So after a crash at any
    moment, each file either has an entry and all of its results, or no entry.

    Args:
        output: the output folder, which must exist.

    Raises:
        DataError: another run uses this folder, or the journal is damaged.
        OutputError: the journal cannot be written.
    """

    def __init__(self, output: Path) -> None:
        self.path = output / FOLDER / "journal.sqlite"
        self._lock = FileLock(self.path.with_name("lock"))
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._lock.acquire(timeout=0)
        except Timeout as error:
            raise DataError(
                f"Another run is writing to {output}. Wait for it, or choose another output folder."
            ) from error
        except OSError as error:
            raise OutputError(
                f"The output folder {output} cannot be written to: {error.strerror}."
            ) from error
        try:
            with self._translated():
                self._database = sqlite3.connect(self.path, isolation_level=None)
                self._database.execute("PRAGMA journal_mode=WAL")
                # In this mode a power failure may lose the last entries, but not damage the journal. Their
                # files are segmented again.
                self._database.execute("PRAGMA synchronous=NORMAL")
                self._database.executescript(_SCHEMA)
        except BaseException:
            self._lock.release()
            raise

    def __enter__(self) -> Journal:
        """Return the journal."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it and release the lock."""
        self._database.close()
        self._lock.release()

    def read(self, key: str) -> Any:
        """The value of a key, or None."""
        with self._translated():
            found = self._database.execute("SELECT value FROM run WHERE key = ?", (key,)).fetchone()
        return None if found is None else json.loads(found[0])

    def write(self, key: str, value: Any) -> None:
        """Store a value under a key; the value must be serialisable as JSON."""
        with self._translated():
            self._database.execute("INSERT OR REPLACE INTO run VALUES (?, ?)", (key, json.dumps(value)))

    def clear(self) -> None:
        """Delete everything except the announced outputs."""
        with self._transaction() as database:
            database.execute("DELETE FROM run")
            database.execute("DELETE FROM files")

    def add(self, entry: Entry, outputs: Iterable[str] = ()) -> None:
        """Add the entry of a file, replacing an older one, and announce its outputs."""
        values = (_key(entry.file), *astuple(entry.fingerprint), entry.uid_hash, json.dumps(entry.row))
        with self._transaction() as database:
            database.execute("INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?, ?)", values)
            _announce(database, outputs)

    def retain(self, files: Iterable[str]) -> None:
        """Remove the entries of all files except these."""
        with self._transaction() as database:
            database.execute("CREATE TEMPORARY TABLE IF NOT EXISTS retained (file PRIMARY KEY)")
            database.execute("DELETE FROM retained")
            database.executemany(
                "INSERT OR IGNORE INTO retained VALUES (?)", ((_key(file),) for file in files)
            )
            database.execute("DELETE FROM files WHERE file NOT IN (SELECT file FROM retained)")

    def announce(self, outputs: Iterable[str]) -> None:
        """Store the paths, below the output folder, of files that are about to be written.

        An announced file that no entry names is a result of an older run, or of a file that was interrupted.
        """
        with self._transaction() as database:
            _announce(database, outputs)

    def announced(self) -> list[str]:
        """All announced paths that were not forgotten."""
        with self._translated():
            return [os.fsdecode(key) for (key,) in self._database.execute("SELECT path FROM outputs")]

    def forget(self, outputs: Iterable[str]) -> None:
        """Remove paths from the announced ones."""
        with self._transaction() as database:
            database.executemany(
                "DELETE FROM outputs WHERE path = ?", ((_key(output),) for output in outputs)
            )

    def find(self, file: str) -> Entry | None:
        """The entry of a file, or None."""
        with self._translated():
            return _find(self._database, file)

    def entries(self) -> Iterator[Entry]:
        """All entries."""
        with self._translated():
            keys = [key for (key,) in self._database.execute("SELECT file FROM files ORDER BY file")]
        return read_entries(self.path, map(os.fsdecode, keys))

    def duplicates(self) -> dict[str, list[str]]:
        """Files that share their SOP Instance UID: the name of each, with the names of the others."""
        with self._translated():
            found = self._database.execute(
                "SELECT uid_hash, file FROM files WHERE uid_hash IN (SELECT uid_hash FROM files "
                "WHERE uid_hash IS NOT NULL GROUP BY uid_hash HAVING count(*) > 1) ORDER BY file"
            ).fetchall()
        groups: dict[str, list[str]] = {}
        for uid_hash, key in found:
            groups.setdefault(uid_hash, []).append(os.fsdecode(key))
        return {
            file: [other for other in group if other != file] for group in groups.values() for file in group
        }

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """A transaction that is rolled back on any exception, and during which interrupts are delayed."""
        with self._translated():
            try:
                self._database.execute("BEGIN")
                yield self._database
                self._database.execute("COMMIT")
            finally:
                if self._database.in_transaction:
                    self._database.execute("ROLLBACK")

    def _translated(self) -> contextlib.AbstractContextManager[None]:
        return _translated(self.path)


def read_entries(path: Path, files: Iterable[str]) -> Iterator[Entry]:
    """Read the entries of files from a journal, in the given order; files without an entry are left out.

    A run may write to the journal at the same time.

    Raises:
        DataError: the journal is damaged.
        OutputError: it cannot be read or written.
    """
    with _translated(path):
        database = sqlite3.connect(path, isolation_level=None)
    with contextlib.closing(database):
        for file in files:
            with _translated(path):
                entry = _find(database, file)
            if entry is not None:
                yield entry


def _key(file: str) -> str | bytes:
    """A file's name for SQLite: text, or bytes if it is not valid UTF-8 (PEP 383)."""
    try:
        file.encode()
    except UnicodeEncodeError:
        return os.fsencode(file)
    return file


def _announce(database: sqlite3.Connection, outputs: Iterable[str]) -> None:
    database.executemany("INSERT OR IGNORE INTO outputs VALUES (?)", [(_key(output),) for output in outputs])


def _find(database: sqlite3.Connection, file: str) -> Entry | None:
    found = database.execute(
        "SELECT size, mtime_ns, uid_hash, row FROM files WHERE file = ?", (_key(file),)
    ).fetchone()
    if found is None:
        return None
    size, mtime_ns, uid_hash, row = found
    return Entry(file, Fingerprint(size, mtime_ns), uid_hash, json.loads(row))


@contextlib.contextmanager
def _translated(path: Path) -> Iterator[None]:
    """Turn the exceptions of SQLite into `OutputError` and `DataError` with advice."""
    try:
        yield
    except sqlite3.OperationalError as error:
        raise OutputError(f"The journal {path} cannot be written: {error}.") from error
    except (sqlite3.DatabaseError, ValueError) as error:
        raise DataError(
            f"The journal {path} is damaged ({error}). Delete it and start again, or choose another folder."
        ) from error
