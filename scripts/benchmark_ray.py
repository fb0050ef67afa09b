"""Measure the overhead of the Ray engine: against the local engine, and with the size of a run.

    python scripts/benchmark_ray.py overhead                 # both engines on the cores of this machine
    python scripts/benchmark_ray.py growth                   # 1,000 to 100,000 items of a millisecond each

docs/cluster.md explains the figures. The machine should be otherwise idle; its load is printed.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

import typer
from rich.console import Console
from rich.table import Table

# Do not import torch or Ray here: timed processes import this file too.
from lungfield.errors import LungfieldError

app = typer.Typer(pretty_exceptions_enable=False, add_completion=False)
_JSON = typer.Option(None, "--json", help="Write all figures to this file.")


@app.command()
def overhead(
    few: int = typer.Option(64, min=1, help="Files of the smaller run."),
    many: int = typer.Option(256, min=2, help="Files of the larger run; the difference is measured."),
    size: int = typer.Option(1024, min=64, help="Rows and columns."),
    workers: int = typer.Option(2, min=1, help="Worker processes of either engine."),
    repeat: int = typer.Option(3, min=1, help="Number of repeats, in turn; the median is reported."),
    bundle: str = typer.Option("efficientnet_lite0_unet", help="A shipped bundle with weights."),
    json_file: Path | None = _JSON,
) -> None:
    """Seconds per file of both engines on the same cores, without their start-up."""
    from benchmarking.ray_overhead import measure_overhead

    with tempfile.TemporaryDirectory(prefix="lungfield-benchmark-") as folder:
        figures = measure_overhead(
            Path(folder), bundle=bundle, counts=(few, many), size=size, workers=workers, repeat=repeat
        )
    table = Table(
        "engine",
        "ms a file",
        "ms of processors a file",
        title=f"{many - few} more files of {size}x{size}, {workers} workers",
    )
    for name in ("local", "ray"):
        table.add_row(name, *(f"{1000 * figures[name][cost]:.1f}" for cost in ("wall_s", "cpu_s")))
    _show(table, figures, json_file)
    wall, cpu = (f"{100 * figures['overhead'][cost]:.1f} %" for cost in ("wall_s", "cpu_s"))
    print(f"overhead of Ray: {wall}, of processors {cpu}")


@app.command()
def growth(
    counts: str = typer.Option("1000,10000,100000", help="How many items, separated by commas."),
    actors: int = typer.Option(2, min=1, help="Actors, one core each."),
    milliseconds: float = typer.Option(1.0, min=0, help="Duration of an item."),
    json_file: Path | None = _JSON,
) -> None:
    """Rate and driver memory for items that wait a moment instead of being read and segmented."""
    from benchmarking.ray_growth import measure_growth

    rows = [
        measure_growth(int(count), actors=actors, seconds=milliseconds / 1000) for count in counts.split(",")
    ]
    names = {
        "items": "{:,}",
        "rate": "{:,.0f}",
        "list_s": "{:.1f}",
        "segment_s": "{:.1f}",
        "tables_s": "{:.1f}",
        "driver_cpu_s": "{:.1f}",
        "driver_mb": "{:.0f}",
    }
    table = Table(*names, title=f"{actors} actors, {milliseconds:g} ms an item")
    for row in rows:
        table.add_row(*(shape.format(row[name]) for name, shape in names.items()))
    _show(table, {"growth": rows}, json_file)


def _show(table: Table, figures: dict[str, object], json_file: Path | None) -> None:
    from lungfield.export import write_results_json

    Console(highlight=False, width=None if sys.stdout.isatty() else 110).print(table)
    load = os.getloadavg()[0]
    print(f"load of the machine at the end: {load:.1f} on {os.cpu_count()} cores")
    if json_file is not None:
        write_results_json({**figures, "load": load, "cores": os.cpu_count()}, json_file)


if __name__ == "__main__":
    try:
        app()
    except LungfieldError as error:
        print(f"benchmark_ray: {error}", file=sys.stderr)
        sys.exit(2)
