"""Manifests: one small Parquet file per shard with the results of its files, written when all have ended."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from lungfield.batch.jobs import Ended
from lungfield.batch.journal import FOLDER
from lungfield.cluster.plan import from_parquet, numbered, to_parquet
from lungfield.cluster.stores import Store

MANIFESTS = f"{FOLDER}/manifests"


@dataclass(frozen=True)
class Outcome:
    """The result of a file.

    Attributes:
        row: its row in the tables.
        uid_hash: SHA-256 of its SOP Instance UID in hexadecimal; None if it has none.
    """

    row: dict[str, Any]
    uid_hash: str | None = None

    @classmethod
    def of(cls, ended: Ended) -> Outcome:
        """From the message of a worker."""
        return cls(ended.row, ended.uid_hash)


def write_manifest(store: Store, shard: int, outcomes: Iterable[Outcome]) -> None:
    """Write the manifest of a shard, replacing an older one.

    Raises:
        OutputError: it could not be written.
    """
    outcomes = list(outcomes)
    rows = [outcome.row for outcome in outcomes]
    columns = {
        "file": [os.fsencode(row["file"]) for row in rows],
        "status": [row["status"] for row in rows],
        "reason_code": [row["reason_code"] for row in rows],
        "uid_hash": [outcome.uid_hash for outcome in outcomes],
        "row": [json.dumps(row) for row in rows],
    }
    texts = dict.fromkeys(("status", "reason_code", "uid_hash", "row"), "string")
    store.write(numbered(MANIFESTS, shard), to_parquet(columns, **texts))


def read_manifest(store: Store, shard: int) -> list[Outcome]:
    """The results of a shard's files, in their order.

    Raises:
        DataError: the manifest is missing or damaged.
    """
    rows = from_parquet(store, numbered(MANIFESTS, shard), ["uid_hash", "row"])
    return [Outcome(json.loads(row["row"]), row["uid_hash"]) for row in rows]


def read_uids(store: Store, shard: int) -> Iterator[tuple[str, str]]:
    """The hashed SOP Instance UIDs in a shard, each with the name of its file."""
    for row in from_parquet(store, numbered(MANIFESTS, shard), ["file", "uid_hash"]):
        if row["uid_hash"]:
            yield row["uid_hash"], os.fsdecode(row["file"])


def finished_shards(store: Store) -> set[int]:
    """The shards that have a manifest."""
    names = (PurePosixPath(name) for name in store.names(MANIFESTS))
    return {int(name.stem) for name in names if name.suffix == ".parquet" and name.stem.isdigit()}
