"""The results of a sharded run: partitioned tables, a summary, and a report of a sample."""

from __future__ import annotations

import pickle
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from lungfield import export
from lungfield.atomic import write_whole
from lungfield.batch.inputs import PARTS
from lungfield.batch.jobs import DONE, FAILED, SKIPPED
from lungfield.batch.leftovers import REPORT
from lungfield.batch.results import BatchResult, duplicate, write_tables
from lungfield.cluster.duplicates import read_duplicates
from lungfield.cluster.manifests import read_manifest
from lungfield.cluster.plan import numbered
from lungfield.cluster.stores import Store
from lungfield.cluster.tally import Tally
from lungfield.mask import Summary

WHOLE_TABLES = 100_000
"""Up to this number of files, unpartitioned tables are written too, as `batch` writes them."""

SHOWN = 2000
"""Up to this number of files, the report shows all; beyond it, a sample (`tally.SAMPLED`)."""

_TABLES = ("results.csv", "results.json", "results.parquet")


@dataclass(frozen=True)
class ShardedResult(BatchResult):
    """The result of a sharded run. `files` has the rows of all files, or of a sample if there are many.

    Attributes:
        tally: the counts over all files.
        planned: number of files in the run; more than have ended if other processes segment other shards.
    """

    tally: Tally | None = None
    planned: int = 0

    @cached_property
    def _counts(self) -> Counter[str]:
        return Counter() if self.tally is None else self.tally.counts

    @cached_property
    def agreement(self) -> dict[str, Summary]:
        """Agreement with the references by metric; without a median if `files` is a sample."""
        if not self.is_sampled:
            return super().agreement
        metrics = {} if self.tally is None else self.tally.metrics
        return {name: moments.summary() for name, moments in metrics.items()}

    @cached_property
    def ratios(self) -> dict[str, float]:
        """As in `BatchResult`; empty if `files` is a sample."""
        return {} if self.is_sampled else super().ratios

    @property
    def is_sampled(self) -> bool:
        """Whether `files` has only a sample of the rows."""
        return self.planned > WHOLE_TABLES


def shard_rows(store: Store, shard: int, *, duplicates: bool) -> list[dict[str, Any]]:
    """The rows of a shard in their order; with `duplicates`, files that share their UID are marked."""
    rows = [outcome.row for outcome in read_manifest(store, shard)]
    if not duplicates:
        return rows
    others = read_duplicates(store, shard)
    return [duplicate(row, *others[row["file"]]) if row["file"] in others else row for row in rows]


def write_part(output: str, shard: int, *, duplicates: bool) -> Tally:
    """Write the table of a shard, and count its rows.

    Raises:
        DataError: its manifest cannot be read.
        OutputError: the table cannot be written.
    """
    store = Store(output)
    rows = shard_rows(store, shard, duplicates=duplicates)
    with tempfile.TemporaryDirectory(prefix="lungfield-part-") as folder:
        path = Path(folder) / "part.parquet"
        export.write_results_parquet(rows, path, columns=tuple(export.RESULT_COLUMNS))
        store.upload(numbered(PARTS, shard), path)
    tally = Tally()
    tally.add_shard(shard, rows)
    return tally


class SpooledRows:
    """Rows in a temporary file, so that they are read from the store once and can be iterated repeatedly."""

    def __init__(self, rows: Iterable[Mapping[str, Any]]) -> None:
        self._file = tempfile.TemporaryFile(prefix="lungfield-rows-")  # noqa: SIM115 - lives as long as this
        for row in rows:
            pickle.dump(row, self._file, protocol=pickle.HIGHEST_PROTOCOL)
        self._end = self._file.tell()

    def __iter__(self) -> Iterator[Mapping[str, Any]]:
        """Iterate over the rows."""
        place = 0
        while place < self._end:
            self._file.seek(place)
            row = pickle.load(self._file)  # noqa: S301 - what this process has written
            place = self._file.tell()
            yield row


def all_rows(store: Store, shards: int, duplicates: set[int]) -> Iterator[dict[str, Any]]:
    """The rows of all shards in their order."""
    for shard in range(shards):
        yield from shard_rows(store, shard, duplicates=shard in duplicates)


def sampled_rows(store: Store, tally: Tally, duplicates: set[int]) -> Iterator[dict[str, Any]]:
    """The rows of the files in the samples."""
    for shard, places in tally.sampled().items():
        rows = shard_rows(store, shard, duplicates=shard in duplicates)
        yield from (rows[place] for place in places)


def write_all(
    store: Store, result: ShardedResult, shown: Iterable[Mapping[str, Any]], *, report: bool
) -> None:
    """Write results.json; up to `WHOLE_TABLES` files the unpartitioned tables; and the report.

    Args:
        store: the output store.
        result: of the run.
        shown: the rows of the report.
        report: whether to write the report.

    Raises:
        OutputError: a file could not be written.
    """
    with tempfile.TemporaryDirectory(prefix="lungfield-results-") as temporary:
        folder = store.local or Path(temporary)
        if result.is_sampled:
            export.write_results_json({"summary": result.to_json()}, folder / "results.json")
            store.remove(["results.csv", "results.parquet"])
        else:
            write_tables(result, folder)
        if report:
            _write_report(store, result, list(shown), folder)
        else:
            store.remove([REPORT])
        if store.local is None:
            for path in map(Path(temporary).joinpath, (*_TABLES, REPORT)):
                if path.is_file():
                    store.upload(path.name, path)


def _write_report(store: Store, result: ShardedResult, rows: list[Mapping[str, Any]], folder: Path) -> None:
    """Write the report into a folder; overlays that it shows and that are missing there are downloaded."""
    from lungfield.export.report import write_report

    if store.local is None:
        for overlay in (row["overlay"] for row in rows if row.get("overlay")):
            write_whole(folder / overlay, store.read(overlay))
    overview = None
    if len(rows) < len(result) and result.tally is not None:
        overview = {
            "files": len(result),
            **{status: result.count(status) for status in (DONE, SKIPPED, FAILED)},
            "flagged": result.flagged,
            "median_confidence": result.tally.median_confidence(),
            "reasons": result.tally.reasons.most_common(),
            "flags": result.tally.flags.most_common(),
        }
    write_report(
        folder / REPORT,
        summary=result.to_json(),
        rows=rows,
        overlay_root=folder,
        overview=overview,
        tables=PARTS,
    )
