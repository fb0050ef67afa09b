"""Make a prepared data set of phantoms: synthetic radiographs (DICOM) whose lung fields are known exactly.

python scripts/make_phantoms.py --count 200 -o data/phantoms
"""

from __future__ import annotations

from pathlib import Path

import typer
from rich.console import Console
from rich.progress import track

from lungfield.datasets import Split
from lungfield.errors import LungfieldError
from phantoms import prepare_phantoms


def main(
    output: Path = typer.Option(..., "-o", "--output", help="Folder of the prepared set."),
    count: int = typer.Option(200, min=1, help="How many."),
    size: int = typer.Option(512, min=64, help="Rows and columns."),
    split: str = typer.Option("7:1:2", help="Training, validation and test, in relation or as exact counts."),
    seed: int = typer.Option(0, min=0, help="Seed of the phantoms and of the shuffle."),
) -> None:
    """Make phantoms, and print their number in each section."""
    try:
        made = prepare_phantoms(
            output,
            count=count,
            size=size,
            seed=seed,
            split=Split(split, seed),
            track=lambda names: track(names, "Phantoms", console=Console(stderr=True)),
        )
    except LungfieldError as error:
        raise SystemExit(str(error)) from error
    print(f"{output}: {', '.join(f'{number} {section}' for section, number in made.counts.items())}")


if __name__ == "__main__":
    typer.run(main)
