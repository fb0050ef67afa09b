"""What a run came to, told from its journal: tables, summary and report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from lungfield import export
from lungfield.batch.journal import Journal
from lungfield.batch.worker import DONE, FAILED, SKIPPED
from lungfield.inference import Bundle
from lungfield.mask import Agreement, Summary, summarise

__all__ = ["DONE", "FAILED", "SKIPPED", "BatchResult", "write_results"]

DUPLICATE = "duplicate"
"""Flag of a file that shares its SOP Instance UID with another."""
_AGREEMENT = tuple(Agreement.__dataclass_fields__)


@dataclass(frozen=True)
class BatchResult:
    """How a batch ended.

    Attributes:
        files: one row an input, in the order of the inputs: what results.csv says. Files that were not
            reached before an interrupt are missing.
        output: the folder of the results.
        bundle: what segmented them.
        seconds: how long it took, loading the bundle left out; of a resumed run, the last part.
        started: when the run was begun, in ISO 8601.
        environment: versions and device.
    """

    files: Sequence[Mapping[str, Any]]
    output: Path
    bundle: Bundle
    seconds: float
    started: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)

    def count(self, status: str) -> int:
        """How many files ended as `status`."""
        return self._counts[status]

    @cached_property
    def _counts(self) -> Counter[str]:
        return Counter(row["status"] for row in self.files)

    @cached_property
    def agreement(self) -> dict[str, Summary]:
        """Agreement with the references over all files that had one; empty where none had."""
        compared = [
            Agreement(**{name: row[name] for name in _AGREEMENT}) for row in self.files if "dice" in row
        ]
        return summarise(compared) if compared else {}

    def to_json(self) -> dict[str, Any]:
        """The summary that `results.json`, `--json` and the report hold."""
        summary: dict[str, Any] = {
            "bundle": self.bundle.name,
            "bundle_version": self.bundle.version,
            "output": str(self.output),
            "started": self.started,
            "files": len(self.files),
            **{status: self.count(status) for status in (DONE, SKIPPED, FAILED)},
            "flagged": sum(bool(row.get("flags")) for row in self.files),
            "seconds": round(self.seconds, 2),
            "compared": sum("dice" in row for row in self.files),
            "environment": dict(self.environment),
        }
        if self.agreement:
            summary["agreement"] = {name: vars(figure) for name, figure in self.agreement.items()}
        return summary


def read_rows(journal: Journal, files: Sequence[str]) -> Iterator[dict[str, Any]]:
    """The rows of files that have ended, in the given order; duplicates are flagged."""
    duplicates = journal.duplicates()
    for file in files:
        entry = journal.find(file)
        if entry is None:
            continue
        row = dict(entry.row)
        others = duplicates.get(file)
        if others and row["status"] == DONE:
            row["flags"] = [*row.get("flags", ()), DUPLICATE]
            remark = f"same SOP Instance UID as {others[0]}" + (
                f" and {len(others) - 1} more" if len(others) > 1 else ""
            )
            row["warnings"] = "; ".join(filter(None, (row.get("warnings"), remark)))
        yield row


def write_results(batch: BatchResult, *, report: bool) -> None:
    """Write results.csv, results.json, results.parquet and, if asked for, report.html.

    Raises:
        OutputError: one of them could not be written.
    """
    output = batch.output
    summary = batch.to_json()
    export.write_results_csv(batch.files, output / "results.csv")
    export.write_results_json({"summary": summary, "files": batch.files}, output / "results.json")
    if hasattr(export, "write_results_parquet"):  # TEMPORARY
        export.write_results_parquet(batch.files, output / "results.parquet")
    if report:
        export.write_report(output / "report.html", summary=summary, rows=batch.files, overlay_root=output)
