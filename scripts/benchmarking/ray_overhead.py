"""Compare both engines on the same files and cores: the cost of an additional file."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from statistics import median
from typing import Any

from benchmarking.end_to_end import BenchmarkError
from benchmarking.files import Kind, make_files
from benchmarking.memory import process_tree

_INTERVAL_S = 0.2
_TICKS = os.sysconf("SC_CLK_TCK")


def measure_overhead(
    folder: Path, *, bundle: str, counts: tuple[int, int], size: int, workers: int, repeat: int
) -> dict[str, Any]:
    """The cost of an additional file with each engine, and the overhead of Ray relative to the local cost.

    Each is the difference in cost of a larger and a smaller run, divided by the difference in files, so that
    start-up cancels out. The engines take turns. Two costs are reported: wall-clock time (`wall_s`), and CPU
    time of all processes (`cpu_s`), which does not depend on other load.

    Args:
        folder: an empty folder.
        bundle: name of a shipped bundle.
        counts: files of the smaller and of the larger run.
        size: rows and columns of the files.
        workers: worker processes of either engine.
        repeat: how often.
    """
    kind = Kind((size, size), "uncompressed")
    for count in counts:
        make_files(folder / str(count), {kind: count}, processes=os.cpu_count() or 1)
    runs: dict[str, list[dict[str, float]]] = {"local": [], "ray": []}
    for number in range(repeat):
        for engine, costs in runs.items():
            few, many = (
                _cost(folder / str(count), folder / f"{engine}-{count}-{number}", bundle, engine, workers)
                for count in counts
            )
            costs.append({name: (many[name] - few[name]) / (counts[1] - counts[0]) for name in many})
    local, ray = (
        {name: median(cost[name] for cost in costs) for name in ("wall_s", "cpu_s")}
        for costs in runs.values()
    )
    overhead = {name: ray[name] / local[name] - 1 for name in local}
    return {"local": local, "ray": ray, "overhead": overhead, "runs": runs}


def _cost(inputs: Path, output: Path, bundle: str, engine: str, workers: int) -> dict[str, float]:
    """The cost of a run from its call to its end."""
    words = ["segment", inputs, "-o", output, "--bundle", bundle, "--no-report", "--device", "cpu"]
    words += ["--engine", engine, "--workers", workers]
    start = time.perf_counter()
    run = subprocess.Popen(
        [sys.executable, "-m", "lungfield.cli", *map(str, words)], stderr=subprocess.PIPE, text=True
    )
    with _processor_time(run.pid) as seconds:
        _, said = run.communicate()
    if run.returncode:
        raise BenchmarkError(f"lungfield segment failed: {said.strip()}")
    return {"wall_s": time.perf_counter() - start, "cpu_s": sum(seconds.values())}


@contextmanager
def _processor_time(process: int) -> Iterator[dict[int, float]]:
    """The CPU seconds of a process and each of its descendants during the block.

    They are sampled five times per second; CPU time between the last sample and a process's end is missed.
    """
    seconds: dict[int, float] = {}
    ended = threading.Event()

    def look() -> None:
        while not ended.wait(_INTERVAL_S):
            for one in process_tree(process):
                with suppress(OSError):  # it ended meanwhile
                    after_name = Path(f"/proc/{one}/stat").read_text(errors="replace").rpartition(")")[2]
                    user, system = after_name.split()[11:13]
                    seconds[one] = (int(user) + int(system)) / _TICKS

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield seconds
    finally:
        ended.set()
        thread.join()
