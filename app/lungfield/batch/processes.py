"""Start worker processes, and end them with the main process, however that ends."""

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
#: Environment variables of workers. There is one worker per core, so libraries compute in one thread:
#: threads of OpenBLAS wait for each other by spinning, which on busy cores takes longer than the work (300 ms
#: for the mean of a lung instead of 4). glibc keeps freed memory for the next radiograph: to get it zeroed
#: from the system each time cost 8 % of the rate. Huge pages save another 5 % of the time. Other systems
#: ignore these variables.
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
    """The fork server that this module started; `pid` is None if it started none."""

    pid: int | None = None


def start_forkserver(*preload: str) -> Any:
    """Start the fork server, and return the `multiprocessing` context for workers.

    The fork server imports the modules of workers once for all of them. Systems without one spawn workers.

    Args:
        preload: names of further modules to import, before the others.
    """
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    from multiprocessing import forkserver, resource_tracker

    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([*preload, _PRELOADED])
    # No interrupt between the start of the process and the storing of its PID. The process itself inherits
    # the blocked signals: an interrupt during its imports would print a traceback.
    with deferred(), environment_of_workers():
        resource_tracker.ensure_running()  # which the fork server needs; it unblocks signals when it starts
        with _blocked(signal.SIGINT, signal.SIGTERM):
            before = _forkserver_pid()
            forkserver.ensure_running()
            if _forkserver_pid() != before:
                _Started.pid = _forkserver_pid()
    return context


def stop_forkserver() -> None:
    """Kill the fork server that `start_forkserver` started, and its workers.

    It has to be killed because it does not notice the end of the main process while it imports.
    """
    if _Started.pid is not None and _Started.pid == _forkserver_pid():
        from multiprocessing.forkserver import _forkserver

        with contextlib.suppress(ProcessLookupError):
            os.kill(_Started.pid, signal.SIGKILL)
        # Wait for its end; otherwise the next run could request a worker from the dying process.
        if stop := getattr(_forkserver, "_stop", None):
            stop()
    _Started.pid = None


def start_worker(connection: Connection, settings: WorkerSettings, network: Connection | None) -> None:
    """The target of a worker process: `worker.work`. Imported here to keep torch out of the main process."""
    from lungfield.batch.worker import work

    work(connection, settings, network)


def prepare_worker(niceness: int = 0) -> None:
    """Ignore interrupts, which the main process handles; on Linux, end as soon as the fork server ends.

    The fork server ends with the main process, however that ends. Without this, a worker would first finish
    its current file.

    Args:
        niceness: added to that of the fork server (nice(2)); other processes come first.
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
    """Close the pipe that keeps the fork server alive: otherwise it lives as long as a worker that hangs."""
    from multiprocessing.forkserver import _forkserver

    if descriptor := getattr(_forkserver, "_forkserver_alive_fd", None):
        os.close(descriptor)
        _forkserver._forkserver_alive_fd = None  # type: ignore[attr-defined]


def limit_memory(more_bytes: int) -> None:
    """Limit the memory that this process may allocate from now on (Linux only)."""
    if sys.platform != "linux":
        return
    import resource

    status = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    kilobytes = next(int(line.split()[1]) for line in status if line.startswith("VmData"))
    limit = kilobytes * 1024 + more_bytes
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (limit if hard < 0 else min(limit, hard), hard))


def ending_signal(process: Any) -> int:
    """The number of the signal that ended a process whose connection was closed; 0 if no signal did."""
    process.join(timeout=_END_LIMIT_S)
    return -process.exitcode if (process.exitcode or 0) < 0 else 0


def signal_name(number: int) -> str:
    """The name of a signal, such as 'SIGSEGV'; 'signal 34' for a signal without a name."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


@contextlib.contextmanager
def environment_of_workers() -> Iterator[None]:
    """Set `_ENVIRONMENT` for processes that the block starts, and restore this process's environment."""
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
    """Block signals in this thread, and in processes that it starts, which inherit the mask."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
