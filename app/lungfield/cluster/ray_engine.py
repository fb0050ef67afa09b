"""The engine for a Ray cluster: Ray Data distributes shards to a pool of actors, and retries after a failure.

An actor on CPUs segments a shard in its own worker processes, as the engine for one machine does: a crash of
a decoder fails one file only, and pixels are not sent over the network. On clusters with GPUs, the workers
send the network's inputs to network actors, which run them in batches. Ray Data limits the number of shards
that wait for an actor, scales the pool with the cluster, and reassigns the shard of a dead actor or node.
"""

from __future__ import annotations

import importlib.util
import json
import logging
import os
import pickle
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

from lungfield.batch.jobs import WorkerSettings
from lungfield.batch.pool import Pool
from lungfield.batch.run import available_cores
from lungfield.cluster.options import ClusterOptions
from lungfield.cluster.ray_network import RemoteNetwork, ray, start_networks, stop_networks
from lungfield.cluster.results import write_part
from lungfield.cluster.shards import OpenPool, ShardEnd, Shards, Todo, Work, worker_processes
from lungfield.cluster.tally import Tally
from lungfield.errors import ClusterError, LungfieldError, causes

logger = logging.getLogger(__name__)

_MOST_WORKERS = 4
"""Largest number of worker processes of an actor. They share the memory of what they import."""


class RayEngine:
    """Segments shards on a Ray cluster.

    Args:
        work: the settings of all shards.
        options: of the cluster.
        open_pool: replaces `actor_pool`, for measurements; None for `actor_pool`.
    """

    def __init__(
        self,
        work: Work,
        options: ClusterOptions,
        open_pool: Callable[[Work, int, Sequence[Any]], OpenPool] | None = None,
    ) -> None:
        self._work, self._options = work, options
        self._open_pool = open_pool or actor_pool

    def segment(self, todo: Sequence[Todo], ended: Callable[[ShardEnd], None]) -> None:
        """Segment shards; `ended` is called for each.

        Raises:
            LungfieldError: as `Shards.run`.
            ClusterError: the cluster ended the run.
        """
        networks = start_networks(self._work, self._options.num_gpus or 0)
        cores = self._work.options.workers or _cores_of_actors()
        try:
            found = self._map(
                SegmentShards,
                [asdict(one) for one in todo],
                num_cpus=cores,
                constructor=(self._work, self._open_pool(self._work, cores, networks)),
            )
            for row in found:
                ended(ShardEnd(**json.loads(row["end"])))
        finally:
            stop_networks(networks)

    def summarise(self, shards: int, duplicates: set[int], add: Callable[[Tally], None]) -> None:
        """Write the tables of all shards; `add` is called with the tally of each.

        Raises:
            LungfieldError: as `write_part`.
            ClusterError: the cluster ended the run.
        """
        rows = [{"shard": shard, "duplicates": shard in duplicates} for shard in range(shards)]
        for row in self._map(WriteTables, rows, num_cpus=1, constructor=(self._work.output,)):
            add(pickle.loads(row["tally"]))  # noqa: S301 - of this run's own actors

    def _map(
        self, stage: type, rows: list[dict[str, Any]], *, num_cpus: float, constructor: tuple[Any, ...]
    ) -> Iterator[dict[str, Any]]:
        """Process rows in a pool of actors, one row per task; the stage's name appears on Ray's dashboard."""
        data = ray().data
        if not rows:
            return
        room = max(1, int(ray().cluster_resources().get("CPU", 1) // num_cpus))
        most = min(self._options.max_actors or len(rows), len(rows))
        pool = data.ActorPoolStrategy(
            min_size=1, max_size=most, initial_size=min(room, most), max_tasks_in_flight_per_actor=2
        )
        results = data.from_items(rows, override_num_blocks=len(rows)).map(
            stage, compute=pool, num_cpus=num_cpus, fn_constructor_args=constructor
        )
        try:
            # No batch is prefetched, so that each result is reported at once.
            for batch in results.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0):
                for row in batch.to_pylist():
                    if row["error"] is not None:
                        raise pickle.loads(row["error"])  # noqa: S301 - of this run's own actors
                    yield row
        except ray().exceptions.RayError as error:
            kinds = ", ".join(dict.fromkeys(type(one).__name__ for one in causes(error)))
            raise ClusterError(
                f"The Ray cluster ended the run ({kinds}). Results so far are kept; continue with --resume."
            ) from error


@contextmanager
def connected(options: ClusterOptions) -> Iterator[None]:
    """A context with a connection to a Ray cluster, or with a new cluster on this machine.

    A new cluster ends with the run. It has no dashboard, which would take an eighth of the time of two cores.

    Raises:
        ClusterError: Ray is not installed, or the cluster cannot be reached.
    """
    if importlib.util.find_spec("ray") is None:
        raise ClusterError("The engine ray needs Ray: pip install 'lungfield[ray]'")
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # Ray raises exceptions for errors that matter
    library = ray()
    if library.is_initialized():  # by the caller, who also closes it
        _quieten()
        yield
        return
    address = options.ray_address or os.environ.get("RAY_ADDRESS")
    alone = {} if address else {"num_cpus": available_cores(), "include_dashboard": False}
    try:
        library.init(address=address or "local", log_to_driver=False, logging_level=logging.ERROR, **alone)
    except (ConnectionError, OSError, RuntimeError, ValueError) as error:
        raise ClusterError(
            f"There is no Ray cluster at {address or 'this machine'} ({type(error).__name__}). Start one "
            "with `ray start --head`, or give its address with --ray-address."
        ) from error
    try:
        _quieten()
        yield
    finally:
        library.shutdown()


class SegmentShards:
    """An actor on CPUs that segments shards."""

    def __init__(self, work: Work, open_pool: OpenPool) -> None:
        _leave_out_the_main_module()
        self._open = lambda: Shards(work, open_pool)
        self._shards: Shards | None = None

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        """Segment the shard of a row, and return a row with its `ShardEnd` as JSON, or the pickled error."""
        ends: list[ShardEnd] = []
        try:
            if self._shards is None:
                self._shards = self._open()
            self._shards.run([Todo(**row)], ends.append)
        except LungfieldError as error:
            return {"end": "", "error": pickle.dumps(error)}
        return {"end": json.dumps(asdict(ends[0])), "error": None}


class WriteTables:
    """An actor that writes the tables of shards."""

    def __init__(self, output: str) -> None:
        self._output = output

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        """Write the table of a row's shard, and return a row with its `Tally` or the error, pickled."""
        try:
            tally = write_part(self._output, row["shard"], duplicates=row["duplicates"])
        except LungfieldError as error:
            return {"tally": b"", "error": pickle.dumps(error)}
        return {"tally": pickle.dumps(tally), "error": None}


def actor_pool(work: Work, workers: int, networks: Sequence[Any]) -> OpenPool:
    """A function that opens an actor's pool; without `networks`, each worker runs the network itself."""

    @contextmanager
    def open_pool(settings: WorkerSettings) -> Iterator[Pool]:
        network = RemoteNetwork(networks) if networks else None
        with worker_processes(work, settings, workers, network) as pool:
            yield pool

    return open_pool


def _cores_of_actors() -> int:
    """The cores of an actor: those of the machine with the fewest cores, but at most `_MOST_WORKERS`."""
    nodes = (node["Resources"].get("CPU", 0) for node in ray().nodes() if node["Alive"])
    return min([_MOST_WORKERS, *(int(cores) for cores in nodes if cores >= 1)])


def _leave_out_the_main_module() -> None:
    """Keep worker processes from importing Ray.

    `multiprocessing` makes a process import the main module of its parent, which is Ray's worker here.
    """
    main = sys.modules["__main__"]
    main.__spec__ = None
    main.__file__ = None


def _quieten() -> None:
    """Switch off Ray's progress bars and plans on standard error: `cluster.progress` reports progress."""
    context = ray().data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)
