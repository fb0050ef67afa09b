"""Segment received instances in batch's worker processes, and store the results in the queue."""

from __future__ import annotations

import contextlib
import datetime
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path, PurePath
from typing import Any

from pydicom import dcmread

from lungfield.batch.jobs import DONE, SKIPPED, Ended, Job, WorkerSettings
from lungfield.batch.outputs import ALL_FORMATS
from lungfield.batch.pool import Pool, available_cores, shared_network
from lungfield.bundles.classes import require_structures
from lungfield.bundles.registry import DEFAULT_BUNDLE, Bundle, find_bundle, require_weights
from lungfield.errors import LungfieldError, OutputError, Reason
from lungfield.export.derived import creation_time
from lungfield.node.incoming import sync_folder
from lungfield.node.records import Instance, Result, full_path
from lungfield.node.settings import Settings
from lungfield.node.store import Store

logger = logging.getLogger(__name__)

_LOOK_EVERY_S = 2.0
"""How often to check for instances that another process released (`lungfield node retry`), in seconds."""
_PAUSE_S = 15.0
"""The pause after results could not be written, in seconds."""
_BATCH_SIZE = 16
_NICENESS = 10
"""Of the workers: receiving and delivering come first. A sender that waits too long gives up."""


class Working:
    """A thread that gives received instances to worker processes.

    Args:
        settings: of the node.
        store: its queue.
        context: from `batch.processes.start_forkserver`.
        segmented: called in the thread after results were added to the queue.
        failed: called in the thread if it cannot continue.

    Raises:
        BundleError: the bundle does not exist, has no weights, or does not segment the structures.
    """

    def __init__(
        self,
        settings: Settings,
        store: Store,
        context: Any,
        *,
        segmented: Callable[[], None],
        failed: Callable[[Exception], None],
    ) -> None:
        self._settings = settings
        self._store = store
        self._context = context
        self._segmented = segmented
        self._failed = failed
        self._bundle = chosen_bundle(settings)
        self._bell, self._ringer = socket.socketpair()
        self._ringer.setblocking(False)
        self._pool_at_work: Pool | None = None
        self._in_hand: dict[int, Instance] = {}
        self._paused_until = 0.0
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="working", daemon=True)

    @property
    def not_ready_reason(self) -> str:
        """Why nothing can be segmented now; '' if the workers run."""
        if not self._thread.is_alive():
            return "the workers do not run; see the log"
        pool = self._pool_at_work
        return "" if pool is not None and pool.is_ready else "the workers are being started"

    def start(self) -> None:
        """Start the thread, which starts the workers in some seconds."""
        self._thread.start()

    def ring(self) -> None:
        """Wake the thread, as there may be a new instance. Thread-safe."""
        with contextlib.suppress(OSError):  # the socket's buffer is full, or it is closed
            self._ringer.send(b"!")

    def close(self, limit_s: float) -> None:
        """Start no further instance, and wait at most `limit_s` seconds for those that workers have."""
        self._closing = True
        self._ringer.close()
        if self._thread.ident is not None:
            self._thread.join(limit_s)

    def _run(self) -> None:
        try:
            self._serve()
        except Exception as error:
            if self._closing:
                return  # while the workers were still being started
            if isinstance(error, LungfieldError):
                logger.error("segmentation has stopped: %s", error)
            else:
                logger.exception("segmentation has stopped")
            self._failed(error)

    def _serve(self) -> None:
        # These import torch, which takes a second; the node receives objects meanwhile.
        from lungfield.bundles.backend_choice import choose_backend
        from lungfield.bundles.device import find_device

        settings = self._settings
        device = find_device(settings.device, settings.backend)
        backend = settings.backend
        if backend == "auto":
            backend = choose_backend(self._bundle, device).backend
        shared = WorkerSettings(
            bundle=self._bundle,
            output=settings.results,
            formats=settings.formats,
            created=creation_time(),
            backend=backend,
            structures=settings.structures,
            viewer_geometry=settings.viewer_geometry,
            require_frontal=settings.views == "frontal",
            memory_bytes=settings.memory_limit_bytes,
            skipped_notice=settings.skipped_notice,
            niceness=_NICENESS,
        )
        with self._pool(shared, device) as pool:
            self._pool_at_work = pool
            logger.info("segmentation has started", extra={"bundle": self._bundle.name})
            pool.serve(
                self._next,
                self._end,
                self._bell,
                look_every_s=_LOOK_EVERY_S,
                grace_s=settings.limits.drain_s,
            )

    @contextlib.contextmanager
    def _pool(self, shared: WorkerSettings, device: Any) -> Iterator[Pool]:
        with shared_network(shared, device, batch_size=_BATCH_SIZE) as network:
            pool = Pool(
                self._context,
                shared,
                workers=self._settings.workers or available_cores(),
                time_limit_s=self._settings.time_limit_s,
                network=network,
            )
            try:
                yield pool
            finally:
                pool.close()

    def _next(self) -> Job | None:
        if time.monotonic() < self._paused_until:
            return None
        for instance in self._store.claim(1):
            self._in_hand[instance.id] = instance
            place = PurePath(instance.path).relative_to("incoming")
            # So that an instance that is segmented again after a kill gets the same bytes.
            created = datetime.datetime.fromtimestamp(int(instance.received_at))
            path = full_path(self._settings.state, instance.path)
            return Job(instance.id, path, place, place.with_suffix(""), created)
        return None

    def _end(self, job: Job, ended: Ended) -> None:
        instance = self._in_hand.pop(job.ticket)
        row = ended.row
        if ended.stop:
            logger.error("results cannot be written; segmentation pauses: %s", ended.stop)
            self._paused_until = time.monotonic() + _PAUSE_S
            self._store.release(instance.id)
            return
        try:
            state = self._note(instance, row)
        except OutputError as error:  # of the queue or the folder of results; it is segmented again
            logger.error("%s", error)
            self._paused_until = time.monotonic() + _PAUSE_S
            self._store.release(instance.id)
            return
        logger.info(
            "%s",
            state,
            extra={
                "instance": instance.id,
                "code": row.get("reason_code", ""),
                "seconds": round(row.get("seconds", 0.0), 3),
            },
        )
        if state != "parked":
            self._segmented()

    def _note(self, instance: Instance, row: Mapping[str, Any]) -> str:
        if row["status"] == SKIPPED:
            notice = self._results(row)
            names = [one.name for one in self._settings.first_destinations if "sc" in one.formats]
            self._store.skipped(
                instance.id, row["reason_code"], row["reason"], row, notice, names if notice else ()
            )
            return "skipped"
        if row["status"] != DONE:
            self._store.parked(instance.id, row["reason_code"], row["reason"], row)
            return "parked"
        results = self._results(row)
        if not any(result.sop_instance_uid for result, _ in results):
            reason = row.get("warnings") or "no DICOM object could be made from it"
            self._store.parked(instance.id, str(Reason.UNSUPPORTED), reason, row)
            return "parked"
        names = [one.name for one in self._settings.first_destinations]
        self._store.segmented(instance.id, row, results, names)
        return "segmented"

    def _results(self, row: Mapping[str, Any]) -> list[tuple[Result, int]]:
        """The files that a worker has written, with their sizes, after their folders are synced to disk."""
        found = []
        for name in ALL_FORMATS:
            if row.get(name):
                path = full_path(self._settings.results, row[name])
                try:
                    found.append((_result(name, row[name], path), path.stat().st_size))
                    _sync(path.parent, self._settings.results)
                except OSError as error:
                    raise OutputError(f"{path.parent}: results cannot be kept: {error.strerror}.") from error
        return found


def chosen_bundle(settings: Settings) -> Bundle:
    """The bundle in a node's settings.

    Raises:
        BundleError: the bundle does not exist or has no weights.
    """
    bundle = find_bundle(settings.bundle or DEFAULT_BUNDLE)
    require_structures(bundle, settings.structures)
    require_weights(bundle)
    return bundle


def _result(name: str, place: str, path: Path) -> Result:
    if not ALL_FORMATS[name].needs_dicom:
        return Result(name, place)
    tags = ["SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID"]
    header = dcmread(path, stop_before_pixels=True, specific_tags=tags)
    return Result(name, place, *(str(header[tag].value) for tag in tags))


def _sync(folder: Path, root: Path) -> None:
    """Sync a folder and its parents, which may be new, so that the names of files are on disk."""
    while folder.is_relative_to(root):
        sync_folder(folder)
        folder = folder.parent
