"""The pool of worker processes: it assigns files, and replaces a worker that dies or hangs."""

from __future__ import annotations

import contextlib
import functools
import os
import signal
import socket
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import TYPE_CHECKING, Any, Protocol

from lungfield.batch.jobs import FAILED, Ended, Job, Ready, WorkerSettings, ended_row
from lungfield.batch.processes import ending_signal, environment_of_workers, signal_name, start_worker
from lungfield.errors import BundleError, Reason

if TYPE_CHECKING:
    import torch

    from lungfield.batch.gpu import BatchedNetwork

#: A file whose worker died is retried once in another worker, as the file need not be the cause.
_ATTEMPTS = 2
#: After so many consecutive workers that died before they were ready, the run stops.
_FAILED_STARTS = 3
_START_LIMIT_S = 300.0
_RINGS = 4096


class Network(Protocol):
    """Runs the network for workers that do not run it themselves, such as `gpu.BatchedNetwork`."""

    def connect(self) -> Connection:
        """A connection for a new worker process; close it in this process once the worker has started."""


@dataclass
class _Worker:
    """A worker process and its current file.

    Attributes:
        process: the process.
        connection: to the process.
        deadline: time (`time.monotonic`) by which it must answer; None while it has no file.
        job: its current file.
        ready: whether it has started.
    """

    process: Any
    connection: Connection
    deadline: float | None
    job: Job | None = None
    ready: bool = False


class Pool:
    """Worker processes, each with one file at a time, from its reading to its results.

    So the file on which a worker dies or hangs is known, and only that file fails. The worker is replaced.

    Args:
        context: from `processes.start_forkserver`.
        settings: shared by all workers.
        workers: number of processes.
        time_limit_s: limit of the time for a file, in seconds.
        network: runs the network on a GPU for all workers; None if each worker runs its own on the CPU.
    """

    def __init__(
        self,
        context: Any,
        settings: WorkerSettings,
        *,
        workers: int,
        time_limit_s: float,
        network: Network | None = None,
    ) -> None:
        self._context = context
        self._settings = settings
        self._network = network
        self._time_limit_s = time_limit_s
        self._ask: Callable[[], Job | None] = _none
        self._again: deque[Job] = deque()
        self._attempts: dict[int, int] = {}
        self._failed_starts = 0
        self._workers: list[_Worker] = []
        try:
            for _ in range(workers):
                self._workers.append(self._start())
        except BaseException:
            self.close()
            raise

    @property
    def is_ready(self) -> bool:
        """Whether a worker has started. Thread-safe."""
        return any(worker.ready for worker in list(self._workers))

    def run(self, jobs: Iterator[Job], ended: Callable[[Job, Ended], None]) -> None:
        """Segment all files; `ended` is called for each, in the order in which they end.

        Raises:
            BundleError: workers cannot be started, or cannot load the bundle.
        """
        self._ask, self._ended = functools.partial(next, jobs, None), ended
        while self._dispatch():
            self._wait()

    def serve(
        self,
        ask: Callable[[], Job | None],
        ended: Callable[[Job, Ended], None],
        bell: socket.socket,
        *,
        look_every_s: float,
        grace_s: float,
    ) -> None:
        """Segment files as they become available, until the other end of `bell` is closed.

        Args:
            ask: returns the next file, or None if there is none now; not called after `bell` is closed.
            ended: as in `run`.
            bell: a socket that becomes readable when `ask` should be called again.
            look_every_s: the longest time between two calls of `ask`, in seconds.
            grace_s: how long started files may still take after `bell` is closed, in seconds.

        Raises:
            BundleError: as in `run`.
        """
        self._ask, self._ended = ask, ended
        while True:
            self._dispatch()
            handles = self._wait(bell, look_every_s)
            if bell in handles and not bell.recv(_RINGS):
                break
        self._ask = _none
        end = time.monotonic() + grace_s
        while self._dispatch() and (left := end - time.monotonic()) > 0:
            self._wait(None, left)

    def close(self) -> None:
        """Kill the workers at once. Files are written atomically, so none is left incomplete."""
        for worker in self._workers:
            worker.process.kill()
            worker.process.join()
            worker.connection.close()
        self._workers = []

    def _start(self) -> _Worker:
        ours, theirs = self._context.Pipe()
        network = None if self._network is None else self._network.connect()
        process = self._context.Process(
            target=start_worker, args=(theirs, self._settings, network), daemon=True
        )
        try:
            with environment_of_workers():
                process.start()
        except BaseException:  # most likely a signal: leave no process behind
            if process.pid is not None:
                process.kill()
            raise
        finally:
            if network is not None:
                network.close()
        theirs.close()
        return _Worker(process, ours, time.monotonic() + _START_LIMIT_S)

    def _dispatch(self) -> bool:
        """Give every idle worker a file; return False when all files have ended."""
        for worker in list(self._workers):
            if worker.ready and worker.job is None and (job := self._next()) is not None:
                self._send(worker, job)
        return any(worker.job for worker in self._workers) or self._has_more()

    def _has_more(self) -> bool:
        if not self._again and (job := self._next()) is not None:
            self._again.append(job)
        return bool(self._again)

    def _next(self) -> Job | None:
        if self._again:
            return self._again.popleft()
        return self._ask()

    def _send(self, worker: _Worker, job: Job) -> None:
        worker.job = job
        worker.deadline = time.monotonic() + self._time_limit_s
        try:
            worker.connection.send(job)
        except OSError:
            self._replace(worker, Reason.CRASHED)

    def _wait(self, bell: socket.socket | None = None, longest_s: float | None = None) -> list[Any]:
        """Wait for events and handle them, except for the bell; return the handles that are ready."""
        by_handle: dict[Any, _Worker] = {worker.connection: worker for worker in self._workers}
        deadlines = [worker.deadline for worker in self._workers if worker.deadline is not None]
        timeout = max(0.0, min(deadlines) - time.monotonic()) if deadlines else None
        if longest_s is not None:
            timeout = longest_s if timeout is None else min(timeout, longest_s)
        handles = wait([*by_handle, *([bell] if bell else [])], timeout)
        for handle in handles:
            if handle is not bell:
                self._receive(by_handle[handle])
        now = time.monotonic()
        for worker in list(self._workers):
            if worker.deadline is not None and worker.deadline < now:
                self._replace(worker, Reason.TIMED_OUT)
        return handles

    def _receive(self, worker: _Worker) -> None:
        try:
            message = worker.connection.recv()
        except (EOFError, OSError):
            self._replace(worker, Reason.CRASHED)
            return
        worker.deadline = None
        if isinstance(message, BundleError):
            raise message
        if isinstance(message, Ready):
            worker.ready = True
            self._failed_starts = 0
            return
        job, worker.job = worker.job, None
        assert job is not None  # noqa: S101  (a worker answers what it was asked)
        # Send the next file first: the worker reads it while the result of this one is stored.
        if (following := self._next()) is not None:
            self._send(worker, following)
        self._end(job, message)

    def _end(self, job: Job, ended: Ended) -> None:
        self._attempts.pop(job.ticket, None)
        self._ended(job, ended)

    def _replace(self, worker: _Worker, reason: Reason) -> None:
        """Replace a worker that died or hangs."""
        signal_number = ending_signal(worker.process) if reason is Reason.CRASHED else 0
        worker.process.kill()
        worker.process.join()
        worker.connection.close()
        self._workers.remove(worker)
        if worker.ready:
            self._blame(
                worker.job, Reason.OUT_OF_MEMORY if signal_number == signal.SIGKILL else reason, signal_number
            )
        else:
            self._failed_starts += 1
            if self._failed_starts >= _FAILED_STARTS:
                raise BundleError(
                    "Worker processes end as soon as they are started. In a script, call lungfield below "
                    "`if __name__ == '__main__':`; otherwise check whether there is enough free memory."
                )
        self._workers.append(self._start())

    def _blame(self, job: Job | None, reason: Reason, signal_number: int) -> None:
        """Retry the file that a worker had when it died, or let it fail."""
        if job is None:
            return
        attempts = self._attempts[job.ticket] = self._attempts.get(job.ticket, 0) + 1
        if reason is not Reason.TIMED_OUT and attempts < _ATTEMPTS:
            self._again.append(job)
            return
        by_signal = f" ({signal_name(signal_number)})" if signal_number else ""
        text = {
            Reason.CRASHED: f"a decoder crashed on it{by_signal}; the file is damaged",
            Reason.OUT_OF_MEMORY: "the system killed its worker process (SIGKILL), most likely for memory",
            Reason.TIMED_OUT: f"it took longer than the limit of {self._time_limit_s:g} s",
        }[reason]
        self._end(job, Ended(job.ticket, ended_row(job, FAILED, reason, text, 0.0)))


def _none() -> None:
    """No file."""


@contextlib.contextmanager
def shared_network(
    settings: WorkerSettings, device: torch.device, *, batch_size: int
) -> Iterator[BatchedNetwork | None]:
    """A context with the shared network on a GPU; None on a CPU, where each worker runs its own."""
    if device.type == "cpu":
        yield None
        return
    from lungfield.batch.gpu import BatchedNetwork
    from lungfield.bundles.predictor import Predictor

    predictor = Predictor(
        settings.bundle,
        device=str(device),
        backend=settings.backend,
        check_mirrored=settings.check_mirrored,
    )
    network = BatchedNetwork(predictor, batch_size=batch_size)
    try:
        yield network
    finally:
        network.close()


def available_cores() -> int:
    """The number of CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
