"""The engine on a Ray cluster: Ray Data gives the shards to a pool of actors, and starts anew what dies.

An actor on CPUs takes a shard through worker processes of its own, as the engine of one machine does: what a
decoder crashes costs one file, and pixels never cross the network. On clusters with GPUs its workers ask
network actors, which batch what is asked of them at the time. Ray Data limits how many shards wait at an
actor, lets the pool grow with the cluster, and gives the shard of an actor or node that died to another.
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
"""Worker processes of an actor, where its machine has so many cores. They share what they import."""


class RayEngine:
    """Takes shards through a Ray cluster.

    Args:
        work: what the shards share.
        options: how to go about it.
        open_pool: makes, for an actor's workers and the network actors, what opens its pool; for measuring.
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
        """Write the tables of all shards; `add` is called with what each came to.

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
        """Take rows through a pool of actors, a row a task; the stage's name is that on Ray's dashboard."""
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
            # No batch is fetched ahead: each is told of when it is there.
            for batch in results.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0):
                for row in batch.to_pylist():
                    if row["error"] is not None:
                        raise pickle.loads(row["error"])  # noqa: S301 - of this run's own actors
                    yield row
        except ray().exceptions.RayError as error:
            kinds = ", ".join(dict.fromkeys(type(one).__name__ for one in causes(error)))
            raise ClusterError(
                f"The Ray cluster ended the run ({kinds}). What was done is kept; go on by --resume."
            ) from error


@contextmanager
def connected(options: ClusterOptions) -> Iterator[None]:
    """Connect to a Ray cluster, or start one on this machine, whose dashboard only this machine can reach.

    Raises:
        ClusterError: Ray is not installed, or there is no such cluster.
    """
    if importlib.util.find_spec("ray") is None:
        raise ClusterError("The engine ray needs Ray: pip install 'lungfield[ray]'")
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # of errors that matter Ray raises exceptions
    library = ray()
    if library.is_initialized():  # by who called; it stays open
        _quieten()
        yield
        return
    address = options.ray_address or os.environ.get("RAY_ADDRESS")
    alone = {} if address else {"num_cpus": available_cores(), "dashboard_host": "127.0.0.1"}
    try:
        library.init(address=address or "local", log_to_driver=False, logging_level=logging.ERROR, **alone)
    except (ConnectionError, OSError, RuntimeError, ValueError) as error:
        raise ClusterError(
            f"There is no Ray cluster at {address or 'this machine'} ({type(error).__name__}). Start one by "
            "`ray start --head`, or give its address by --ray-address."
        ) from error
    try:
        _quieten()
        yield
    finally:
        library.shutdown()


class SegmentShards:
    """An actor on CPUs: a shard in, how it ended out."""

    def __init__(self, work: Work, open_pool: OpenPool) -> None:
        _leave_out_the_main_module()
        self._open = lambda: Shards(work, open_pool)
        self._shards: Shards | None = None

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        """Segment a shard."""
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
        """Write the table of a shard."""
        try:
            tally = write_part(self._output, row["shard"], duplicates=row["duplicates"])
        except LungfieldError as error:
            return {"tally": b"", "error": pickle.dumps(error)}
        return {"tally": pickle.dumps(tally), "error": None}


def actor_pool(work: Work, workers: int, networks: Sequence[Any]) -> OpenPool:
    """Opens the worker processes of an actor, which run the network themselves or ask network actors."""

    @contextmanager
    def open_pool(settings: WorkerSettings) -> Iterator[Pool]:
        network = RemoteNetwork(networks) if networks else None
        with worker_processes(work, settings, workers, network) as pool:
            yield pool

    return open_pool


def _cores_of_actors() -> int:
    """Cores of an actor: as many as each machine has, up to `_MOST_WORKERS`."""
    nodes = (node["Resources"].get("CPU", 0) for node in ray().nodes() if node["Alive"])
    return min([_MOST_WORKERS, *(int(cores) for cores in nodes if cores >= 1)])


def _leave_out_the_main_module() -> None:
    """Keep worker processes from importing Ray, whose worker is the main module here.

    `multiprocessing` has each process import the main module of the one that starts it.
    """
    main = sys.modules["__main__"]
    main.__spec__ = None
    main.__file__ = None


def _quieten() -> None:
    """No bars and no plans on standard error: progress is told by `cluster.progress`."""
    context = ray().data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)
