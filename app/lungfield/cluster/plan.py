"""What a run is to do, kept in its output store: what it was begun with, and the files of each shard."""

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
"""Of a shard. A shard is what a machine that dies has to do again, and one object to be listed and read."""

_MANY_SHARDS = 256
"""So many shards keep a cluster busy to the end; a larger one gets them by larger runs."""


@dataclass(frozen=True)
class Run:
    """What a run was begun with. It is the last thing that is written when a run is begun.

    Attributes:
        started: when, in ISO 8601; DICOM objects bear this time.
        settings: what the results depend on (`batch.run.settings_of`).
        inputs: what was named, as it may be shown.
        files: how many files there are.
        size: how many files each shard has, but for the last one.
        left_out: how many files were found that are no inputs, by kind.
        remarks: the same for people.
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
        """How many shards there are."""
        return -(-self.files // self.size)

    def files_in(self, shards: Iterable[int]) -> int:
        """How many files some shards have."""
        return sum(min(self.size, self.files - shard * self.size) for shard in shards)


def shard_size(files: int) -> int:
    """How many files to a shard: the same for all engines and however many machines."""
    return min(max(-(-files // _MANY_SHARDS), LEAST_FILES), MOST_FILES)


def numbered(folder: str, shard: int) -> str:
    """The name of the file of a shard in a folder of the store."""
    return f"{folder}/{shard:08d}.parquet"


def read_run(store: Store) -> Run | None:
    """What the run in a store was begun with; None where there is none.

    Raises:
        DataError: it cannot be read.
    """
    if not store.has(RUN):
        return None
    try:
        return Run(**json.loads(store.read(RUN)))
    except (ValueError, TypeError) as error:
        raise DataError(f"{store}/{RUN} is damaged; begin the run anew by --overwrite.") from error


def write_run(store: Store, run: Run) -> None:
    """Keep what a run was begun with.

    Raises:
        OutputError: it cannot be written.
    """
    store.write(RUN, json.dumps(asdict(run), indent=2).encode())


def write_plan(store: Store, items: Iterable[Item], size: int) -> None:
    """Write the files of all shards, a shard at a time.

    Args:
        store: the output store.
        items: all files in their order.
        size: files to a shard.

    Raises:
        OutputError: one could not be written.
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
        DataError: they cannot be read.
    """
    rows = from_parquet(store, numbered(PLAN, shard))
    return [
        Item(os.fsdecode(row["uri"]), os.fsdecode(row["relative"]), os.fsdecode(row["name"]), row["size"])
        for row in rows
    ]


def to_parquet(columns: Mapping[str, list[Any]], **types: str) -> bytes:
    """Columns as a Parquet file: binary, unless their type is told."""
    import pyarrow
    import pyarrow.parquet

    schema = pyarrow.schema([(name, pyarrow.type_for_alias(types.get(name, "binary"))) for name in columns])
    buffer = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.table(dict(columns), schema=schema), buffer, compression="zstd")
    return buffer.getvalue()


def from_parquet(store: Store, name: str, columns: list[str] | None = None) -> Iterator[dict[str, Any]]:
    """The rows of a Parquet file of a store.

    Raises:
        DataError: it is not there, or damaged.
    """
    import pyarrow
    import pyarrow.parquet

    content = store.read(name)
    try:
        rows = pyarrow.parquet.read_table(io.BytesIO(content), columns=columns).to_pylist()
    except (pyarrow.ArrowException, ValueError, KeyError, OSError) as error:
        raise DataError(
            f"{store}/{name} is damaged; delete it and go on by --resume, or begin anew by --overwrite."
        ) from error
    return iter(rows)
