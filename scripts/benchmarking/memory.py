"""The memory of a process and its descendants together (Linux)."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

_PROC = Path("/proc")
_INTERVAL_S = 0.1


@dataclass
class Peak:
    """The largest sum of the processes' proportional set sizes, and the number of processes then.

    `size_bytes` is None if the system does not report it.
    """

    size_bytes: int | None = None
    processes: int = 0


@contextmanager
def peak_memory(process: int) -> Iterator[Peak]:
    """Measure the memory of a process and its descendants ten times a second while the block runs.

    A page that n processes share counts as 1/n of a page for each (`Pss` in proc(5)).
    """
    peak, ended = Peak(), threading.Event()

    def look() -> None:
        while True:
            sizes = [size for size in map(_pss_bytes, process_tree(process)) if size is not None]
            if sizes and sum(sizes) > (peak.size_bytes or 0):
                peak.size_bytes, peak.processes = sum(sizes), len(sizes)
            if ended.wait(_INTERVAL_S):
                return

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield peak
    finally:
        ended.set()
        thread.join()


def process_tree(root: int) -> list[int]:
    """The process IDs of a process and its descendants."""
    children = defaultdict(list)
    for stat in _PROC.glob("[0-9]*/stat"):
        with suppress(OSError):  # it ended meanwhile
            # The name, in brackets, can hold anything; state and parent follow it.
            after_name = stat.read_text(encoding="utf-8", errors="replace").rpartition(")")[2]
            children[int(after_name.split()[1])].append(int(stat.parent.name))
    tree = [root]
    for process in tree:
        tree.extend(children[process])
    return tree


def _pss_bytes(process: int) -> int | None:
    with suppress(OSError):  # it ended meanwhile, or the system has no such file
        lines = (_PROC / str(process) / "smaps_rollup").read_text(encoding="ascii").splitlines()
        return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:")), None)
    return None
