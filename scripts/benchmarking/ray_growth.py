"""The Ray engine with stages that only wait: its cost as a function of the number of items."""

from __future__ import annotations

import multiprocessing
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lungfield.batch.jobs import Ended, Job, WorkerSettings
from lungfield.batch.options import Options
from lungfield.bundles import DEFAULT_BUNDLE, find_bundle
from lungfield.cluster.catalogue import Catalogue, Listed
from lungfield.cluster.duplicates import note_duplicates
from lungfield.cluster.options import ClusterOptions
from lungfield.cluster.plan import Run, shard_size, write_plan
from lungfield.cluster.ray_engine import RayEngine, connected
from lungfield.cluster.shards import OpenPool, ShardEnd, Todo, Work
from lungfield.cluster.stores import Store
from lungfield.cluster.tally import Tally
from lungfield.errors import ClusterError

_PAGE = 1000


def measure_growth(items: int, *, actors: int, seconds: float) -> dict[str, Any]:
    """Process items that take `seconds` each, in a separate process, whose memory is that of the driver.

    Returns:
        `items`; `rate`, items per second from the end of the first shard to the end of the last; the seconds
        of listing, stage and tables; `driver_cpu_s`, CPU seconds of the driver during the stage; `driver_mb`,
        the driver's peak resident memory.
    """
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_measure, args=(theirs, items, actors, seconds))
    process.start()
    theirs.close()
    try:
        figures: dict[str, Any] = ours.recv()
    except EOFError as error:
        raise ClusterError("The driver of the benchmark has died; see above.") from error
    process.join()
    return figures


def _measure(connection: Any, items: int, actors: int, seconds: float) -> None:
    options = ClusterOptions(engine="ray", num_gpus=0, max_actors=actors)
    with tempfile.TemporaryDirectory(prefix="lungfield-growth-") as folder, connected(options):
        start = time.perf_counter()
        store, size = Store(folder), shard_size(items)
        with Catalogue() as catalogue:
            for first in range(0, items, _PAGE):
                catalogue.add(0, map(_listed, range(first, min(first + _PAGE, items))))
            catalogue.finish()
            write_plan(store, catalogue, size)
        run = Run("2000-01-01T00:00:00", {}, [], items, size)
        listed = time.perf_counter()
        ends: list[tuple[float, int]] = []

        def ended(end: ShardEnd) -> None:
            ends.append((time.perf_counter(), end.files))

        engine = RayEngine(_work(folder), options, light_pools(seconds))
        before = time.process_time()
        engine.segment([Todo(shard) for shard in range(run.shards)], ended)
        segment_cpu = time.process_time() - before
        segmented = time.perf_counter()
        tally = Tally()
        engine.summarise(run.shards, note_duplicates(store, run.shards), tally.merge)
        if tally.counts["done"] != items:
            raise ClusterError(f"{tally.counts['done']} of {items} items have a row.")
        last, counted = ends[-1][0] - ends[0][0], sum(count for _, count in ends[1:])
        connection.send(
            {
                "items": items,
                "rate": counted / last if last else float("nan"),
                "list_s": listed - start,
                "segment_s": segmented - listed,
                "tables_s": time.perf_counter() - segmented,
                "driver_cpu_s": segment_cpu,
                "driver_mb": _peak_mb(),
            }
        )


def light_pools(seconds: float) -> Callable[[Work, int, Sequence[Any]], OpenPool]:
    """Opens pools that wait `seconds` for each item and report it as done."""

    def of_an_actor(_work: Work, _workers: int, _networks: Sequence[Any]) -> OpenPool:
        @contextmanager
        def open_pool(_settings: WorkerSettings) -> Iterator[LightPool]:
            yield LightPool(seconds)

        return open_pool

    return of_an_actor


class LightPool:
    """A replacement for worker processes."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def run(self, jobs: Iterator[Job], ended: Callable[[Job, Ended], None]) -> None:
        """Wait instead of reading, segmenting and writing."""
        for job in jobs:
            time.sleep(self._seconds)
            row = {
                "file": job.relative.as_posix(),
                "status": "done",
                "reason_code": "",
                "reason": "",
                "flags": [],
                "confidence": (job.ticket % 1000) / 1000,
                "mask": f"masks/{job.name}.png",
                "seconds": self._seconds,
            }
            ended(job, Ended(job.ticket, row, f"{job.ticket:064x}"))


def _listed(number: int) -> Listed:
    name = f"{number // _PAGE:05d}/{number:08d}.dcm"
    return Listed(f"s3://bucket/{name}", f"s3/bucket/{name}", name, 1, name)


def _work(output: str) -> Work:
    bundle = find_bundle(DEFAULT_BUNDLE)
    options = Options(workers=1, device="cpu")
    return Work(output, bundle.name, bundle.weights_sha256, options, "torch", "2000-01-01T00:00:00")


def _peak_mb() -> float:
    """The peak resident memory of this process, in MB (Linux)."""
    status = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) / 1000
