"""A run over many radiographs, from the list of files to the report; it can be interrupted and resumed."""

from __future__ import annotations

import contextlib
import datetime
import logging
import os
import platform
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lungfield import export
from lungfield.batch.inputs import find_inputs, require_writable
from lungfield.batch.interrupts import Interrupted
from lungfield.batch.jobs import DONE, Ended, Job, WorkerSettings
from lungfield.batch.journal import Entry, Fingerprint, Journal
from lungfield.batch.leftovers import REPORT, adopt, outputs_of, remove_leftovers, remove_parts
from lungfield.batch.options import Options
from lungfield.batch.outputs import ALL_FORMATS, with_whole_masks
from lungfield.batch.pool import Pool, available_cores, shared_network
from lungfield.batch.references import References, find_references
from lungfield.batch.results import BatchResult, Rows, write_results
from lungfield.bundles import Bundle
from lungfield.errors import DataError, OutputError, Reason
from lungfield.names import shown
from lungfield.radiograph import Found, output_stems

if TYPE_CHECKING:  # the workers start their imports before this process imports torch, which takes a second
    import torch

    from lungfield.bundles.backend_choice import BackendChoice

logger = logging.getLogger(__name__)

TRANSIENT = (
    Reason.CHANGED,
    Reason.CRASHED,
    Reason.INACCESSIBLE,
    Reason.INTERNAL,
    Reason.NOT_WRITTEN,
    Reason.OUT_OF_MEMORY,
    Reason.TIMED_OUT,
)
"""Reasons that may not recur: a resumed run retries files that failed for these."""

BATCH_SIZE = 16
"""The default of `Options.batch_size`."""

SHARDED_RUN = "run.json"
"""A file in the hidden folder of a sharded run (`lungfield.cluster`), which has no journal."""

Progress = Callable[[int, int, Mapping[str, Any] | None], None]


def run(
    inputs: Sequence[Path],
    output: Path,
    bundle: Bundle,
    options: Options,
    start_forkserver: Callable[[], Any],
    progress: Progress | None,
) -> BatchResult:
    """The implementation of `segment_files`; `start_forkserver` returns the context for its processes."""
    from lungfield.bundles.device import find_device

    device = find_device(options.device, options.backend)
    files = find_inputs(inputs, output, options)
    references = None
    if options.references:
        references = find_references(options.references, [file.relative for file in files.files])
    require_writable(output)
    with Journal(output) as journal:
        before = _settings_before(journal, options)
        choice = _backend(before, bundle, options, device)
        _open_run(journal, before, settings_of(bundle, options, choice.backend))
        progress = progress or (lambda *_: None)
        one = _Run(files, output, bundle, options, device, choice, references, journal, progress)
        return one.run(start_forkserver)


def _settings_before(journal: Journal, options: Options) -> dict[str, Any] | None:
    """The settings of the run that is resumed; None for a new run.

    Raises:
        DataError: the folder holds a run, and the options neither resume nor overwrite it.
    """
    if (journal.path.parent / SHARDED_RUN).exists():
        raise DataError(
            f"{journal.path.parents[1]} holds a sharded run. Continue it with the command that started it "
            "and --resume, or choose another output folder."
        )
    adopt(journal)
    before: dict[str, Any] | None = journal.read("settings")
    if before is not None and not (options.resume or options.overwrite):
        raise DataError(
            f"{journal.path.parents[1]} holds the results of a run. Continue it with --resume, replace it "
            "with --overwrite, or choose another output folder."
        )
    return before if options.resume else None


def _backend(
    before: dict[str, Any] | None, bundle: Bundle, options: Options, device: torch.device
) -> BackendChoice:
    """The backend: the one given, that of the run that is resumed, or else the faster one."""
    from lungfield.bundles.backend_choice import BackendChoice, choose_backend

    if options.backend != "auto":
        return BackendChoice(options.backend)
    if before is None or "backend" not in before:
        return choose_backend(bundle, device)
    return BackendChoice(before["backend"] if device.type == "cpu" else "torch")


def settings_of(bundle: Bundle, options: Options, backend: str) -> dict[str, Any]:
    """The settings that the results depend on; a resumed run must have the same."""
    return {
        "lungfield": version("lungfield"),
        "bundle": bundle.name,
        "bundle_version": bundle.version,
        "weights_sha256": bundle.weights_sha256,  # computed here, and pickled to the workers with the bundle
        "backend": backend,
        "formats": list(options.formats),
        "structures": list(options.structures),
        "viewer_geometry": options.viewer_geometry,
        "check_mirrored": options.check_mirrored,
        "views": options.views,
        "references": None if options.references is None else str(options.references.resolve()),
    }


def _open_run(journal: Journal, before: dict[str, Any] | None, settings: dict[str, Any]) -> None:
    """Start a run, or continue the one that had the settings `before`."""
    if before is None:
        journal.clear()
        journal.write("started", export.creation_time().isoformat())
        journal.write("settings", settings)
        return
    require_same_settings(before, settings, str(journal.path.parents[1]))


def require_same_settings(before: Mapping[str, Any], settings: Mapping[str, Any], place: str) -> None:
    """Check that a run that is resumed has the same settings as at its start.

    Raises:
        DataError: a setting differs; the message names both values.
    """
    changed = [name for name in settings if settings[name] != before.get(name)]
    if changed:
        raise DataError(
            f"The run in {place} was started with other settings ("
            + ", ".join(f"{name}: {before.get(name)} instead of {settings[name]}" for name in changed)
            + "). Resume it with those, or replace it with --overwrite."
        )


@dataclass
class _Run:
    """One run over a list of files, with its open journal."""

    found: Found
    output: Path
    bundle: Bundle
    options: Options
    device: torch.device
    choice: BackendChoice
    references: References | None
    journal: Journal
    progress: Progress

    def __post_init__(self) -> None:
        self.files = self.found.files
        self.names = [file.relative.as_posix() for file in self.files]
        self.fingerprints: dict[int, Fingerprint] = {}
        self.ended = self.resumed = 0
        self.start = time.perf_counter()

    def run(self, start_forkserver: Callable[[], Any]) -> BatchResult:
        """Segment the remaining files, then write tables and report, also after an interrupt."""
        remove_parts(self.output)
        missing = self._missing()
        self.ended = self.resumed = len(self.files) - len(missing)
        self.progress(self.ended, len(self.files), None)
        try:
            if missing:
                self._segment(start_forkserver(), missing)
        except Interrupted as interrupt:
            interrupt.batch = self._write_results()
            raise
        except OutputError as error:
            # If the disk has no space for masks, it may have none for tables.
            with contextlib.suppress(OutputError):
                self._write_results()
            raise OutputError(f"{error} The results so far are kept; continue with --resume.") from error
        return self._write_results()

    def _missing(self) -> list[Job]:
        """The files without a result, changed files, and files that failed for a reason in `TRANSIENT`."""
        stems = output_stems(self.files)
        jobs = [
            Job(number, file.path, file.relative, stems[file.path]) for number, file in enumerate(self.files)
        ]
        return [job for job in jobs if not self._is_done(job)]

    def _is_done(self, job: Job) -> bool:
        entry = self.journal.find(job.relative.as_posix())
        if entry is None or entry.fingerprint != Fingerprint.of(job.path):
            return False
        if entry.row["status"] != DONE:
            return entry.row["reason_code"] not in TRANSIENT
        return all((self.output / place).is_file() for place in outputs_of(entry.row))

    def _segment(self, context: Any, jobs: Sequence[Job]) -> None:
        options = self.options
        settings = WorkerSettings(
            bundle=self.bundle,
            output=self.output,
            formats=options.formats,
            created=datetime.datetime.fromisoformat(self.journal.read("started")),
            backend=self.choice.backend,
            check_mirrored=options.check_mirrored,
            structures=options.structures,
            viewer_geometry=options.viewer_geometry,
            require_frontal=options.views == "frontal",
            references=self.references,
            memory_bytes=options.memory_limit_bytes,
        )
        with shared_network(settings, self.device, batch_size=options.batch_size or BATCH_SIZE) as network:
            pool = Pool(
                context,
                settings,
                workers=min(options.workers or available_cores(), len(jobs)),
                time_limit_s=options.time_limit_s,
                network=network,
            )
            try:
                self.start = time.perf_counter()
                pool.run(self._begun(jobs), self._end)
            finally:
                pool.close()

    def _begun(self, jobs: Sequence[Job]) -> Iterator[Job]:
        formats = with_whole_masks(self.options.formats, self.options.structures)
        for job in jobs:
            self.fingerprints[job.ticket] = Fingerprint.of(job.path)
            places = (ALL_FORMATS[name].place(job.name).as_posix() for name in formats)
            # An existing file that was not announced is not a result: it must not be removed later.
            self.journal.announce(place for place in places if not os.path.lexists(self.output / place))
            yield job

    def _end(self, job: Job, ended: Ended) -> None:
        if ended.stop:
            raise OutputError(ended.stop)
        row = ended.row
        fingerprint = self.fingerprints.pop(job.ticket)
        self.journal.add(Entry(row["file"], fingerprint, ended.uid_hash, row), outputs_of(row))
        self.ended += 1
        logged = {"flags": [], **row, "file": shown(row["file"]), "seconds": round(row["seconds"], 4)}
        keys = ("file", "status", "reason_code", "reason", "flags", "seconds")
        logger.info("%s: %s", logged["file"], row["status"], extra={key: logged[key] for key in keys})
        self.progress(self.ended, len(self.files), row)

    def _write_results(self) -> BatchResult:
        has_report = self.options.report
        remove_leftovers(self.journal, self.output, self.names, has_report=has_report)
        batch = BatchResult(
            files=Rows(self.journal.path, self.names, self.journal.duplicates()),
            output=self.output,
            bundle=self.bundle,
            seconds=time.perf_counter() - self.start,
            started=self.journal.read("started"),
            resumed=self.resumed,
            settings=self.journal.read("settings"),
            environment=environment_of(self.device),
            left_out=self.found.left_out,
            remarks=(*self.found.remarks, *filter(None, [self.choice.remark])),
        )
        write_results(batch, report=has_report)
        if has_report:
            self.journal.announce([REPORT])
        return batch


def environment_of(device: torch.device) -> dict[str, str]:
    """The versions, device and precision that produced the results."""
    import torch

    from lungfield.bundles.device import best_precision

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
