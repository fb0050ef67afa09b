"""Both engines on the same files and cores: what one more file costs."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any

from benchmarking.errors import BenchmarkError
from benchmarking.files import Kind, make_files


def measure_overhead(
    folder: Path, *, bundle: str, counts: tuple[int, int], size: int, workers: int, repeat: int
) -> dict[str, Any]:
    """Seconds that each engine takes for one more file, and the overhead of Ray as a part of the local ones.

    Each is the time of a larger run less that of a smaller one, over the files between them: the starts of
    processes, of Ray and of the network go out. The engines take turns.

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
    runs: dict[str, list[float]] = {"local": [], "ray": []}
    for number in range(repeat):
        for engine, seconds in runs.items():
            few, many = (
                _seconds(folder / str(count), folder / f"{engine}-{count}-{number}", bundle, engine, workers)
                for count in counts
            )
            seconds.append((many - few) / (counts[1] - counts[0]))
    local, ray = median(runs["local"]), median(runs["ray"])
    return {"local": local, "ray": ray, "overhead": ray / local - 1, "runs": runs}


def _seconds(inputs: Path, output: Path, bundle: str, engine: str, workers: int) -> float:
    """How long a run takes from its call to its end."""
    words = ["segment", inputs, "-o", output, "--bundle", bundle, "--no-report", "--device", "cpu"]
    words += ["--engine", engine, "--workers", workers]
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "lungfield.cli", *map(str, words)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise BenchmarkError(f"lungfield segment failed: {done.stderr.strip()}")
    return time.perf_counter() - start
