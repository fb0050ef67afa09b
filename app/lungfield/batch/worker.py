"""A worker process: it reads a radiograph, segments it and writes its results."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

import cv2
import torch

from lungfield.batch.jobs import DONE, FAILED, SKIPPED, Ended, Job, Ready, WorkerSettings, ended_row
from lungfield.batch.outputs import FORMATS, SaveOptions, save_outputs
from lungfield.batch.processes import limit_memory, prepare_worker
from lungfield.bundles.predictor import Answer, Predictor, Processing, drive
from lungfield.errors import (
    BundleError,
    DataError,
    HeaderError,
    NotFrontalChestError,
    OutputError,
    Reason,
    causes,
    user_error,
)
from lungfield.export import save_skipped_notice
from lungfield.pipeline import Segmentation, segmenting
from lungfield.radiograph import read_header, read_radiograph

_DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


def work(connection: Connection, settings: WorkerSettings, network: Connection | None) -> None:
    """Receive a `Job` and send an `Ended`, until the main process closes the connection.

    Args:
        connection: to the main process.
        settings: of all files.
        network: connection to a `gpu.BatchedNetwork`; None to run the network in this process on the CPU.
    """
    prepare_worker(settings.niceness)
    compute_in_one_thread()
    with contextlib.suppress(EOFError, BrokenPipeError, ConnectionResetError):
        try:
            worker = _Worker(settings, network)
        except BundleError as error:
            connection.send(error)
            return
        if settings.memory_bytes is not None:
            limit_memory(settings.memory_bytes)
        connection.send(Ready())
        while True:
            connection.send(worker.segment(connection.recv()))


def compute_in_one_thread() -> None:
    """Make torch and OpenCV compute in one thread: there is already one worker per core."""
    torch.set_num_threads(1)
    cv2.setNumThreads(1)


class _Worker:
    def __init__(self, settings: WorkerSettings, network: Connection | None) -> None:
        self._settings = settings
        self._transfer = settings.transfer
        self._answer: Callable[[torch.Tensor], Answer]
        if network is None:
            predictor = Predictor(
                settings.bundle,
                device="cpu",
                backend=settings.backend,
                check_mirrored=settings.check_mirrored,
            )
            self._processing, self._answer = predictor.processing, predictor.answer
        else:
            from lungfield.batch.gpu import remote_network

            self._processing, self._answer = Processing(settings.bundle), remote_network(network)

    def segment(self, job: Job) -> Ended:
        """Read a file, segment it, and write its results."""
        start = time.perf_counter()
        try:
            with self._transfer.downloaded(job) if self._transfer else contextlib.nullcontext():
                radiograph = read_radiograph(job.path, require_frontal=self._settings.require_frontal)
                lungs = drive(segmenting(radiograph, self._processing), self._answer)
                ended = self._done(job, lungs)
        except Exception as error:
            ended = _failed(job, error)
            if self._settings.skipped_notice and ended.row["status"] == SKIPPED:
                ended = self._noticed(job, ended)
        ended.row["seconds"] = time.perf_counter() - start
        return ended

    def _noticed(self, job: Job, ended: Ended) -> Ended:
        """Write the secondary capture with the reason for a skipped image, and return the new result."""
        settings, place = self._settings, FORMATS["sc"].place(job.name)
        try:
            save_skipped_notice(
                read_header(job.path),
                job.path,
                Reason(ended.row["reason_code"]),
                settings.output / place,
                created=job.created or settings.created,
            )
        except HeaderError as error:
            ended.row["warnings"] = str(error).removeprefix(f"{settings.output / place}: ")
        except Exception as error:
            return _failed(job, error)
        else:
            ended.row["sc"] = place.as_posix()
        return ended

    def _done(self, job: Job, lungs: Segmentation) -> Ended:
        """Compare with the reference, write the outputs, and return the result."""
        settings = self._settings
        uid = _sop_instance_uid(lungs)
        warnings = list(lungs.radiograph.warnings)
        row: dict[str, Any] = {
            "file": job.relative.as_posix(),
            "status": DONE,
            "reason_code": "",
            "reason": "",
        }
        row |= {"flags": [str(flag) for flag in lungs.quality.flags], "confidence": lungs.quality.confidence}
        row |= lungs.to_row()
        reference = None
        if settings.references is not None:
            try:
                path, found_by = settings.references.match(job.relative, uid)
                mask = lungs.read_reference(path)
                row |= vars(lungs.agreement(mask)) | {"reference_match": found_by}
                reference = mask
            except DataError as error:
                warnings.append(str(error))
        how = SaveOptions(
            job.created or settings.created,
            settings.viewer_geometry,
            structures=settings.structures,
            reference=reference,
        )
        written, remarks = save_outputs(lungs, job.name, settings.output, settings.formats, how)
        if self._transfer:
            self._transfer.upload(list(written.values()))
        row |= written
        row["warnings"] = "; ".join(warnings + remarks)
        return Ended(job.ticket, row, None if uid is None else hashlib.sha256(uid.encode()).hexdigest())


def _failed(job: Job, error: Exception) -> Ended:
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
        # A library's message may quote the header, so only the exception's name is shown.
        kind = type([*causes(error)][-1]).__name__
        reason, text = Reason.INTERNAL, f"unexpected {kind}; please report it"
    return Ended(job.ticket, ended_row(job, status, reason, text, 0.0), stop=stop)


def _sop_instance_uid(lungs: Segmentation) -> str | None:
    header = lungs.radiograph.header
    return None if header is None else str(header.get("SOPInstanceUID") or "") or None
