"""Worker processes that may die, and the loop that keeps them and the network busy."""

from __future__ import annotations

import signal
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from typing import Any

from lungfield.batch.network import Answer, NetworkThreads
from lungfield.batch.processes import ending_signal, environment_of_workers, signal_name
from lungfield.batch.worker import (
    FAILED,
    Ended,
    Finish,
    Job,
    PreparedFile,
    Read,
    Ready,
    WorkerSettings,
    ended_row,
    work,
)
from lungfield.errors import BundleError, Reason

#: A file that a worker died of is given to another one once, as the cause may have lain elsewhere.
_ATTEMPTS = 2
#: So many workers may die before they are ready, one after the other, until that is taken for the rule.
_FAILED_STARTS = 3
_START_LIMIT_S = 300.0


@dataclass
class _Worker:
    """A process and what it has in hand.

    Attributes:
        process: the process.
        connection: to it.
        deadline: until when it must answer; None where nothing is asked of it.
        job: the file that it works on at this moment.
        held: files that it has prepared, until they are finished.
        ready: whether it has started.
    """

    process: Any
    connection: Connection
    deadline: float | None
    job: Job | None = None
    held: dict[int, Job] = field(default_factory=dict)
    ready: bool = False


class Pool:
    """Takes files through reading, network and writing, several at a time, each stage beside the others.

    A worker that reads a file also finishes it, so that pixels stay where they are. Each has one task at a
    time: what it dies of, or hangs in, is known. It is replaced; what else it held is read again.

    Args:
        context: of `processes.start_forkserver`.
        settings: what the workers share.
        network: runs the network.
        workers: number of processes.
        held: how many files a worker may hold between reading and writing.
        time_limit_s: how long a worker may take for a task, in seconds.
    """

    def __init__(
        self,
        context: Any,
        settings: WorkerSettings,
        network: NetworkThreads,
        *,
        workers: int,
        held: int,
        time_limit_s: float,
    ) -> None:
        self._context = context
        self._settings = settings
        self._network = network
        self._held = held
        self._time_limit_s = time_limit_s
        self._again: deque[Job] = deque()
        self._attempts: dict[int, int] = {}
        self._alone: set[int] = set()
        self._answers: dict[int, Answer] = {}
        self._failed_starts = 0
        self._workers: list[_Worker] = []
        try:
            for _ in range(workers):
                self._workers.append(self._start())
        except BaseException:
            self.close()
            raise

    def run(self, jobs: Iterator[Job], ended: Callable[[Job, Ended], None]) -> None:
        """Take all files through; `ended` is called for each, in the order in which they end.

        Raises:
            BundleError: workers cannot be started.
        """
        self._jobs: Iterator[Job] | None = jobs
        self._ended = ended
        while self._dispatch():
            self._wait()

    def close(self) -> None:
        """End the workers at once, whatever they do: what they write is whole or not there."""
        for worker in self._workers:
            worker.process.kill()
            worker.process.join()
            worker.connection.close()
        self._workers = []

    def _start(self) -> _Worker:
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=work, args=(theirs, self._settings), daemon=True)
        try:
            with environment_of_workers():
                process.start()
        except BaseException:  # a signal, most likely: nothing is to live on
            if process.pid is not None:
                process.kill()
            raise
        theirs.close()
        return _Worker(process, ours, time.monotonic() + _START_LIMIT_S)

    def _dispatch(self) -> bool:
        """Give every idle worker something to do; False when all is done."""
        for worker in list(self._workers):
            if worker.ready and worker.job is None:
                self._give(worker)
        return any(worker.job or worker.held for worker in self._workers) or self._has_more()

    def _has_more(self) -> bool:
        if not self._again and self._jobs is not None:
            job = next(self._jobs, None)
            if job is None:
                self._jobs = None
            else:
                self._again.append(job)
        return bool(self._again)

    def _give(self, worker: _Worker) -> None:
        """Finishing comes first: it makes room."""
        for ticket in worker.held:
            if ticket in self._answers:
                self._finish(worker, ticket)
                return
        if self._has_more() and self._has_room(worker, self._again[0]):
            job = self._again.popleft()
            self._send(worker, job, Read(job))

    def _has_room(self, worker: _Worker, job: Job) -> bool:
        if job.ticket in self._alone or self._alone & worker.held.keys():
            return not worker.held
        return len(worker.held) < self._held

    def _finish(self, worker: _Worker, ticket: int) -> None:
        answer = self._answers.pop(ticket)
        job = worker.held.pop(ticket)
        if isinstance(answer, Exception):
            text = f"the network failed on it ({type(answer).__name__})"
            memory = isinstance(answer, MemoryError) or "memory" in str(answer).lower()
            reason = Reason.OUT_OF_MEMORY if memory else Reason.INTERNAL
            self._end(job, Ended(ticket, ended_row(job, FAILED, reason, text, 0.0)))
            self._give(worker)
        else:
            self._send(worker, job, Finish(ticket, *answer))

    def _send(self, worker: _Worker, job: Job, message: Read | Finish) -> None:
        worker.job = job
        worker.deadline = time.monotonic() + self._time_limit_s
        try:
            worker.connection.send(message)
        except OSError:
            self._replace(worker, Reason.CRASHED)

    def _wait(self) -> None:
        """Wait for the next event, and deal with all that happened."""
        by_handle = {worker.connection: worker for worker in self._workers}
        deadlines = [worker.deadline for worker in self._workers if worker.deadline is not None]
        timeout = max(0.0, min(deadlines) - time.monotonic()) if deadlines else None
        for handle in wait([*by_handle, self._network.bell], timeout):
            if handle is self._network.bell:
                held = {ticket for worker in self._workers for ticket in worker.held}
                # Of a file that is being read again, as its worker died, nobody wants the first answer.
                self._answers |= {one: answer for one, answer in self._network.answers() if one in held}
            else:
                self._receive(by_handle[handle])  # type: ignore[index]
        now = time.monotonic()
        for worker in list(self._workers):
            if worker.deadline is not None and worker.deadline < now:
                self._replace(worker, Reason.TIMED_OUT)

    def _receive(self, worker: _Worker) -> None:
        try:
            message = worker.connection.recv()
        except (EOFError, OSError):
            self._replace(worker, Reason.CRASHED)
            return
        worker.deadline = None
        job, worker.job = worker.job, None
        if isinstance(message, Ready):
            worker.ready = True
            self._failed_starts = 0
        elif isinstance(message, PreparedFile):
            assert job is not None  # noqa: S101  (a worker answers what it was asked)
            worker.held[job.ticket] = job
            self._network.submit(job.ticket, message.network_input)
        else:
            assert job is not None  # noqa: S101
            self._end_or_try_alone(worker, job, message)

    def _end_or_try_alone(self, worker: _Worker, job: Job, ended: Ended) -> None:
        """End a file, unless others that its worker held may have taken the memory that it lacked."""
        lacks_memory = ended.row.get("reason_code") == Reason.OUT_OF_MEMORY
        if lacks_memory and worker.held and job.ticket not in self._alone:
            self._alone.add(job.ticket)
            self._again.append(job)
        else:
            self._end(job, ended)

    def _end(self, job: Job, ended: Ended) -> None:
        self._attempts.pop(job.ticket, None)
        self._alone.discard(job.ticket)
        self._ended(job, ended)

    def _replace(self, worker: _Worker, reason: Reason) -> None:
        """Put a new worker in the place of one that died, or that must die as it hangs."""
        signal_number = ending_signal(worker.process) if reason is Reason.CRASHED else 0
        worker.process.kill()
        worker.process.join()
        worker.connection.close()
        self._workers.remove(worker)
        for ticket, job in worker.held.items():
            self._answers.pop(ticket, None)
            self._again.append(job)
        if worker.ready:
            self._blame(
                worker.job, Reason.OUT_OF_MEMORY if signal_number == signal.SIGKILL else reason, signal_number
            )
        else:
            self._failed_starts += 1
            if self._failed_starts >= _FAILED_STARTS:
                raise BundleError(
                    "Worker processes end as soon as they are started. In a script, call lungfield below "
                    "`if __name__ == '__main__':`; else see whether there is memory left for them."
                )
        self._workers.append(self._start())

    def _blame(self, job: Job | None, reason: Reason, signal_number: int) -> None:
        """Decide on the file that a worker had in hand when it died."""
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
