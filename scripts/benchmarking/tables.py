"""The figures for the terminal."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
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
_RATIOS_BY_KIND = {
    "end_to_end_to_network_by_kind": "end to end / network alone",
    "reading_to_network_by_kind": "reading / network alone",
}


def tables(parts: Mapping[str, Any]) -> Iterator[Table]:
    """All measurements, as tables."""
    headings = ("what", "median", "each", "start, s", "first file, s", "end, s")
    yield _table("Radiographs a second", headings, _rates(parts))
    kind = parts["end_to_end"][0]["kind"]
    title = f"One core's time for a radiograph beside the network, {kind}"
    yield _table(title, ("stage", "CPU, ms", "%", "passed, ms"), _stages(parts["stages"]))
    spent = parts["spent"]
    yield _table(
        "Where the cores' time for a radiograph goes",
        ("part", "ms of one core", "%"),
        ((name, _number(ms), _number(100 * ms / spent["available"])) for name, ms in spent.items()),
    )
    yield _table(
        "Peak memory of all processes together",
        ("files", "GB"),
        (
            (str(one["files"]), _number(one["peak_bytes"] and one["peak_bytes"] / 1e9, 2))
            for one in parts["memory"]
        ),
    )
    headings = ("of", "ratio", "goal (two cores, 2048x2048 uncompressed)")
    yield _table("Ratios", headings, _ratios(parts["ratios"]))


def _rates(parts: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    yield "network alone", *_rate(parts["network"])
    for one in parts["end_to_end"]:
        name = f"end to end, {one['kind']}{', with report' if one['report'] else ''}"
        yield name, *_rate(one), *(_number(one[key]) for key in ("start_up_s", "first_file_s", "closing_s"))
    for one in parts["reading"]:
        yield f"reading alone, {one['kind']}", *_rate(one)
    stock = parts["stock"]
    files = "from {} and {} files".format(*stock["files"])
    yield "monai.bundle run", _number(stock["images_per_s"]), files, _number(stock["start_up_s"])
    for one in parts["others"]:
        yield one["name"], _number(one["images_per_s"]), one["remark"]


def _rate(one: Mapping[str, Any]) -> tuple[str, str]:
    return _number(one["images_per_s"]), " ".join(map(_number, one["each"]))


def _stages(stages: Iterable[Mapping[str, Any]]) -> Iterator[tuple[str, ...]]:
    by_default = [one for one in stages if one["by_default"]]
    for one in stages:
        name = one["name"] if one["by_default"] else f"[dim]{one['name']} (not by default)[/]"
        percent = "" if one["percent"] is None else _number(one["percent"])
        yield name, _number(one["cpu_ms"]), percent, _number(one["wall_ms"])
    cpu, wall = (_number(sum(one[key] for one in by_default)) for key in ("cpu_ms", "wall_ms"))
    yield "all that are done by default", cpu, "100.0", wall


def _ratios(ratios: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    for key, name in _RATIOS.items():
        yield name, _number(ratios[key], 2), " ".join(map(str, GOALS.get(key, ())))
    for key, name in _RATIOS_BY_KIND.items():
        for kind, ratio in ratios[key].items():
            yield f"{name}, {kind}", _number(ratio, 2)


def _table(title: str, headings: Iterable[str], rows: Iterable[tuple[str, ...]]) -> Table:
    # Without min_width a title would be broken to the width of its table.
    table = Table(box=SIMPLE, title=title, title_justify="left", min_width=len(title))
    for heading in headings:
        table.add_column(heading, overflow="fold")
    for row in rows:
        table.add_row(*row)
    return table


def _number(value: float | None, digits: int = 1) -> str:
    return "not measured" if value is None else f"{value:.{digits}f}"
