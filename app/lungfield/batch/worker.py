"""What a worker process does: everything to a radiograph but the network."""

from __future__ import annotations

import datetime
import errno
import hashlib
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path, PurePath
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from lungfield.batch.outputs import SaveOptions, save_outputs
from lungfield.batch.processes import limit_memory, prepare_worker
from lungfield.batch.references import References
from lungfield.bundles.predictor import Processing, Steps
from lungfield.bundles.registry import Bundle
from lungfield.errors import (
    DataError,
    NotFrontalChestError,
    OutputError,
    Reason,
    causes,
    user_error,
)
from lungfield.pipeline import Segmentation, segmenting
from lungfield.radiograph import read_radiograph
from lungfield.records import Radiograph

#: How a file can end.
DONE, SKIPPED, FAILED = "done", "skipped", "failed"

_DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


@dataclass(frozen=True)
class WorkerSettings:
    """What all files of a run share.

    Attributes:
        bundle: what segments them.
        output: the output folder.
        formats: what to write, by the names of `outputs.FORMATS`.
        created: date and time that DICOM objects bear.
        viewer_geometry: as in `SaveOptions`.
        references: masks to compare with.
        require_frontal: turn down what is no frontal view of the chest by its header.
        memory_bytes: how much memory a worker may take for its files; more is refused to it.
    """

    bundle: Bundle
    output: Path
    formats: tuple[str, ...]
    created: datetime.datetime
    viewer_geometry: bool = False
    references: References | None = None
    require_frontal: bool = True
    memory_bytes: int | None = None


@dataclass(frozen=True)
class Job:
    """One file to segment.

    Attributes:
        ticket: its number in the run.
        path: where it is.
        relative: its place below the folder that was named.
        name: the same without suffix, as its results are called.
    """

    ticket: int
    path: Path
    relative: PurePath
    name: PurePath


@dataclass(frozen=True)
class Read:
    """To a worker: read and prepare a file."""

    job: Job


@dataclass(frozen=True)
class Finish:
    """To a worker: the network's answer for what it has prepared of a file."""

    ticket: int
    logits: NDArray[np.float32]
    mirrored: NDArray[np.float32] | None


@dataclass(frozen=True)
class Ready:
    """From a worker: it has started."""


@dataclass(frozen=True)
class PreparedFile:
    """From a worker: what the network is to be given, (C, h, w) float32."""

    ticket: int
    network_input: NDArray[np.float32]


@dataclass(frozen=True)
class Ended:
    """From a worker: how a file ended.

    Attributes:
        ticket: which file.
        row: what the tables say of it.
        uid_hash: a digest of its SOP Instance UID, where it has one.
        stop: why the run cannot go on (no space, a read-only disk), else empty.
    """

    ticket: int
    row: dict[str, Any]
    uid_hash: str | None = None
    stop: str = ""


@dataclass
class _InWork:
    """A file between reading and writing."""

    job: Job
    steps: Steps[Segmentation]
    uid: str | None
    seconds: float


def work(connection: Connection, settings: WorkerSettings) -> None:
    """Serve until the other end closes. One message in, one message out."""
    prepare_worker()
    torch.set_num_threads(1)
    processing = Processing(settings.bundle)
    if settings.memory_bytes is not None:
        limit_memory(settings.memory_bytes)
    worker = _Worker(settings, processing)
    try:
        connection.send(Ready())
        while True:
            message = connection.recv()
            connection.send(worker.read(message.job) if isinstance(message, Read) else worker.finish(message))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        pass


class _Worker:
    def __init__(self, settings: WorkerSettings, processing: Processing) -> None:
        self._settings = settings
        self._processing = processing
        self._in_work: dict[int, _InWork] = {}

    def read(self, job: Job) -> PreparedFile | Ended:
        start = time.perf_counter()
        try:
            radiograph = read_radiograph(job.path, require_frontal=self._settings.require_frontal)
            steps = segmenting(radiograph, self._processing)
            network_input = next(steps)
        except Exception as error:
            return self._failed(job, error, time.perf_counter() - start)
        seconds = time.perf_counter() - start
        self._in_work[job.ticket] = _InWork(job, steps, _sop_instance_uid(radiograph), seconds)
        return PreparedFile(job.ticket, network_input.numpy())

    def finish(self, message: Finish) -> PreparedFile | Ended:
        """Go on with the network's answer: to the results, or to another pose that the network is to see."""
        start = time.perf_counter()
        file = self._in_work.pop(message.ticket)
        mirrored = None if message.mirrored is None else torch.from_numpy(message.mirrored)
        try:
            network_input = file.steps.send((torch.from_numpy(message.logits), mirrored))
        except StopIteration as end:
            return self._end(file, end.value, start)
        except Exception as error:
            return self._failed(file.job, error, file.seconds + time.perf_counter() - start)
        file.seconds += time.perf_counter() - start
        self._in_work[message.ticket] = file
        return PreparedFile(message.ticket, network_input.numpy())

    def _end(self, file: _InWork, lungs: Segmentation, start: float) -> Ended:
        try:
            row = self._done(file.job, lungs, file.uid)
        except Exception as error:
            return self._failed(file.job, error, file.seconds + time.perf_counter() - start)
        row["seconds"] = file.seconds + time.perf_counter() - start
        uid_hash = None if file.uid is None else hashlib.sha256(file.uid.encode()).hexdigest()
        return Ended(file.job.ticket, row, uid_hash)

    def _done(self, job: Job, lungs: Segmentation, uid: str | None) -> dict[str, Any]:
        """Compare, write and describe."""
        settings = self._settings
        warnings = list(lungs.radiograph.warnings)
        row: dict[str, Any] = {
            "file": job.relative.as_posix(),
            "status": DONE,
            "reason_code": "",
            "reason": "",
        }
        row |= {"flags": [str(flag) for flag in lungs.quality.flags], "confidence": lungs.quality.confidence}
        row |= _describe(lungs)
        if settings.references is not None:
            try:
                reference, found_by = settings.references.match(job.relative, uid)
                row |= vars(lungs.agreement(reference)) | {"reference_match": found_by}
            except DataError as error:
                warnings.append(str(error))
        how = SaveOptions(settings.created, settings.viewer_geometry)
        written, remarks = save_outputs(lungs, job.name, settings.output, settings.formats, how)
        row |= written
        row["warnings"] = "; ".join(warnings + remarks)
        return row

    def _failed(self, job: Job, error: Exception, seconds: float) -> Ended:
        known = user_error(error)
        status, stop = FAILED, ""
        if known is not None:
            reason, text = known.reason, str(known).removeprefix(f"{job.path}: ")
            status = SKIPPED if isinstance(known, NotFrontalChestError) else FAILED
            if isinstance(known, OutputError) and getattr(known.__cause__, "errno", None) in _DISK_ERRORS:
                stop = text
        elif any(isinstance(one, MemoryError) or "alloc" in str(one).lower() for one in causes(error)):
            reason, text = Reason.OUT_OF_MEMORY, "there is not enough memory to segment it"
        else:
            # A library's message may quote the header, so only its kind is told.
            kind = type([*causes(error)][-1]).__name__
            reason, text = Reason.INTERNAL, f"unexpected {kind}; please report it"
        return Ended(job.ticket, ended_row(job, status, reason, text, seconds), stop=stop)


def ended_row(job: Job, status: str, reason: Reason, text: str, seconds: float) -> dict[str, Any]:
    """The row of a file that was not segmented."""
    return {
        "file": job.relative.as_posix(),
        "status": status,
        "reason_code": str(reason),
        "reason": text,
        "seconds": seconds,
    }


def _sop_instance_uid(radiograph: Radiograph) -> str | None:
    if radiograph.header is None:
        return None
    return str(radiograph.header.get("SOPInstanceUID") or "") or None


def _describe(lungs: Segmentation) -> dict[str, Any]:
    radiograph = lungs.radiograph
    rows, columns = radiograph.stored_shape
    spacing = radiograph.stored_spacing
    return {
        "format": radiograph.file_format,
        "rows": rows,
        "columns": columns,
        "view": radiograph.view or "",
        "row_spacing_mm": spacing.row_mm if spacing else None,
        "column_spacing_mm": spacing.column_mm if spacing else None,
        "spacing_source": spacing.source if spacing else None,
        **lungs.measurements.to_row(),
        **lungs.density.to_row(),
        "bundle": lungs.bundle.name,
        "bundle_version": lungs.bundle.version,
    }
