"""`segment_files` as a user runs it: in a separate process, timed from outside."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarking.memory import peak_memory
from lungfield.errors import LungfieldError


class BenchmarkError(LungfieldError):
    """A timed call failed."""


@dataclass(frozen=True)
class EndToEnd:
    """One run over `files` radiographs of one kind.

    Attributes:
        start_up_s: from the first import to the first file handed to a worker.
        first_file_s: from the first import to the end of the first radiograph.
        segmenting_s: from the first file handed to a worker to the end of the last file.
        closing_s: from there to the end: tables, and the report if requested.
        peak_bytes: peak memory of all processes together, if measured.
    """

    files: int
    start_up_s: float
    first_file_s: float
    segmenting_s: float
    closing_s: float
    peak_bytes: int | None = None

    @property
    def images_per_s(self) -> float:
        """Files per second, without start-up and closing."""
        return self.files / self.segmenting_s


@dataclass(frozen=True)
class Call:
    """A call of `segment_files`, with `device`, `workers` and `report` as in `Options`.

    Attributes:
        files: radiographs that can be segmented.
        turned_down: a file that is refused at once; it comes first, and its end marks the start of work.
        output: folder of the results.
        bundle: name or folder.
    """

    files: Sequence[Path]
    turned_down: Path
    output: Path
    bundle: str
    device: str = "auto"
    workers: int | None = None
    report: bool = False


def run_apart(call: Call, *, with_memory: bool = False) -> EndToEnd:
    """Segment in a new process; `with_memory` measures its memory, which slows it down a little.

    Raises:
        BenchmarkError: a file could not be segmented.
    """
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as one_process:
        process = one_process.submit(os.getpid).result()
        if not with_memory:
            return one_process.submit(run, call).result()
        with peak_memory(process) as peak:
            ended = one_process.submit(run, call).result()
        return replace(ended, peak_bytes=peak.size_bytes)


def run(call: Call) -> EndToEnd:
    """Segment in this process, which must not have imported torch: the import is part of the start.

    Raises:
        BenchmarkError: a file could not be segmented.
    """
    start = time.perf_counter()
    from lungfield.batch import Options, segment_files

    ends: list[tuple[float, Mapping[str, Any]]] = []

    def note(_ended: int, _files: int, row: Mapping[str, Any] | None) -> None:
        if row is not None:
            ends.append((time.perf_counter(), row))

    segment_files(
        [call.turned_down, *call.files],
        call.output,
        call.bundle,
        options=Options(report=call.report, device=call.device, workers=call.workers),
        progress=note,
    )
    stop = time.perf_counter()
    first_end, last_end = ends[0][0], ends[-1][0]
    _check([row for _, row in ends], call)
    begin = first_end - ends[0][1]["seconds"]
    return EndToEnd(len(call.files), begin - start, ends[1][0] - start, last_end - begin, stop - last_end)


def _check(rows: Sequence[Mapping[str, Any]], call: Call) -> None:
    others = [row for row in rows if row["status"] != "done"]
    if rows[0]["file"] != call.turned_down.name or len(others) != 1 or others[0] is not rows[0]:
        reason = next((row["reason"] for row in others if row is not rows[0]), "in another order than given")
        raise BenchmarkError(f"{len(others)} of {len(rows)} files did not end as they should: {reason}.")
