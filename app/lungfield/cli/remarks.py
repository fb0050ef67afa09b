"""Summarise the remarks on the files of a batch: one line per kind of remark."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from lungfield.batch import FAILED, SKIPPED
from lungfield.names import shown

_ORDER = ("look at", FAILED, SKIPPED, "warning")
_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")


@dataclass
class _Kind:
    """A kind of remark: its first file, the text for that file, and the number of files."""

    file: str
    text: str
    files: int = 0


def remark_lines(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """Summarise the remarks on the files of a batch: flags, failed files, skipped files, warnings.

    Warnings that differ only in numbers are one kind.

    Args:
        rows: as in results.csv.

    Returns:
        One line per kind, sorted by frequency within each sort; control characters in names are escaped.
    """
    kinds: dict[tuple[str, str], _Kind] = {}
    for row in rows:
        for sort, kind, text in _remarks(row):
            kinds.setdefault((sort, kind), _Kind(row["file"], text)).files += 1
    ordered = sorted(kinds.items(), key=lambda item: (_ORDER.index(item[0][0]), -item[1].files))
    return [shown(_line(sort, kind, found)) for (sort, kind), found in ordered]


def _remarks(row: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """The sort, the kind and the text of each remark on a file."""
    if row["status"] in (FAILED, SKIPPED):
        yield row["status"], f"[{row['reason_code']}]", row["reason"] or ""
        return
    for flag in row.get("flags") or ():
        yield "look at", f"[{flag}]", f"[{flag}]"
    for text in filter(None, (row.get("warnings") or "").split("; ")):
        yield "warning", _NUMBER.sub("0", text), text


def _line(sort: str, kind: str, found: _Kind) -> str:
    if found.files == 1:
        return f"{sort}: {found.file}: {found.text}"
    named = f" {kind}" if kind.startswith("[") else ""
    said = "" if kind == found.text else f": {found.text}"
    return f"{sort}: {found.files:,} files{named}, the first {found.file}{said}"
