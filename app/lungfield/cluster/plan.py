"""The plan of a run in its output store: its settings, and the files of each shard."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from itertools import islice
from typing import Any

from lungfield.batch.journal import FOLDER
from lungfield.batch.run import SHARDED_RUN
from lungfield.cluster.catalogue import Item
from lungfield.cluster.stores import Store
from lungfield.errors import DataError

RUN = f"{FOLDER}/{SHARDED_RUN}"
PLAN = f"{FOLDER}/plan"
"""The folder with the files of each shard."""

LEAST_FILES, MOST_FILES = 32, 1000
"""Limits of a shard's size. A shard is repeated if its machine dies, and is one object to list and read."""

_MANY_SHARDS = 256
"""The number of shards that a small run is split into, so that all machines are busy to the end."""


@dataclass(frozen=True)
class Run:
    """The record of a run, written last at its start.

    Attributes:
        started: start in ISO 8601; also the creation time in DICOM objects.
        settings: the settings that the results depend on (`batch.run.settings_of`).
        inputs: the given paths and URIs, without secrets.
        files: number of files.
        size: number of files in each shard except the last.
        left_out: number of files that are no inputs, by kind.
        remarks: the same as text.
    """

    started: str
    settings: dict[str, Any]
    inputs: list[str]
    files: int
    size: int
    left_out: dict[str, int] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)

    @property
    def shards(self) -> int:
        """The number of shards."""
        return -(-self.files // self.size)

    def files_in(self, shards: Iterable[int]) -> int:
        """The number of files in these shards."""
        return sum(min(self.size, self.files - shard * self.size) for shard in shards)


def shard_size(files: int) -> int:
    """The number of files in a shard; it depends on the number of files only."""
    return min(max(-(-files // _MANY_SHARDS), LEAST_FILES), MOST_FILES)


def numbered(folder: str, shard: int) -> str:
    """The name of a shard's file in a folder of the store."""
    return f"{folder}/{shard:08d}.parquet"


def read_run(store: Store) -> Run | None:
    """The record of the run in a store; None if there is no run.

    Raises:
        DataError: the record cannot be read.
    """
    if not store.has(RUN):
        return None
    try:
        return Run(**json.loads(store.read(RUN)))
    except (ValueError, TypeError) as error:
        raise DataError(f"{store}/{RUN} is damaged; replace the run with --overwrite.") from error


def write_run(store: Store, run: Run) -> None:
    """Write the record of a run.

    Raises:
        OutputError: the record cannot be written.
    """
    store.write(RUN, json.dumps(asdict(run), indent=2).encode())


def write_plan(store: Store, items: Iterable[Item], size: int) -> None:
    """Write the files of all shards, a shard at a time.

    Args:
        store: the output store.
        items: all files in their order.
        size: number of files in a shard.

    Raises:
        OutputError: a file of the plan could not be written.
    """
    remaining, number = iter(items), 0
    while some := list(islice(remaining, size)):
        columns: dict[str, list[Any]] = {
            "uri": [os.fsencode(item.uri) for item in some],
            "relative": [os.fsencode(item.relative) for item in some],
            "name": [os.fsencode(item.name) for item in some],
            "size": [item.size for item in some],
        }
        store.write(numbered(PLAN, number), to_parquet(columns, size="int64"))
        number += 1


def read_plan(store: Store, shard: int) -> list[Item]:
    """The files of a shard.

    Raises:
        DataError: the plan of the shard cannot be read.
    """
    rows = from_parquet(store, numbered(PLAN, shard))
    return [
        Item(os.fsdecode(row["uri"]), os.fsdecode(row["relative"]), os.fsdecode(row["name"]), row["size"])
        for row in rows
    ]


def to_parquet(columns: Mapping[str, list[Any]], **types: str) -> bytes:
    """Encode columns as a Parquet file; a column is binary unless `types` names its type."""
    import pyarrow
    import pyarrow.parquet

    schema = pyarrow.schema([(name, pyarrow.type_for_alias(types.get(name, "binary"))) for name in columns])
    buffer = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.table(dict(columns), schema=schema), buffer, compression="zstd")
    return buffer.getvalue()


def from_parquet(store: Store, name: str, columns: list[str] | None = None) -> Iterator[dict[str, Any]]:
    """The rows of a Parquet file of a store.

    Raises:
        DataError: the file is missing or damaged.
    """
    import pyarrow
    import pyarrow.parquet

    content = store.read(name)
    try:
        rows = pyarrow.parquet.read_table(io.BytesIO(content), columns=columns).to_pylist()
    except (pyarrow.ArrowException, ValueError, KeyError, OSError) as error:
        raise DataError(
            f"{store}/{name} is damaged; delete it and continue with --resume, or replace the run with "
            "--overwrite."
        ) from error
    return iter(rows)
