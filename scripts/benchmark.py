"""Measure how fast radiographs are segmented, what limits it, and how that compares with other ways.

    python scripts/benchmark.py                                   # minutes on two CPU cores
    python scripts/benchmark.py --count 1000 --json gpu.json      # a GPU needs more files for a stable rate
    python scripts/benchmark.py --keep files/                     # keep the files, and use them again

It makes its files itself, and takes all measurements in turn on the same files. The machine should be
otherwise idle. docs/benchmark.md explains each figure.
"""

from __future__ import annotations

import re
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import typer
from rich.console import Console

# Do not import torch here: timed processes import this file too.
from lungfield.errors import LungfieldError

app = typer.Typer(pretty_exceptions_enable=False, add_completion=False)
_SIZE = re.compile(r"(\d+)x(\d+)")
_BUSY = 0.5


@app.command()
def benchmark(
    bundle: str = typer.Option("unet", help="A shipped bundle's name, or the folder of another."),
    count: int = typer.Option(40, min=2, help="Files of each kind."),
    sizes: str = typer.Option("2048x2048,3000x2500", help="ROWSxCOLUMNS, separated by commas."),
    syntaxes: str = typer.Option(
        "uncompressed,jpeg-lossless,jpeg2000",
        help="How pixels are stored. All but rates is measured with the first size and the first syntax.",
    ),
    device: str = typer.Option("auto", help="auto, cpu, cuda, cuda:1, ..."),
    workers: int | None = typer.Option(None, min=1, help="Processes that read and write."),
    repeat: int = typer.Option(3, min=1, help="Number of repeats of each rate; the median is reported."),
    stock_files: int = typer.Option(8, min=2, help="Radiographs for `monai.bundle run`, which is slow."),
    json_file: Path | None = typer.Option(None, "--json", help="Write all figures to this file."),
    keep: Path | None = typer.Option(None, help="Folder for the files; they are kept and used again."),
) -> None:
    """Measure how fast radiographs are segmented, and what limits it."""
    from benchmarking.files import SYNTAXES, Kind

    stored = _chosen(syntaxes, tuple(SYNTAXES))
    kinds = [Kind(size, syntax) for size in _sizes(sizes) for syntax in stored]

    from benchmarking.measure import Settings, measure
    from benchmarking.tables import tables
    from lungfield.export import write_results_json

    settings = Settings(bundle, count, kinds, device, workers, repeat, stock_files)
    console = Console(stderr=True, highlight=False)
    with _folder(keep) as folder:
        figures = measure(settings, folder, lambda text: console.print(text, markup=False, soft_wrap=True))
    machine = figures["machine"]
    out = Console(highlight=False, width=None if sys.stdout.isatty() else 140)
    out.print(
        f"{machine['device']}, {machine['cores']} cores, {machine['precision']}, bundle {bundle}, "
        f"{count} files of each kind, {repeat} repeats",
        markup=False,
    )
    for table in tables(figures):
        out.print(table)
    if (machine["load_before"] or 0) > _BUSY * machine["cores"]:
        out.print(f"The machine was busy (load {machine['load_before']:.1f}): these figures are too low.")
    if json_file is not None:
        write_results_json(figures, json_file)


def _sizes(text: str) -> list[tuple[int, int]]:
    found = [_SIZE.fullmatch(one.strip()) for one in text.split(",")]
    if not all(found):
        raise typer.BadParameter(f"{text!r} is not a list such as 2048x2048,3000x2500", param_hint="--sizes")
    return [(int(one[1]), int(one[2])) for one in found if one]


def _chosen(text: str, known: tuple[str, ...]) -> list[str]:
    chosen = [one.strip() for one in text.split(",")]
    for one in chosen:
        if one not in known:
            raise typer.BadParameter(f"{one!r} is none of {', '.join(known)}", param_hint="--syntaxes")
    return chosen


@contextmanager
def _folder(keep: Path | None) -> Iterator[Path]:
    if keep is not None:
        keep.mkdir(parents=True, exist_ok=True)
        yield keep
        return
    with tempfile.TemporaryDirectory(prefix="lungfield-benchmark-") as folder:
        yield Path(folder)


def main() -> None:
    """Run the command line; exit with status 2 and a message for a wrong call."""
    try:
        app()
    except LungfieldError as error:
        print(f"benchmark: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
