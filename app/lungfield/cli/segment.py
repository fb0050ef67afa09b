"""`lungfield segment`: radiographs in, masks, pictures and tables out."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import typer
from rich.console import Console

from lungfield.inference import DEFAULT_BUNDLE

if TYPE_CHECKING:
    from lungfield.pipeline import BatchResult
    from lungfield.radiograph import InputFile


def segment(
    inputs: list[Path] = typer.Argument(
        ..., exists=True, help="Radiographs, or folders of them (DICOM, PNG, JPEG, TIFF, NIfTI)."
    ),
    output: Path = typer.Option(..., "-o", "--output", help="Folder for the results."),
    bundle: str = typer.Option(
        DEFAULT_BUNDLE, help="A shipped bundle's name, or the folder of another that you trust."
    ),
    reference: Path | None = typer.Option(
        None,
        exists=True,
        file_okay=False,
        help="Folder of reference masks of the same names, to compare with.",
    ),
    device: str = typer.Option("auto", help="auto, cpu, cuda, cuda:1, ..."),
    as_json: bool = typer.Option(False, "--json", help="Print the summary as JSON, as the last line."),
) -> None:
    """Segment the lung fields on radiographs.

    Below the output folder, sub-folders mirror the inputs: masks (PNG: 0 background, 1 right lung, 2 left
    lung), overlays (JPEG), seg (DICOM SEG, for DICOM inputs); and results.csv and results.json with one row a
    file. Exit status: 0 when every file is done or was turned down for a stated reason, 1 when some failed, 2
    for a wrong call.
    """
    from rich.progress import track

    from lungfield.export import json_ready
    from lungfield.pipeline import FAILED, Segmenter, segment_files

    console = Console(stderr=True)
    with console.status("Loading the bundle"):
        segmenter = Segmenter(bundle, device=device)

    def progress(files: Iterable[InputFile]) -> Iterable[InputFile]:
        return track(files, "Segmenting", console=console, disable=not console.is_terminal)

    batch = segment_files(inputs, output, segmenter, references=reference, progress=progress)
    _report(batch, console)
    if as_json:
        print(json.dumps(json_ready(batch.to_json())))
    sys.exit(1 if batch.count(FAILED) else 0)


def _report(batch: BatchResult, console: Console) -> None:
    """What came out, for a person."""
    from rich.table import Table

    from lungfield.pipeline import DONE, FAILED, SKIPPED

    for file in batch.files:
        remark = file.row.get("warnings", "") if file.status == DONE else file.reason
        if remark:
            kind = "warning" if file.status == DONE else file.status
            console.print(f"{kind}: {file.file}: {remark}", markup=False, highlight=False, soft_wrap=True)
    counts = ", ".join(f"{batch.count(status)} {status}" for status in (DONE, SKIPPED, FAILED))
    console.print(
        f"{counts} of {len(batch.files)} files in {batch.seconds:.1f} s. Results: {batch.output}",
        soft_wrap=True,
    )
    if batch.agreement:
        table = Table(title="Agreement with the reference")
        for heading in ("metric", "radiographs", "mean", "sd", "min", "max"):
            table.add_column(heading)
        for name, figure in batch.agreement.items():
            values = (figure.mean, figure.sd, figure.minimum, figure.maximum)
            table.add_row(name, str(figure.count), *(f"{value:.4f}" for value in values))
        console.print(table)
