"""`lungfield segment`: radiographs in; masks, pictures, tables and a report out."""

from __future__ import annotations

import json
import logging
import math
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import typer
from rich.console import Console

from lungfield.bundles import DEFAULT_BUNDLE
from lungfield.cli.bar import Bar
from lungfield.errors import OutputError
from lungfield.names import shown, shown_lines

if TYPE_CHECKING:
    from lungfield.batch import BatchResult
    from lungfield.cluster.progress import Progress as ShardProgress

#: Exit codes besides 0 (all done or skipped), 1 (some failed) and 2 (a wrong call).
STOPPED = 3
SIGNAL_BASE = 128

_SHOWN_REMARKS = 20
_LINE_INTERVAL_S = 30.0

Views = Literal["frontal", "any"]
Engine = Literal["local", "ray"]


def _existing(inputs: list[str] | None) -> list[str]:
    """Refuse paths that do not exist; URIs are checked later by their store."""
    for text in inputs or ():
        if "://" not in text and not Path(text).exists():
            raise typer.BadParameter(f"Path '{shown(text)}' does not exist.")
    return inputs or []


def _names(text: str) -> tuple[str, ...]:
    """Split a comma-separated list."""
    return tuple(name.strip() for name in text.split(",") if name.strip())


def segment(
    inputs: list[str] | None = typer.Argument(
        None,
        callback=_existing,
        help="Radiographs, or folders of them (DICOM, NIfTI, PNG, JPEG, TIFF and others): paths, s3://, "
        "gs://, az:// and https:// URIs, or lists of them (.csv, .parquet, .txt).",
    ),
    output: str = typer.Option(..., "-o", "--output", help="Folder for the results: a path or URI."),
    files_from: Path | None = typer.Option(
        None,
        metavar="FILE",
        help="Also segment the files and folders that this text file lists, one path a line; - for standard "
        "input.",
    ),
    include: list[str] | None = typer.Option(
        None,
        metavar="GLOB",
        help="Segment only files whose path below INPUTS ends like this: '*.dcm', 'PA/*.png'. Repeatable.",
    ),
    exclude: list[str] | None = typer.Option(
        None,
        metavar="GLOB",
        help="Leave out such files, or all below such folders: 'masks'. Repeatable.",
    ),
    bundle: str = typer.Option(
        DEFAULT_BUNDLE, help="A shipped bundle's name, or the folder of another that you trust."
    ),
    formats: str = typer.Option(
        "mask,overlay,preview,seg",
        help="What to write: mask (PNG), nifti, overlay (JPEG), preview (SVG, for the viewer of the report), "
        "and for DICOM inputs seg (DICOM SEG), sr (structured report, TID 1500), sc (overlay as secondary "
        "capture).",
    ),
    structures: str = typer.Option(
        "lungs",
        help="Structures in masks and DICOM SEG: lungs,heart,clavicles. The lungs are always included; the "
        "others need a bundle that segments them.",
    ),
    reference: Path | None = typer.Option(
        None,
        exists=True,
        file_okay=False,
        help="Folder of reference masks to compare with: PNG, NIfTI, ... of the same names, or DICOM SEG.",
    ),
    views: Views = typer.Option(
        "frontal",
        help="frontal skips files whose DICOM header names another view or body part; any segments them too, "
        "for headers that are known to be wrong.",
    ),
    resume: bool = typer.Option(False, "--resume", help="Continue the run in the output folder."),
    overwrite: bool = typer.Option(False, "--overwrite", help="Discard that run and start again."),
    device: str = typer.Option("auto", help="auto, cpu, cuda, cuda:1, ..."),
    backend: str = typer.Option(
        "auto", help="What runs the network: torch, openvino or openvino-int8 (on a CPU), or auto."
    ),
    workers: int | None = typer.Option(
        None, min=1, help="Number of worker processes, one file at a time each; by default one per core."
    ),
    batch_size: int | None = typer.Option(
        None, min=1, help="Maximum number of radiographs in a batch on a GPU; by default 16."
    ),
    time_limit: float = typer.Option(120.0, min=1, help="Timeout for each file, in seconds."),
    memory_limit: float = typer.Option(
        2.0, min=0.25, help="Memory that a worker process may use for a file, in GiB."
    ),
    check_mirrored: bool = typer.Option(
        False,
        "--check-mirrored",
        help="Also segment each radiograph mirrored, and flag masks that differ (slower).",
    ),
    viewer_geometry: bool = typer.Option(
        False,
        "--viewer-geometry",
        help="Place DICOM SEG in an invented plane, for viewers that require one.",
    ),
    report: bool = typer.Option(True, "--report/--no-report", help="Write report.html."),
    column: str = typer.Option("uri", help="Column of a list (.csv, .parquet) that holds the URIs."),
    engine: Engine = typer.Option(
        "local", help="local uses the cores of this machine; ray, a Ray cluster (see docs/cluster.md)."
    ),
    ray_address: str | None = typer.Option(
        None, help="Ray's address: auto, or HOST:PORT; by default a cluster of this machine alone."
    ),
    num_gpus: float | None = typer.Option(
        None, min=0, help="GPUs for each network actor of Ray, such as 0.5; 0 runs the network on CPUs."
    ),
    max_actors: int | None = typer.Option(None, min=1, help="Maximum number of CPU actors of Ray."),
    shard: str | None = typer.Option(
        None, help="Segment part I of N of a run, as I/N; other processes segment the other parts."
    ),
    log_file: Path | None = typer.Option(None, help="Append a log to this file, as lines of JSON."),
    as_json: bool = typer.Option(False, "--json", help="Print the summary as JSON, as the last line."),
) -> None:
    """Segment the lung fields on radiographs.

    The output folder has one sub-folder for each format, which mirrors the folders of the inputs.
    results.csv, results.json and results.parquet have one row per file, and report.html shows the results.
    --resume continues a run that was stopped for any reason.

    URIs, lists, --engine ray and --shard start a sharded run, for object stores and many machines.

    Exit status: 0 when every file is done or skipped; 1 when some failed; 2 for a wrong call; 3 when results
    could not be written (disk full); 130 after SIGINT, 143 after SIGTERM.
    """
    console = Console(stderr=True)
    progress = _Progress(console)
    with progress:
        # Only what is imported quickly: `segment_files` starts the fork server before it imports the rest.
        from lungfield.batch import Interrupted, Options, segment_files
        from lungfield.cluster.options import ClusterOptions, parse_shard
        from lungfield.cluster.uris import need_stores

        named = [*(inputs or ()), *(_listed(files_from) if files_from else ())]
        cluster = ClusterOptions(
            engine=engine,
            ray_address=ray_address,
            shard=None if shard is None else parse_shard(shard),
            column=column,
            num_gpus=num_gpus,
            max_actors=max_actors,
        ).checked()
        is_plain = engine == "local" and shard is None and not need_stores(named, output)

        options = Options(
            formats=_names(formats),
            structures=_names(structures),
            references=reference,
            viewer_geometry=viewer_geometry,
            views=views,
            check_mirrored=check_mirrored,
            include=tuple(include or ()),
            exclude=tuple(exclude or ()),
            resume=resume,
            overwrite=overwrite,
            report=report,
            device=device,
            backend=backend,
            workers=workers,
            batch_size=batch_size,
            time_limit_s=time_limit,
            memory_limit_bytes=int(memory_limit * (1 << 30)),
        )
    with _log_to(log_file):
        try:
            with progress:
                if is_plain:
                    paths = [Path(text) for text in named]
                    batch = segment_files(paths, Path(output), bundle, options=options, progress=progress)
                else:
                    from lungfield.cluster import segment_stores

                    batch = segment_stores(
                        named, output, bundle, options=options, cluster=cluster, progress=progress.show_shards
                    )
        except Interrupted as interrupt:
            if interrupt.batch is not None:
                _report(interrupt.batch, console)
            console.print("Interrupted. Finished files are kept; the same call with --resume continues.")
            sys.exit(SIGNAL_BASE + interrupt.signal_number)
        except OutputError as error:
            console.print(f"lungfield: {shown_lines(str(error))}", markup=False, soft_wrap=True)
            sys.exit(STOPPED)
    _report(batch, console)
    if as_json:
        from lungfield.export import json_ready

        print(json.dumps(json_ready(batch.to_json())))
    from lungfield.batch import FAILED

    sys.exit(1 if batch.count(FAILED) else 0)


def _listed(file: Path) -> list[str]:
    from lungfield.batch import read_inputs

    return [str(path) for path in read_inputs(file)]


@contextmanager
def _log_to(path: Path | None) -> Iterator[None]:
    """A context that appends lungfield's log (file names, no patients) to a file as JSON lines, if given.

    Raises:
        OutputError: the file cannot be written.
    """
    if path is None:
        yield
        return
    from pythonjsonlogger.json import JsonFormatter

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handler = logging.FileHandler(path, encoding="utf-8")
    except OSError as error:
        raise OutputError(f"The log file {path} cannot be written: {error.strerror}.") from error
    handler.setFormatter(
        JsonFormatter(
            "{levelname}{name}{message}", style="{", timestamp=True, rename_fields={"levelname": "level"}
        )
    )
    logger = logging.getLogger("lungfield")
    level = logger.level
    logger.setLevel(logging.INFO)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
        handler.close()


class _Progress(Bar):
    """The progress bar of `segment_files` and `segment_stores`."""

    def __init__(self, console: Console) -> None:
        super().__init__("Looking for radiographs", console)
        self._failed = 0
        self._console, self._printed = console, time.monotonic()

    def __call__(self, ended: int, files: int, row: Mapping[str, Any] | None) -> None:
        """Show the number of files that have ended; `row` is that of the last one."""
        self._failed += row is not None and row["status"] == "failed"
        title = f"Segmenting, {self._failed} failed" if self._failed else "Segmenting"
        self.show(title if row else "Loading the bundle", ended, files)

    def show_shards(self, progress: ShardProgress) -> None:
        """Show the progress of a sharded run; without a terminal, print a line from time to time."""
        title = f"Segmenting, {progress.rate:.1f}/s"
        if progress.failed:
            title += f", {progress.failed} failed"
        self.show(title, progress.ended, progress.files)
        if not self._console.is_terminal and time.monotonic() - self._printed > _LINE_INTERVAL_S:
            self._printed = time.monotonic()
            self._console.print(progress.line(), markup=False, highlight=False, soft_wrap=True)


def _report(batch: BatchResult, console: Console) -> None:
    """Print a summary for people."""
    from rich.table import Table

    from lungfield.batch import DONE, FAILED, SKIPPED
    from lungfield.cli.remarks import remark_lines

    lines = remark_lines(batch.files)
    if lines and batch.is_sampled:
        console.print(f"In a sample of {sum(1 for _ in batch.files):,} files:", highlight=False)
    for line in lines[:_SHOWN_REMARKS]:
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    if len(lines) > _SHOWN_REMARKS:
        console.print(f"... and {len(lines) - _SHOWN_REMARKS} more kinds of remarks: see results.csv.")
    for remark in batch.remarks:
        console.print(remark, markup=False, highlight=False, soft_wrap=True)
    counts = ", ".join(f"{batch.count(status)} {status}" for status in (DONE, SKIPPED, FAILED))
    flagged = f" ({batch.flagged} of them need a review)" if batch.flagged else ""
    console.print(
        f"{counts} of {len(batch)} files in {batch.seconds:.1f} s{flagged}. "
        f"Results: {shown(str(batch.output))}",
        markup=False,
        soft_wrap=True,
    )
    if batch.ratios:
        text = "Cardiothoracic ratio: median {median:.2f}, {minimum:.2f} to {maximum:.2f}, of {count} files."
        console.print(text.format(**batch.ratios), highlight=False)
    if batch.agreement:
        table = Table(title="Agreement with the reference")
        for heading in ("metric", "n", "mean", "sd", "95 % interval", "min", "max"):
            table.add_column(heading, no_wrap=True)
        for name, figure in batch.agreement.items():
            figures = attrgetter("mean", "sd", "ci95_low", "ci95_high", "minimum", "maximum")(figure)
            mean, sd, low, high, least, most = (
                "–" if math.isnan(value) else f"{value:.4f}" for value in figures
            )
            table.add_row(name, str(figure.count), mean, sd, f"{low}-{high}", least, most)
        console.print(table)
