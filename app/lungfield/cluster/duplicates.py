"""Find files that share their SOP Instance UID, and store them by shard in the output store."""

from __future__ import annotations

import json
import os
import sqlite3
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby
from pathlib import Path

from lungfield.batch.journal import FOLDER
from lungfield.cluster.manifests import read_uids
from lungfield.cluster.stores import Store

DUPLICATES = f"{FOLDER}/duplicates"

_READERS = 16
_SHARED = """
SELECT shard, file, other, others FROM (
    SELECT shard, place, file,
        count(*) OVER same - 1 AS others,
        CASE WHEN file = min(file) OVER same THEN nth_value(file, 2) OVER sorted ELSE min(file) OVER same END
            AS other
    FROM uids
    WINDOW same AS (PARTITION BY uid),
        sorted AS (PARTITION BY uid ORDER BY file ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING)
) WHERE others > 0 ORDER BY shard, place
"""


def note_duplicates(store: Store, shards: int) -> set[int]:
    """Find the files that share their SOP Instance UID in all manifests of a run, and store them.

    Returns:
        The shards with such files; `read_duplicates` reads the files of each.

    Raises:
        DataError: a manifest cannot be read.
        OutputError: the store cannot be written to.
    """
    with (
        tempfile.TemporaryDirectory(prefix="lungfield-uids-") as folder,
        sqlite3.connect(Path(folder) / "uids.sqlite", isolation_level=None) as database,
    ):
        database.executescript(
            "PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF;"
            "CREATE TABLE uids (uid BLOB, shard INTEGER, place INTEGER, file BLOB);"
        )
        for shard, uids in _all_uids(store, shards):
            database.execute("BEGIN")
            database.executemany(
                "INSERT INTO uids VALUES (?, ?, ?, ?)",
                (
                    (bytes.fromhex(uid), shard, place, os.fsencode(file))
                    for place, (uid, file) in enumerate(uids)
                ),
            )
            database.execute("COMMIT")
        found = set()
        for shard, rows in groupby(database.execute(_SHARED), key=lambda row: row[0]):
            notes = {os.fsdecode(file): (os.fsdecode(other), others) for _, file, other, others in rows}
            store.write(_name(shard), json.dumps(notes).encode())
            found.add(shard)
    return found


def read_duplicates(store: Store, shard: int) -> dict[str, tuple[str, int]]:
    """For each file of a shard that shares its UID: the name of another file, and the number of others.

    Raises:
        DataError: the duplicates cannot be read.
    """
    return {file: (other, others) for file, (other, others) in json.loads(store.read(_name(shard))).items()}


def _all_uids(store: Store, shards: int) -> Iterator[tuple[int, list[tuple[str, str]]]]:
    """The hashed UIDs of all shards in order; several manifests are read in parallel."""
    with ThreadPoolExecutor(_READERS) as readers:
        for start in range(0, shards, _READERS):
            some = range(start, min(start + _READERS, shards))
            yield from zip(some, readers.map(lambda shard: list(read_uids(store, shard)), some), strict=True)


def _name(shard: int) -> str:
    return f"{DUPLICATES}/{shard:08d}.json"
