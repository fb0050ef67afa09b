"""The figures for the terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rich.box import SIMPLE
from rich.table import Table

from benchmarking.summary import GOALS

_RATIOS = {
    "end_to_end_to_bound": "end to end / reading and network alone",
    "end_to_end_to_network": "end to end / network alone",
    "end_to_end_to_stock": "end to end / monai.bundle run",
    "stages_ms": "stages beside the network, ms of one core",
    "peak_gb": "peak memory, GB",
    "memory_growth": "peak memory with 4 times the files / with the files",
}


def tables(parts: Mapping[str, Any]) -> Iterator[Table]:
    """All that was measured, a table for each question."""
    yield _rates(parts)
    yield _stages(parts)
    yield _spent(parts["spent"])
    yield _memory(parts)
    yield _ratio_table(parts["ratios"])


def _rates(parts: Mapping[str, Any]) -> Table:
    table = _table("Radiographs a second", "what", "median", "each", "start, s", "first file, s", "end, s")
    network = parts["network"]
    table.add_row("network alone", _number(network["images_per_s"]), _each(network))
    for one in parts["end_to_end"]:
        name = f"end to end, {one['kind']}{', with report' if one['report'] else ''}"
        seconds = (_number(one[key]) for key in ("start_up_s", "first_file_s", "closing_s"))
        table.add_row(name, _number(one["images_per_s"]), _each(one), *seconds)
    for one in parts["reading"]:
        table.add_row(f"reading alone, {one['kind']}", _number(one["images_per_s"]), _each(one))
    stock = parts["stock"]
    files = f"from {stock['files'][0]} and {stock['files'][1]} files"
    table.add_row("monai.bundle run", _number(stock["images_per_s"]), files, _number(stock["start_up_s"]))
    for one in parts["others"]:
        table.add_row(one["name"], _number(one["images_per_s"]), one["remark"])
    return table


def _stages(parts: Mapping[str, Any]) -> Table:
    table = _table(
        f"One core's time for a radiograph beside the network, {parts['end_to_end'][0]['kind']}",
        "stage",
        "CPU, ms",
        "%",
        "passed, ms",
    )
    for one in parts["stages"]:
        name = one["name"] if one["by_default"] else f"[dim]{one['name']} (not by default)[/]"
        percent = "" if one["percent"] is None else _number(one["percent"])
        table.add_row(name, _number(one["cpu_ms"]), percent, _number(one["wall_ms"]))
    by_default = [one for one in parts["stages"] if one["by_default"]]
    sums = [_number(sum(one[key] for one in by_default)) for key in ("cpu_ms", "wall_ms")]
    table.add_row("all that are done by default", sums[0], "100.0", sums[1])
    return table


def _spent(spent: Mapping[str, float]) -> Table:
    table = _table("Where the cores' time for a radiograph goes", "part", "ms of one core", "%")
    for name, ms in spent.items():
        table.add_row(name, _number(ms), _number(100 * ms / spent["available"]))
    return table


def _memory(parts: Mapping[str, Any]) -> Table:
    table = _table("Peak memory of all processes together", "files", "GB")
    for one in parts["memory"]:
        table.add_row(
            str(one["files"]), _number(None if one["peak_bytes"] is None else one["peak_bytes"] / 1e9, 2)
        )
    return table


def _ratio_table(ratios: Mapping[str, Any]) -> Table:
    table = _table("Ratios", "of", "ratio", "goal (two cores, 2048x2048 uncompressed)")
    for key, name in _RATIOS.items():
        goal = " ".join(map(str, GOALS[key])) if key in GOALS else ""
        table.add_row(name, _number(ratios[key], 2), goal)
    for key, name in (
        ("end_to_end_to_network_by_kind", "end to end / network alone"),
        ("reading_to_network_by_kind", "reading / network alone"),
    ):
        for kind, ratio in ratios[key].items():
            table.add_row(f"{name}, {kind}", _number(ratio, 2), "")
    return table


def _table(title: str, *headings: str) -> Table:
    # Else a title would be broken to the width of its table.
    table = Table(box=SIMPLE, title=title, title_justify="left", min_width=len(title))
    for heading in headings:
        table.add_column(heading, overflow="fold")
    return table


def _each(one: Mapping[str, Any]) -> str:
    return " ".join(map(_number, one["each"]))


def _number(value: float | None, digits: int = 1) -> str:
    return "not measured" if value is None else f"{value:.{digits}f}"
