"""The rows of a report: flat, compact, and sorted with the worst first."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePath
from typing import Any
from urllib.parse import quote

from lungfield.export.report.columns import OUTPUTS, Column, describe
from lungfield.export.tables import json_ready
from lungfield.mask.metrics import DISTANCES
from lungfield.names import shown

_STATUS_ORDER = {"failed": 0, "done": 1, "skipped": 2}
_NO_SCORE = 2.0  # behind every score, which are in [0, 1]


@dataclass(frozen=True)
class Table:
    """The rows of a report, the worst first.

    Attributes:
        columns: the columns that are not empty.
        rows: lists of JSON-serialisable values of `columns`; paths of outputs are quoted as relative URLs.
        pictures: the path of each row's overlay, or None.
    """

    columns: tuple[Column, ...]
    rows: list[list[Any]]
    pictures: list[str | None]

    @cached_property
    def _places(self) -> dict[str, int]:
        return {column.name: place for place, column in enumerate(self.columns)}

    def values(self, name: str) -> list[Any]:
        """The values of a column, None for a row without one; empty if the column does not exist."""
        place = self._places.get(name)
        return [] if place is None else [row[place] for row in self.rows]


def collect(rows: Iterable[Mapping[str, Any]], root: Path) -> Table:
    """Collect the rows of a report.

    Distances to the reference get their unit in the name of the column, to keep millimetres and pixels in
    separate columns. The column `input` is added: the number of the row in `rows`.

    Failed files come first, then flagged ones, then others; skipped files come last. Within each group, files
    are sorted by Dice coefficient or, without a reference, by confidence, and then by number of flags.

    Args:
        rows: one mapping per input, with the columns of results.csv.
        root: the folder of the rows' paths.
    """
    places: dict[str, int] = {}
    collected: list[tuple[tuple[float, ...], list[Any], str | None]] = []
    for number, row in enumerate(rows, 1):
        values: list[Any] = [None] * len(places)
        picture = _picture(row, root)
        for name, value in _flat(row, number, picture).items():
            place = places.setdefault(name, len(places))
            if place == len(values):
                values.append(None)
            values[place] = _compact(value)
        collected.append((_badness(row, number), values, picture))
    collected.sort(key=lambda entry: entry[0])
    compact = [values + [None] * (len(places) - len(values)) for _, values, _ in collected]
    kept = [
        place for place in places.values() if any(values[place] not in (None, "", []) for values in compact)
    ]
    names = list(places)
    return Table(
        columns=tuple(describe(names[place]) for place in kept),
        rows=[[values[place] for place in kept] for values in compact],
        pictures=[picture for _, _, picture in collected],
    )


def _flat(row: Mapping[str, Any], number: int, picture: str | None) -> dict[str, Any]:
    """The row with units in the names of distances, and with URLs for paths."""
    unit = row.get("distance_unit")
    flat = {
        f"{name}_{unit}" if unit and name in DISTANCES else name: value
        for name, value in row.items()
        if name != "distance_unit"
    }
    for name in OUTPUTS:
        if flat.get(name):
            # Quoted from the bytes of the name, which may be no valid text; the colon is quoted too.
            flat[name] = quote(os.fsencode(PurePath(flat[name]).as_posix()))
    if picture is None:
        flat["overlay"] = None
    return flat | {"input": number}


def _picture(row: Mapping[str, Any], root: Path) -> str | None:
    """The path of the row's overlay, if the file exists."""
    path = os.path.join(root, row["overlay"]) if row.get("overlay") else ""  # noqa: PTH118 - faster, for many
    return path if path and os.path.isfile(path) else None  # noqa: PTH113 - likewise


def _compact(value: Any) -> Any:
    """A JSON-serialisable value; hidden characters in text are escaped."""
    value = json_ready(value)
    if isinstance(value, list):
        return [_compact(item) for item in value]
    return shown(value) if isinstance(value, str) else value


def _badness(row: Mapping[str, Any], number: int) -> tuple[float, ...]:
    """The sort key that puts the worst rows first."""
    scores = (json_ready(row.get(name)) for name in ("dice", "confidence"))
    score = next((score for score in scores if score is not None), _NO_SCORE)
    flags = len(row.get("flags") or ())
    return _STATUS_ORDER.get(row["status"], 0), not flags, score, -flags, number
