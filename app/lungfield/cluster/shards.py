"""Segment shards in worker processes of one machine, and write a manifest for each shard.

`LocalEngine` uses this in its own process, and `RayEngine` in each of its actors.
"""

from __future__ import annotations

import datetime
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from itertools import chain
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

from lungfield.batch.jobs import DONE, Ended, Job, WorkerSettings
from lungfield.batch.options import Options
from lungfield.batch.outputs import with_whole_masks
from lungfield.batch.pool import Network, Pool, shared_network
from lungfield.batch.references import References
from lungfield.batch.run import BATCH_SIZE, TRANSIENT
from lungfield.batch.segment import forkserver
from lungfield.bundles import Bundle, find_bundle
from lungfield.cluster.catalogue import Item
from lungfield.cluster.manifests import Outcome, read_manifest, write_manifest
from lungfield.cluster.plan import MOST_FILES, read_plan
from lungfield.cluster.stores import Store
from lungfield.cluster.transfer import StoreTransfer
from lungfield.cluster.uris import local_path
from lungfield.errors import BundleError, ClusterError, OutputError


@dataclass(frozen=True)
class Work:
    """The settings of all shards of a run; pickled to other machines.

    Attributes:
        output: URI or path of the output folder.
        bundle: name of a shipped bundle, or a folder that exists on each machine.
        weights_sha256: of its weights, which must be the same on each machine.
        options: of the batch.
        backend: 'torch' or 'openvino'.
        started: start of the run, in ISO 8601.
        references: masks to compare with, in folders that exist on each machine; None for no comparison.
        lungfield: the version that must be installed on each machine.
    """

    output: str
    bundle: str
    weights_sha256: str
    options: Options
    backend: str
    started: str
    references: References | None = None
    lungfield: str = field(default_factory=lambda: version("lungfield"))

    def checked_bundle(self) -> Bundle:
        """The bundle on this machine.

        Raises:
            BundleError: the bundle does not exist here, or has other weights.
            ClusterError: another version of lungfield is installed here.
        """
        if version("lungfield") != self.lungfield:
            raise ClusterError(
                f"A machine has lungfield {version('lungfield')}, but the run was started by "
                f"{self.lungfield}; install the same version on all machines."
            )
        bundle = find_bundle(self.bundle)
        if bundle.weights_sha256 != self.weights_sha256:
            raise BundleError(
                f"The weights of the bundle {self.bundle!r} on a machine are not those of the run; copy the "
                "same file to all machines."
            )
        return bundle

    def worker_settings(self, bundle: Bundle, scratch: Path) -> WorkerSettings:
        """The settings of worker processes; they write to `scratch` if the output is in a store."""
        store, options = Store(self.output), self.options
        output = store.local or scratch / "out"
        formats = with_whole_masks(options.formats, options.structures)
        return WorkerSettings(
            bundle=bundle,
            output=output,
            formats=options.formats,
            created=datetime.datetime.fromisoformat(self.started),
            backend=self.backend,
            check_mirrored=options.check_mirrored,
            structures=options.structures,
            viewer_geometry=options.viewer_geometry,
            references=self.references,
            require_frontal=options.views == "frontal",
            memory_bytes=options.memory_limit_bytes,
            transfer=StoreTransfer(None if store.local else store, output, formats),
        )


@dataclass(frozen=True)
class Todo:
    """A shard to segment.

    Attributes:
        shard: its number.
        has_manifest: whether it has ended before; then only files that failed for a reason in `TRANSIENT`
            are retried.
    """

    shard: int
    has_manifest: bool = False


@dataclass(frozen=True)
class ShardEnd:
    """The result of a shard.

    Attributes:
        shard: its number.
        files: number of its files.
        resumed: number of its files that had ended before.
        reasons: number of files that were skipped or failed, by '<status> <reason>'.
        seconds: from its first file to its manifest.
    """

    shard: int
    files: int
    resumed: int
    reasons: dict[str, int]
    seconds: float


class JobPool(Protocol):
    """Runs jobs, such as `batch.pool.Pool`."""

    def run(self, jobs: Iterator[Job], ended: Callable[[Job, Ended], None]) -> None:
        """Run all jobs; `ended` is called for each."""


OpenPool = Callable[[WorkerSettings], AbstractContextManager[JobPool]]


class Shards:
    """Segments shards in a pool of workers, which is opened for the first file.

    Args:
        work: the settings of all shards.
        open_pool: opens the pool.
    """

    def __init__(self, work: Work, open_pool: OpenPool) -> None:
        self._store = Store(work.output)
        self._work = work
        self._open_pool = open_pool
        self._bundle = work.checked_bundle()
        self._stack = ExitStack()
        self._scratch = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="lungfield-")))
        self._pool: JobPool | None = None
        self._shards: dict[int, _Shard] = {}

    def __enter__(self) -> Shards:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """End the workers."""
        self._stack.close()

    def run(self, todo: Iterable[Todo], ended: Callable[[ShardEnd], None]) -> None:
        """Segment shards; `ended` is called for each once its manifest is written.

        Raises:
            DataError: the plan of a shard, or its manifest, cannot be read.
            OutputError: a manifest cannot be written, or a disk is full.
        """
        self._ended = ended
        jobs = self._jobs(todo)
        first = next(jobs, None)
        if first is None:
            return
        if self._pool is None:
            settings = self._work.worker_settings(self._bundle, self._scratch)
            self._pool = self._stack.enter_context(self._open_pool(settings))
        self._pool.run(chain([first], jobs), self._end)

    def _jobs(self, todo: Iterable[Todo]) -> Iterator[Job]:
        for one in todo:
            items = read_plan(self._store, one.shard)
            before = read_manifest(self._store, one.shard) if one.has_manifest else [None] * len(items)
            shard = _Shard(one.shard, [None if _may_change(outcome) else outcome for outcome in before])
            self._shards[one.shard] = shard
            if not shard.missing:
                self._ended(shard.end())
                del self._shards[one.shard]
            for place in list(shard.missing):
                yield self._job(one.shard, place, items[place])

    def _job(self, shard: int, place: int, item: Item) -> Job:
        ticket, path = shard * MOST_FILES + place, local_path(item.uri)
        here = path or self._scratch / "in" / str(ticket) / PurePosixPath(item.relative).name
        return Job(
            ticket=ticket,
            path=here,
            relative=PurePosixPath(item.relative),
            name=PurePosixPath(item.name),
            uri="" if path else item.uri,
            size=item.size,
        )

    def _end(self, job: Job, ended: Ended) -> None:
        if ended.stop:
            raise OutputError(ended.stop)
        number, place = divmod(job.ticket, MOST_FILES)
        shard = self._shards[number]
        shard.outcomes[place] = Outcome.of(ended)
        shard.missing.remove(place)
        if not shard.missing:
            write_manifest(self._store, number, shard.ended_outcomes())
            self._ended(shard.end())
            del self._shards[number]


class _Shard:
    """A shard that is being segmented."""

    def __init__(self, number: int, outcomes: list[Outcome | None]) -> None:
        self.number = number
        self.outcomes = outcomes
        self.missing = {place for place, outcome in enumerate(outcomes) if outcome is None}
        self._resumed = len(outcomes) - len(self.missing)
        self._start = time.perf_counter()

    def ended_outcomes(self) -> list[Outcome]:
        return [outcome for outcome in self.outcomes if outcome is not None]

    def end(self) -> ShardEnd:
        rows = [outcome.row for outcome in self.ended_outcomes()]
        reasons = Counter(f"{row['status']} {row['reason_code']}" for row in rows if row["status"] != DONE)
        seconds = time.perf_counter() - self._start
        return ShardEnd(self.number, len(self.outcomes), self._resumed, dict(reasons), seconds)


def _may_change(outcome: Outcome | None) -> bool:
    return outcome is None or outcome.row["reason_code"] in TRANSIENT


def local_pool(work: Work, workers: int, device: Any) -> OpenPool:
    """A function that opens a pool of worker processes on this machine, with a shared network on a GPU.

    Args:
        work: the settings of all shards.
        workers: number of processes.
        device: a `torch.device`.
    """

    @contextmanager
    def open_pool(settings: WorkerSettings) -> Iterator[Pool]:
        with (
            shared_network(settings, device, batch_size=work.options.batch_size or BATCH_SIZE) as network,
            worker_processes(work, settings, workers, network) as pool,
        ):
            yield pool

    return open_pool


@contextmanager
def worker_processes(
    work: Work, settings: WorkerSettings, workers: int, network: Network | None
) -> Iterator[Pool]:
    """A context with a pool of worker processes; without `network`, each runs the network itself."""
    with forkserver(settings.bundle, work.options) as start:
        pool = Pool(
            start(),
            settings,
            workers=workers,
            time_limit_s=work.options.time_limit_s,
            network=network,
        )
        try:
            yield pool
        finally:
            pool.close()
