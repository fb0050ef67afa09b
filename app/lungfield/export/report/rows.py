"""The rows of a report: made flat and compact, described, and put worst first."""

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
    """All rows, worst first, each a list with the values of `columns` that JSON can hold.

    The paths of outputs are quoted as the relative addresses of links.

    Of `columns`, those are there that hold anything; `pictures` has the path of each row's overlay, or None.
    """

    columns: tuple[Column, ...]
    rows: list[list[Any]]
    pictures: list[str | None]

    @cached_property
    def _places(self) -> dict[str, int]:
        return {column.name: place for place, column in enumerate(self.columns)}

    def values(self, name: str) -> list[Any]:
        """The values of one column, None where a row has none; empty where there is no such column."""
        place = self._places.get(name)
        return [] if place is None else [row[place] for row in self.rows]


def collect(rows: Iterable[Mapping[str, Any]], root: Path) -> Table:
    """Collect the rows of a report, one mapping an input, with the columns of results.csv.

    Distances to the reference get their unit into the name of the column, as millimetres and pixels must not
    stand, or be sorted, in one. `input` is added: the number of the row as it came. Paths start from `root`.

    First come the files that failed, then those with flags, then the others; those that were skipped come
    last. In each of these the lowest Dice coefficient or, without a reference, the lowest confidence comes
    first, then whatever has most flags.
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
    """The row with units in the names of distances, and with addresses for paths."""
    unit = row.get("distance_unit")
    flat = {
        f"{name}_{unit}" if unit and name in DISTANCES else name: value
        for name, value in row.items()
        if name != "distance_unit"
    }
    for name in OUTPUTS:
        if flat.get(name):
            # Quoted from the bytes of the name, which need not be text, and with the colon of any scheme.
            flat[name] = quote(os.fsencode(PurePath(flat[name]).as_posix()))
    if picture is None:
        flat["overlay"] = None
    return flat | {"input": number}


def _picture(row: Mapping[str, Any], root: Path) -> str | None:
    """The path of the row's overlay, if the file is there."""
    path = os.path.join(root, row["overlay"]) if row.get("overlay") else ""  # noqa: PTH118 - faster, for many
    return path if path and os.path.isfile(path) else None  # noqa: PTH113 - likewise


def _compact(value: Any) -> Any:
    """The value as JSON holds it; what is hidden in a text is shown escaped."""
    value = json_ready(value)
    if isinstance(value, list):
        return [_compact(item) for item in value]
    return shown(value) if isinstance(value, str) else value


def _badness(row: Mapping[str, Any], number: int) -> tuple[float, ...]:
    """What sorts the worst rows first."""
    scores = (json_ready(row.get(name)) for name in ("dice", "confidence"))
    score = next((score for score in scores if score is not None), _NO_SCORE)
    flags = len(row.get("flags") or ())
    return _STATUS_ORDER.get(row["status"], 0), not flags, score, -flags, number
