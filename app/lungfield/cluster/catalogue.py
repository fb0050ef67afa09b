"""The list of a run's files, in a database on disk: ten million names do not fit into memory."""

from __future__ import annotations

import os
import sqlite3
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from types import TracebackType

from lungfield.errors import DataError
from lungfield.formats import stem
from lungfield.names import shown

_SCHEMA = """
CREATE TABLE items (
    input INTEGER NOT NULL, key BLOB NOT NULL,
    uri BLOB NOT NULL, place BLOB NOT NULL UNIQUE, relative BLOB, size INTEGER,
    folded BLOB, short BLOB
);
"""
_INSERT = "INSERT OR IGNORE INTO items (input, key, uri, place, relative, size) VALUES (?, ?, ?, ?, ?, ?)"
_NAMES = """
UPDATE items SET folded = fold(relative), short = fold(stem_of(relative));
CREATE INDEX by_folded ON items (folded);
CREATE INDEX by_short ON items (short);
CREATE INDEX by_order ON items (input, key);
"""
_LISTED = """
SELECT uri, relative, size,
    (SELECT count(*) FROM (SELECT 1 FROM items AS other WHERE other.short = item.short LIMIT 2)) = 1
    AND NOT EXISTS (
        SELECT 1 FROM items AS other WHERE other.folded = item.short AND other.rowid <> item.rowid
    )
FROM items AS item ORDER BY input, key
"""


@dataclass(frozen=True)
class Item:
    """A file to segment.

    Attributes:
        uri: its URI, or an absolute path of this machine.
        relative: its path below the input folder.
        name: `relative` as the name of its results: without suffix, unless another file would get the same.
        size: in bytes; None if the listing does not give it.
    """

    uri: str
    relative: str
    name: str
    size: int | None


@dataclass(frozen=True)
class Listed:
    """A file in a listing.

    Attributes:
        uri: its URI or path.
        place: the same in a normalised form (`uris.place_of`), to list each file only once.
        relative: its path below the input folder; None for its path below the common parent folder of all
            files with None.
        size: in bytes; None if not known.
        order: sort key among the files of one input; if empty, they keep the order of the listing.
    """

    uri: str
    place: str
    relative: str | None
    size: int | None = None
    order: str = ""


class Catalogue:
    """All files of a run, with the same order and names as in `batch`.

    A context manager over an SQLite database in a temporary folder, which is removed at the end.
    """

    def __enter__(self) -> Catalogue:
        """Create an empty database."""
        self._folder = tempfile.TemporaryDirectory(prefix="lungfield-list-")
        self._database = sqlite3.connect(Path(self._folder.name) / "items.sqlite", isolation_level=None)
        self._database.create_function("fold", 1, _folded, deterministic=True)
        self._database.create_function("stem_of", 1, _stem, deterministic=True)
        self._database.executescript(f"PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; {_SCHEMA}")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Remove the database."""
        self._database.close()
        self._folder.cleanup()

    def add(self, number: int, files: Iterable[Listed]) -> None:
        """Add a page of files of the input with this number."""
        self._database.execute("BEGIN")
        self._database.executemany(
            _INSERT,
            (
                (
                    number,
                    os.fsencode(file.order.replace("/", "\0")),  # sort part by part, as pathlib does
                    *map(os.fsencode, (file.uri, file.place)),
                    None if file.relative is None else os.fsencode(file.relative),
                    file.size,
                )
                for file in files
            ),
        )
        self._database.execute("COMMIT")

    def drop_below(self, number: int, folder: str) -> int:
        """Remove the files of an input below one of its folders, and return their number."""
        start = os.fsencode(f"{folder}/")
        return self._database.execute(
            "DELETE FROM items WHERE input = ? AND substr(relative, 1, ?) = ?", (number, len(start), start)
        ).rowcount

    def finish(self) -> int:
        """Compute the names of all files, after the last call of `add`.

        Returns:
            The number of files.

        Raises:
            DataError: two files have the same relative path.
        """
        self._name_below_common(everything=False)
        if self._repeated():
            self._name_below_common(everything=True)
        if repeated := self._repeated():
            raise DataError(
                f"Several inputs have the relative path {shown(repeated)}, so their results would have the "
                "same name. Rename them, or segment them into different output folders."
            )
        self._database.executescript(_NAMES)
        (count,) = self._database.execute("SELECT count(*) FROM items").fetchone()
        return int(count)

    def __iter__(self) -> Iterator[Item]:
        """Iterate over the files in their order, after `finish`."""
        for uri, relative, size, is_alone in self._database.execute(_LISTED):
            name = os.fsdecode(relative)
            yield Item(os.fsdecode(uri), name, os.fsdecode(_stem(relative)) if is_alone else name, size)

    def _name_below_common(self, *, everything: bool) -> None:
        """Set the relative paths below the common parent folder: of all files, or of those without one."""
        which = "WHERE ? OR relative IS NULL"
        first, last = self._database.execute(
            f"SELECT min(place), max(place) FROM items {which}",  # noqa: S608
            (everything,),
        ).fetchone()
        if first is None:
            return
        folder = os.path.commonpath([os.path.dirname(first), os.path.dirname(last)])  # noqa: PTH120
        self._database.execute(
            f"UPDATE items SET relative = substr(place, ?) {which}",  # noqa: S608
            (len(folder) + 2 if folder else 1, everything),
        )

    def _repeated(self) -> str | None:
        found = self._database.execute(
            "SELECT relative FROM items GROUP BY relative HAVING count(*) > 1 LIMIT 1"
        ).fetchone()
        return None if found is None else os.fsdecode(found[0])


def _folded(name: bytes) -> bytes:
    """A name in lower case: on some systems, names that differ only in case are the same file."""
    return os.fsencode(os.fsdecode(name).casefold())


def _stem(name: bytes) -> bytes:
    path = PurePosixPath(os.fsdecode(name))
    return os.fsencode(str(path.with_name(stem(path.name))))
