"""Starting and ending worker processes, whatever ends the process that they work for."""

from __future__ import annotations

import contextlib
import ctypes
import multiprocessing
import os
import signal
import sys
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lungfield.batch.interrupts import deferred

if TYPE_CHECKING:
    from lungfield.batch.jobs import WorkerSettings

_PRELOADED = "lungfield.batch.preloaded"
_END_LIMIT_S = 5.0
_PR_SET_PDEATHSIG = 1  # prctl(2)
#: What workers are started with. There is one for each core already, so libraries compute in one thread:
#: those of OpenBLAS wait for each other by spinning, which on busy cores takes longer than the work (300 ms
#: for the mean of a lung, instead of 4). And glibc is to keep the memory of one radiograph for the next: to
#: have it cleared by the system again and again cost 8 % of the rate. In huge pages, workers go through it in
#: 5 % less time. Other systems ignore these.
_ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "MALLOC_MMAP_THRESHOLD_": str(32 << 20),
    "MALLOC_TRIM_THRESHOLD_": str(256 << 20),
    "MALLOC_TOP_PAD_": str(64 << 20),
    "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",
}


class _Started:
    """The fork server that this module started; None where there is none, or where it ran before."""

    pid: int | None = None


def start_forkserver(*preload: str) -> Any:
    """The `multiprocessing` context of workers; on POSIX, with all that they import loaded once, and shared.

    `preload` are names of further modules that workers import.
    """
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    from multiprocessing import forkserver, resource_tracker

    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([*preload, _PRELOADED])
    # An interrupt must not come between the start of the process and the note of its number. The process
    # itself is to hear none while it imports, as it would print a traceback.
    with deferred(), environment_of_workers():
        resource_tracker.ensure_running()  # which the fork server needs; it unblocks signals when it starts
        with _blocked(signal.SIGINT, signal.SIGTERM):
            before = _forkserver_pid()
            forkserver.ensure_running()
            if _forkserver_pid() != before:
                _Started.pid = _forkserver_pid()
    return context


def stop_forkserver() -> None:
    """End the process that `start_forkserver` has started, at once, and with it what that has started.

    While it imports, it would not notice that it is of no use any more.
    """
    if _Started.pid is not None and _Started.pid == _forkserver_pid():
        from multiprocessing.forkserver import _forkserver

        with contextlib.suppress(ProcessLookupError):
            os.kill(_Started.pid, signal.SIGKILL)
        # Waits for its end; else the next run could ask it for a worker while it dies.
        if stop := getattr(_forkserver, "_stop", None):
            stop()
    _Started.pid = None


def start_worker(connection: Connection, settings: WorkerSettings, network: Connection | None) -> None:
    """What a new process runs: `worker.work`, imported here, as the main process does without torch."""
    from lungfield.batch.worker import work

    work(connection, settings, network)


def prepare_worker(niceness: int = 0) -> None:
    """Leave interrupts to the main process; on Linux, end as soon as the fork server does.

    The fork server ends with the main process, however that ends. A worker alone would notice only after the
    file that it works on.

    Args:
        niceness: added to that of the main process (nice(2)): the more, the later the system's turn for it.
    """
    if niceness and hasattr(os, "nice"):
        os.nice(niceness)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGINT, signal.SIGTERM))
    _let_the_forkserver_end()
    if sys.platform == "linux":
        parent = os.getppid()
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL))
        if os.getppid() != parent:
            os._exit(1)


def _let_the_forkserver_end() -> None:
    """Close what tells the fork server that it is needed: else it lives as long as a worker that hangs."""
    from multiprocessing.forkserver import _forkserver

    if descriptor := getattr(_forkserver, "_forkserver_alive_fd", None):
        os.close(descriptor)
        _forkserver._forkserver_alive_fd = None  # type: ignore[attr-defined]


def limit_memory(more_bytes: int) -> None:
    """Bound what this process may allocate from now on, where the system can (Linux)."""
    if sys.platform != "linux":
        return
    import resource

    status = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    kilobytes = next(int(line.split()[1]) for line in status if line.startswith("VmData"))
    limit = kilobytes * 1024 + more_bytes
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (limit if hard < 0 else min(limit, hard), hard))


def ending_signal(process: Any) -> int:
    """The number of the signal that ended a process whose connection broke off; 0 where none did."""
    process.join(timeout=_END_LIMIT_S)
    return -process.exitcode if (process.exitcode or 0) < 0 else 0


def signal_name(number: int) -> str:
    """'SIGSEGV', ...; real-time signals have no names."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


@contextlib.contextmanager
def environment_of_workers() -> Iterator[None]:
    """Start processes with `_ENVIRONMENT`, and leave this one's as it was."""
    before = {name: os.environ.get(name) for name in _ENVIRONMENT}
    os.environ.update(_ENVIRONMENT)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _forkserver_pid() -> int | None:
    from multiprocessing.forkserver import _forkserver

    return getattr(_forkserver, "_forkserver_pid", None)


@contextlib.contextmanager
def _blocked(*signals: int) -> Iterator[None]:
    """Block signals in this thread, and in the processes that it starts (which inherit that)."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
