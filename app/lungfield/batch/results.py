"""The result of a run, read from its journal: tables, summary and report."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from lungfield import export
from lungfield.batch.jobs import DONE, FAILED, SKIPPED
from lungfield.batch.journal import read_entries
from lungfield.bundles import Bundle
from lungfield.bundles.classes import structures_given
from lungfield.mask import Agreement, Summary, summarise
from lungfield.names import shown

DUPLICATE = "duplicate"
"""Flag of a file that shares its SOP Instance UID with another."""

_AGREEMENT = tuple(Agreement.__dataclass_fields__)


class Rows:
    """The rows of a run; each iteration reads them from the journal, so that they need not fit into memory.

    Args:
        journal: path of the journal.
        files: the names of the files, in the order of the rows; files without an entry are left out.
        duplicates: from `Journal.duplicates`.
    """

    def __init__(self, journal: Path, files: Sequence[str], duplicates: Mapping[str, Sequence[str]]) -> None:
        self._journal = journal
        self._files = files
        self._duplicates = duplicates

    def __iter__(self) -> Iterator[Mapping[str, Any]]:
        """Iterate over the rows, with the columns of results.csv."""
        for entry in read_entries(self._journal, self._files):
            others = self._duplicates.get(entry.file)
            yield duplicate(entry.row, others[0], len(others)) if others else dict(entry.row)


def duplicate(row: Mapping[str, Any], other: str, others: int) -> dict[str, Any]:
    """Add the flag and the warning to the row of a file that shares its SOP Instance UID.

    Args:
        row: of the file.
        other: the name of one file with the same UID.
        others: the number of other files with the same UID.

    Returns:
        A new row.
    """
    row = dict(row)
    if row["status"] == DONE:
        more = f" and {others - 1} more" if others > 1 else ""
        remark = f"same SOP Instance UID as {shown(other)}{more}"
        row["flags"] = [*row["flags"], DUPLICATE]
        row["warnings"] = "; ".join(filter(None, (row.get("warnings"), remark)))
    return row


@dataclass(frozen=True)
class BatchResult:
    """The result of a batch.

    Attributes:
        files: one row per input, in the order of the inputs; may be iterated more than once. Files that were
            not reached before an interrupt are missing.
        output: the output folder.
        bundle: that segmented them.
        seconds: duration without loading the bundle; of a resumed run, only the last part.
        started: start of the run, in ISO 8601.
        resumed: number of files that had ended before the run was resumed; not included in `seconds`.
        settings: the settings that the results depend on.
        environment: versions and device.
        left_out: number of files that are no inputs, by kind.
        remarks: the same as text, one line per kind.
    """

    files: Iterable[Mapping[str, Any]]
    output: Path | str
    bundle: Bundle
    seconds: float
    started: str = ""
    resumed: int = 0
    settings: Mapping[str, Any] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    left_out: Mapping[str, int] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()

    def __repr__(self) -> str:
        """The number of files by status, and the output folder."""
        counts = ", ".join(f"{self.count(status)} {status}" for status in (DONE, SKIPPED, FAILED))
        return f"<BatchResult in {self.output}: {counts}, {self.flagged} flagged>"

    def __len__(self) -> int:
        """The number of files that have ended."""
        return sum(self._counts[status] for status in (DONE, SKIPPED, FAILED))

    def count(self, status: str) -> int:
        """The number of files with a status."""
        return self._counts[status]

    @property
    def is_sampled(self) -> bool:
        """Whether `files` has only a sample of the rows."""
        return False

    @property
    def flagged(self) -> int:
        """The number of masks with a quality flag."""
        return self._counts["flagged"]

    @cached_property
    def _counts(self) -> Counter[str]:
        counts: Counter[str] = Counter()
        for row in self.files:
            counts[row["status"]] += 1
            counts["flagged"] += bool(row.get("flags"))
            counts["compared"] += "dice" in row
        return counts

    @cached_property
    def agreement(self) -> dict[str, Summary]:
        """Agreement with the references, by metric, over all files with a reference; empty without one."""
        compared = [
            Agreement(**{name: row[name] for name in _AGREEMENT}) for row in self.files if "dice" in row
        ]
        return summarise(compared) if compared else {}

    @cached_property
    def ratios(self) -> dict[str, float]:
        """Count, median, minimum and maximum of the cardiothoracic ratios; empty if no file has one."""
        found = [row["cardiothoracic_ratio"] for row in self.files if row.get("cardiothoracic_ratio")]
        if not found:
            return {}
        return {
            "count": len(found),
            "median": statistics.median(found),
            "minimum": min(found),
            "maximum": max(found),
        }

    def to_json(self) -> dict[str, Any]:
        """The summary for `results.json`, `--json` and the report."""
        summary: dict[str, Any] = {
            "bundle": self.bundle.name,
            "bundle_version": self.bundle.version,
            "bundle_structures": list(structures_given(self.bundle)),
            "output": str(self.output),
            "started": self.started,
            "files": len(self),
            **{status: self.count(status) for status in (DONE, SKIPPED, FAILED)},
            "flagged": self.flagged,
            "seconds": round(self.seconds, 2),
            "resumed": self.resumed,
            "compared": self._counts["compared"],
            "left_out": dict(self.left_out),
            "settings": dict(self.settings),
            "environment": dict(self.environment),
        }
        if self.ratios:
            summary["cardiothoracic_ratio"] = self.ratios
        if self.agreement:
            summary["agreement"] = {name: vars(figure) for name, figure in self.agreement.items()}
        return summary


def write_results(batch: BatchResult, *, report: bool) -> None:
    """Write results.csv, .json, .parquet and, with `report`, report.html into the local output folder.

    Raises:
        OutputError: a file could not be written.
    """
    output, summary = Path(batch.output), batch.to_json()
    write_tables(batch, output)
    if report:
        # Imported on use: workers also import this package, but do not need it.
        from lungfield.export.report import write_report

        write_report(output / "report.html", summary=summary, rows=batch.files, overlay_root=output)


def write_tables(batch: BatchResult, output: Path) -> None:
    """Write results.csv, results.json and results.parquet into a folder.

    Raises:
        OutputError: one of them could not be written.
    """
    columns = tuple(export.RESULT_COLUMNS)
    export.write_results_csv(batch.files, output / "results.csv", columns=columns)
    export.write_results_json(
        {"summary": batch.to_json()}, output / "results.json", files=batch.files, columns=columns
    )
    export.write_results_parquet(batch.files, output / "results.parquet", columns=columns)
