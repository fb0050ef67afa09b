"""A run over many radiographs, from the list of files to the report; it can be stopped and go on."""

from __future__ import annotations

import contextlib
import datetime
import logging
import platform
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from lungfield import export
from lungfield.batch.interrupts import Interrupted, interruptible
from lungfield.batch.journal import FOLDER, Entry, Fingerprint, Journal
from lungfield.batch.leftovers import REPORT, adopt, outputs_of, remove_leftovers, remove_parts, unowned
from lungfield.batch.network import NetworkThreads
from lungfield.batch.outputs import DEFAULT_FORMATS, FORMATS, check_formats
from lungfield.batch.pool import Pool
from lungfield.batch.processes import start_forkserver, stop_forkserver
from lungfield.batch.references import References, find_references
from lungfield.batch.resources import files_held, share_out
from lungfield.batch.results import BatchResult, Rows, write_results
from lungfield.batch.worker import DONE, Ended, Job, WorkerSettings
from lungfield.bundles import DEFAULT_BUNDLE, Bundle, find_bundle
from lungfield.bundles.precision import best_precision
from lungfield.bundles.predictor import Predictor, find_device, require_weights
from lungfield.errors import DataError, OutputError, Reason
from lungfield.names import shown
from lungfield.radiograph import Found, output_stems, search

logger = logging.getLogger(__name__)

#: What may go differently another time: a resumed run tries these files again.
_TRANSIENT = (
    Reason.CHANGED,
    Reason.CRASHED,
    Reason.INACCESSIBLE,
    Reason.INTERNAL,
    Reason.NOT_WRITTEN,
    Reason.OUT_OF_MEMORY,
    Reason.TIMED_OUT,
)

VIEWS = ("frontal", "any")
"""What `Options.views` knows."""

Progress = Callable[[int, int, Mapping[str, Any] | None], None]


@dataclass(frozen=True)
class Options:
    """How a batch is run.

    Attributes:
        formats: what to write of each radiograph, by the names of `FORMATS`.
        references: folder of reference masks, matched by SOP Instance UID or by name.
        viewer_geometry: place DICOM SEG objects in an invented plane, for viewers that insist on one.
        check_mirrored: also segment every mirrored radiograph, as a second opinion for the quality flags.
            Twice the work of the network.
        views: 'frontal' turns down what a header says to be another view or body part; 'any' does not.
            Objects that are no radiographs are turned down either way.
        resume: go on with a run that was begun in the output folder.
        overwrite: forget a run that was begun there, and begin anew.
        report: write report.html.
        device: 'auto', 'cpu', 'cuda', 'cuda:1', ...
        backend: what runs the network: 'torch', or 'openvino' on a CPU.
        workers: processes that read and write; None for one each core.
        batch_size: radiographs to a batch of the network, on CUDA; None for 16.
        time_limit_s: how long reading, or finishing, a single file may take, in seconds.
        memory_limit_bytes: what a worker may take for its files.
    """

    formats: tuple[str, ...] = DEFAULT_FORMATS
    references: Path | None = None
    viewer_geometry: bool = False
    check_mirrored: bool = False
    views: str = "frontal"
    resume: bool = False
    overwrite: bool = False
    report: bool = True
    device: str = "auto"
    backend: str = "torch"
    workers: int | None = None
    batch_size: int | None = None
    time_limit_s: float = 120.0
    memory_limit_bytes: int = 2 << 30


def segment_files(
    inputs: Sequence[Path],
    output: Path,
    bundle: str | Path = DEFAULT_BUNDLE,
    *,
    options: Options | None = None,
    progress: Progress | None = None,
) -> BatchResult:
    """Segment files and folders into `output`, whose sub-folders mirror the tree of the inputs.

    Written are the formats asked for, results.csv, results.json and results.parquet with one row an input,
    and report.html. One bad file never ends the batch. Whatever ends it, each file's results are complete or
    not there, and `Options.resume` goes on; the results are those of a run that was not interrupted.

    It starts processes: in a script, call it below `if __name__ == "__main__":`.

    Args:
        inputs: files and folders.
        output: folder of the results, made where missing.
        bundle: name of a shipped bundle, or the folder of any other that you trust.
        options: how to go about it.
        progress: called with the number of files that have ended, that of all files, and the row of the one
            that just did (None at the start).

    Raises:
        BundleError: there is no such bundle, it has no weights, or the device is not there.
        DataError: an input or the folder of references does not exist or holds nothing; the output folder
            holds another run, or one is at work there.
        OutputError: the output folder cannot be written, or its disk is full.
        Interrupted: by SIGINT or SIGTERM.
    """
    options = options or Options()
    found = find_bundle(bundle)
    require_weights(found)
    device = find_device(options.device, options.backend)
    options = _checked(options)
    files = _find(inputs, output)
    references = None
    if options.references:
        references = find_references(options.references, [file.relative for file in files.files])
    _require_writable(output)
    with interruptible(), Journal(output) as journal:
        _open_run(journal, _settings(found, options), options)
        run = _Run(files, output, found, options, device, references, journal, progress or _no_progress)
        return run.run()


def _find(inputs: Sequence[Path], output: Path) -> Found:
    """The files to segment, without what this run and earlier ones have written."""
    found = search(inputs, exclude=_results_of_runs([output, *_runs_in(inputs)]))
    for remark in found.remarks:
        logger.info("%s", remark)
    if not found.files:
        raise DataError(
            f"No DICOM or NIfTI file, and no picture, in {', '.join(map(str, inputs))}. Name files, or "
            f"folders that hold some.{''.join(f' ({remark}.)' for remark in found.remarks)}"
        )
    return found


def _checked(options: Options) -> Options:
    if options.resume and options.overwrite:
        raise DataError("A run is either resumed or overwritten: give one of the two.")
    if options.workers is not None and options.workers < 1:
        raise DataError(f"{options.workers} workers cannot do anything; give 1 or more.")
    if options.views not in VIEWS:
        raise DataError(f"'{options.views}' are no views to choose; give one of {', '.join(VIEWS)}.")
    return Options(**{**vars(options), "formats": check_formats(options.formats)})


_TABLES = ("results.csv", "results.json", "results.parquet", REPORT)


def _runs_in(inputs: Sequence[Path]) -> list[Path]:
    """The inputs that hold results of an earlier run beside other files."""
    return [path for path in map(Path, inputs) if (path / FOLDER).is_dir()]


def _results_of_runs(folders: Sequence[Path]) -> list[Path]:
    """What runs write into output folders: none of it is an input."""
    names = (FOLDER, *(kind.folder for kind in FORMATS.values()), *_TABLES)
    return [folder / name for folder in folders for name in names]


def _require_writable(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise OutputError(f"The output folder {folder} cannot be written to: {error.strerror}.") from error


def _settings(bundle: Bundle, options: Options) -> dict[str, Any]:
    """What the results depend on: a resumed run must have the same."""
    return {
        "lungfield": version("lungfield"),
        "bundle": bundle.name,
        "bundle_version": bundle.version,
        "weights_sha256": bundle.weights_sha256,  # which goes to the workers with the bundle
        "backend": options.backend,
        "formats": list(options.formats),
        "viewer_geometry": options.viewer_geometry,
        "check_mirrored": options.check_mirrored,
        "views": options.views,
        "references": None if options.references is None else str(options.references.resolve()),
    }


def _open_run(journal: Journal, settings: dict[str, Any], options: Options) -> None:
    """Begin a run, or go on with the one that is there."""
    adopt(journal)
    before = journal.read("settings")
    if before is not None and not (options.resume or options.overwrite):
        raise DataError(
            f"{journal.path.parents[1]} holds the results of a run. Go on with it by --resume, begin anew by "
            "--overwrite, or choose another output folder."
        )
    if before is not None and options.resume:
        changed = [name for name in settings if settings[name] != before.get(name)]
        if changed:
            raise DataError(
                f"The run in {journal.path.parents[1]} was begun with other settings ("
                + ", ".join(f"{name}: {before.get(name)} instead of {settings[name]}" for name in changed)
                + "). Resume it with those, or begin anew by --overwrite."
            )
        return
    journal.clear()
    journal.write("started", export.creation_time().isoformat())
    journal.write("settings", settings)


def _no_progress(_ended: int, _files: int, _row: Mapping[str, Any] | None) -> None:
    pass


class _Run:
    """One run over a list of files, its journal open."""

    def __init__(
        self,
        found: Found,
        output: Path,
        bundle: Bundle,
        options: Options,
        device: torch.device,
        references: References | None,
        journal: Journal,
        progress: Progress,
    ) -> None:
        self._files = found.files
        self._found = found
        self._output = output
        self._bundle = bundle
        self._options = options
        self._references = references
        self._journal = journal
        self._progress = progress
        self._names = [file.relative.as_posix() for file in found.files]
        self._fingerprints: dict[int, Fingerprint] = {}
        self._ended = self._resumed = 0
        self._device = device
        self._start = time.perf_counter()

    def run(self) -> BatchResult:
        """Do what is not done yet, then write tables and report, also when the run is cut short."""
        remove_parts(self._output)
        missing = self._missing()
        self._ended = self._resumed = len(self._files) - len(missing)
        self._progress(self._ended, len(self._files), None)
        try:
            if missing:
                self._segment(missing)
        except Interrupted as interrupt:
            interrupt.batch = self._write_results()
            raise
        except OutputError as error:
            # Where there is no space for masks, there may be none for tables.
            with contextlib.suppress(OutputError):
                self._write_results()
            raise OutputError(f"{error} What was done is kept; go on by --resume.") from error
        return self._write_results()

    def _missing(self) -> list[Job]:
        """The files that have no result, or one that may be another today."""
        stems = output_stems(self._files)
        jobs = [
            Job(number, file.path, file.relative, stems[file.path]) for number, file in enumerate(self._files)
        ]
        return [job for job in jobs if not self._is_done(job)]

    def _is_done(self, job: Job) -> bool:
        entry = self._journal.find(job.relative.as_posix())
        if entry is None or entry.fingerprint != Fingerprint.of(job.path):
            return False
        if entry.row["status"] != DONE:
            return entry.row["reason_code"] not in _TRANSIENT
        return all((self._output / place).is_file() for place in outputs_of(entry.row))

    def _segment(self, jobs: Sequence[Job]) -> None:
        try:
            context = start_forkserver()  # it imports while the bundle is loaded
            predictor = Predictor(self._bundle, device=str(self._device), backend=self._options.backend)
            self._start = time.perf_counter()
            self._segment_by(predictor, context, jobs)
        except BaseException:
            stop_forkserver()
            raise

    def _segment_by(self, predictor: Predictor, context: Any, jobs: Sequence[Job]) -> None:
        options = self._options
        share = share_out(predictor.device.type, options.workers, options.batch_size)
        workers = min(share.workers, len(jobs))
        threads_before = torch.get_num_threads()
        torch.set_num_threads(share.torch_threads)
        network = NetworkThreads(
            predictor,
            batch_size=share.batch_size,
            threads=share.network_threads,
            with_mirrored=options.check_mirrored,
        )
        settings = WorkerSettings(
            bundle=self._bundle,
            output=self._output,
            formats=options.formats,
            created=datetime.datetime.fromisoformat(self._journal.read("started")),
            viewer_geometry=options.viewer_geometry,
            require_frontal=options.views == "frontal",
            references=self._references,
            memory_bytes=options.memory_limit_bytes,
        )
        pool = Pool(
            context,
            settings,
            network,
            workers=workers,
            held=files_held(share.batch_size, workers, options.memory_limit_bytes),
            time_limit_s=options.time_limit_s,
        )
        try:
            pool.run(self._begun(jobs), self._end)
        finally:
            pool.close()
            network.close()
            torch.set_num_threads(threads_before)

    def _begun(self, jobs: Sequence[Job]) -> Iterator[Job]:
        for job in jobs:
            self._fingerprints[job.ticket] = Fingerprint.of(job.path)
            places = (FORMATS[name].place(job.name).as_posix() for name in self._options.formats)
            self._journal.announce(unowned(self._output, places))
            yield job

    def _end(self, job: Job, ended: Ended) -> None:
        if ended.stop:
            raise OutputError(ended.stop)
        fingerprint = self._fingerprints.pop(job.ticket)
        entry = Entry(job.relative.as_posix(), fingerprint, ended.uid_hash, ended.row)
        self._journal.add(entry, outputs_of(ended.row))
        self._ended += 1
        row = ended.row
        file = shown(row["file"])
        logger.info(
            "%s: %s",
            file,
            row["status"],
            extra={
                "file": file,
                "status": row["status"],
                "reason_code": row.get("reason_code", ""),
                "reason": row.get("reason", ""),
                "flags": row.get("flags", []),
                "seconds": round(row["seconds"], 4),
            },
        )
        self._progress(self._ended, len(self._files), row)

    def _write_results(self) -> BatchResult:
        has_report = self._options.report
        remove_leftovers(self._journal, self._output, self._names, has_report=has_report)
        batch = BatchResult(
            files=Rows(self._journal.path, self._names, self._journal.duplicates()),
            output=self._output,
            bundle=self._bundle,
            seconds=time.perf_counter() - self._start,
            started=self._journal.read("started"),
            resumed=self._resumed,
            settings=self._journal.read("settings"),
            environment=_environment(self._device),
            left_out=self._found.left_out,
            remarks=self._found.remarks,
        )
        write_results(batch, report=has_report)
        if has_report:
            self._journal.announce([REPORT])
        return batch


def _environment(device: torch.device) -> dict[str, str]:
    known = device.type in ("cpu", "cuda")
    return {
        "lungfield": version("lungfield"),
        "python": platform.python_version(),
        "torch": version("torch"),
        "monai": version("monai"),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else str(device),
        "precision": best_precision(device) if known else "",
        "platform": f"{platform.system()} {platform.machine()}",
    }
