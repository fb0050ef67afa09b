"""A run over stores, from the listing to the report, on either engine; it can be interrupted and resumed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Protocol

from lungfield.batch.interrupts import interruptible
from lungfield.batch.leftovers import remove_parts
from lungfield.batch.options import Options
from lungfield.batch.references import References, find_references
from lungfield.batch.run import available_cores, environment_of, settings_of
from lungfield.bundles.classes import require_structures
from lungfield.bundles.registry import DEFAULT_BUNDLE, Bundle, find_bundle, require_weights
from lungfield.cluster.beginning import open_run
from lungfield.cluster.duplicates import note_duplicates
from lungfield.cluster.manifests import finished_shards, read_manifest
from lungfield.cluster.options import ClusterOptions
from lungfield.cluster.plan import Run, read_plan, read_run
from lungfield.cluster.progress import Progress
from lungfield.cluster.results import (
    SHOWN,
    WHOLE_TABLES,
    ShardedResult,
    SpooledRows,
    all_rows,
    sampled_rows,
    write_all,
)
from lungfield.cluster.shards import ShardEnd, Todo, Work
from lungfield.cluster.stores import Store
from lungfield.cluster.tally import Tally

ShowProgress = Callable[[Progress], None]


class Engine(Protocol):
    """Segments shards: `LocalEngine` or `RayEngine`."""

    def segment(self, todo: Sequence[Todo], ended: Callable[[ShardEnd], None]) -> None:
        """Segment shards; `ended` is called for each."""

    def summarise(self, shards: int, duplicates: set[int], add: Callable[[Tally], None]) -> None:
        """Write the tables of all shards; `add` is called with the tally of each."""


def segment_stores(
    inputs: Sequence[str],
    output: str,
    bundle: str | Path = DEFAULT_BUNDLE,
    *,
    options: Options | None = None,
    cluster: ClusterOptions | None = None,
    progress: ShowProgress | None = None,
) -> ShardedResult:
    """Segment files from stores and tables into `output`, in shards, on this machine or on a Ray cluster.

    The result files are the same bytes as those of `segment_files`, except for times. If the run is killed,
    shards with a manifest in the output are complete, and `Options.resume` continues with the others.

    On this machine it starts processes: in a script, call it below `if __name__ == "__main__":`.

    Args:
        inputs: URIs and paths of files, folders, and tables of URIs (CSV, Parquet, or text).
        output: URI or path of the folder of the results.
        bundle: name of a shipped bundle, or the folder of any other that you trust, on all machines.
        options: of the batch; None for the defaults.
        cluster: the distribution over machines; None for the defaults.
        progress: called with the progress after each shard.

    Raises:
        BundleError: the bundle does not exist or has no weights, or the device is not available.
        ClusterError: Ray is not installed, cannot be reached, or ended the run.
        DataError: an input cannot be read, or the output holds another run.
        OutputError: the output cannot be written to.
        Interrupted: by SIGINT or SIGTERM.
    """
    options, cluster = (options or Options()).checked(), (cluster or ClusterOptions()).checked()
    found = find_bundle(bundle)
    require_structures(found, options.structures)
    require_weights(found)
    with interruptible(), _connected(cluster, options) as cluster:
        store = Store(output)
        return _SegmentStores(inputs, store, found, options, cluster, progress or _show_nothing).run()


@contextmanager
def _connected(cluster: ClusterOptions, options: Options) -> Iterator[ClusterOptions]:
    """A context with a connection to the cluster if the engine is Ray; yields options with `num_gpus` set."""
    if cluster.engine != "ray":
        yield cluster
        return
    from lungfield.cluster.ray_engine import connected
    from lungfield.cluster.ray_network import gpu_share

    with connected(cluster):
        yield replace(cluster, num_gpus=gpu_share(cluster, options.device))


def _show_nothing(_progress: Progress) -> None:
    pass


class _SegmentStores:
    def __init__(
        self,
        inputs: Sequence[str],
        store: Store,
        bundle: Bundle,
        options: Options,
        cluster: ClusterOptions,
        progress: ShowProgress,
    ) -> None:
        self._inputs, self._store, self._bundle = inputs, store, bundle
        self._options, self._cluster, self._progress = options, cluster, progress
        self._start = time.perf_counter()

    def run(self) -> ShardedResult:
        self._choose()
        settings = settings_of(self._bundle, self._options, self._choice.backend)
        run = open_run(self._inputs, self._store, settings, self._options, self._cluster)
        engine = self._engine(run)
        finished = finished_shards(self._store)
        todo, part = self._todo(run, finished), self._numbers(run)
        ended = finished.intersection(part) - {one.shard for one in todo}
        progress = Progress(run.files_in(part), run.files_in(ended), self._progress)
        engine.segment(todo, progress.add)
        return self._result(run, engine)

    def _choose(self) -> None:
        """Set the device, and the backend: the one given, that of the resumed run, or the faster one."""
        from lungfield.bundles.backend_choice import BackendChoice, choose_backend
        from lungfield.bundles.device import find_device

        options, cluster = self._options, self._cluster
        on_gpus = cluster.engine == "ray" and bool(cluster.num_gpus) and options.device != "cpu"
        # On a cluster, the driver's machine need not have GPUs.
        name = "cpu" if cluster.engine == "ray" else options.device
        self._device = find_device(name, "auto" if on_gpus else options.backend)
        goes_on = options.resume or (cluster.shard and not options.overwrite)
        before = read_run(self._store) if goes_on else None
        if options.backend != "auto":
            self._choice = BackendChoice(options.backend)
        elif before is not None:
            self._choice = BackendChoice(before.settings["backend"])
        else:
            self._choice = BackendChoice("torch") if on_gpus else choose_backend(self._bundle, self._device)

    def _work(self, run: Run) -> Work:
        return Work(
            output=self._store.uri if self._store.local is None else str(self._store.local.absolute()),
            bundle=self._bundle.name if self._bundle.is_shipped else str(self._bundle.root),
            weights_sha256=self._bundle.weights_sha256,
            options=self._options,
            backend=self._choice.backend,
            started=run.started,
            references=self._references(run),
        )

    def _references(self, run: Run) -> References | None:
        folder = self._options.references
        if folder is None:
            return None
        items = (item for shard in range(run.shards) for item in read_plan(self._store, shard))
        return find_references(folder.absolute(), (PurePosixPath(item.relative) for item in items))

    def _engine(self, run: Run) -> Engine:
        work = self._work(run)
        if self._cluster.engine == "ray":
            from lungfield.cluster.ray_engine import RayEngine

            return RayEngine(work, self._cluster)
        from lungfield.cluster.local_engine import LocalEngine

        return LocalEngine(work, min(self._options.workers or available_cores(), run.files), self._device)

    def _numbers(self, run: Run) -> range:
        """The shards of this process."""
        first, step = self._cluster.shard or (1, 1)
        return range(first - 1, run.shards, step)

    def _todo(self, run: Run, finished: set[int]) -> list[Todo]:
        """The shards without a manifest; in a resumed run also the others, to retry `TRANSIENT` failures."""
        numbers = self._numbers(run)
        if self._options.resume:
            return [Todo(number, number in finished) for number in numbers]
        return [Todo(number) for number in numbers if number not in finished]

    def _result(self, run: Run, engine: Engine) -> ShardedResult:
        """Write tables and report if all shards are complete; otherwise return the result so far."""
        finished = finished_shards(self._store)
        tally = Tally()
        is_whole = len(finished) == run.shards
        duplicates: set[int] = set()
        if is_whole:
            if self._store.local is not None:
                remove_parts(self._store.local)  # of workers that were killed
            duplicates = note_duplicates(self._store, run.shards)
            engine.summarise(run.shards, duplicates, tally.merge)
            rows = self._rows(run, tally, duplicates)
        else:
            for shard in self._numbers(run):
                tally.add_shard(shard, [one.row for one in read_manifest(self._store, shard)])
            rows = SpooledRows(sampled_rows(self._store, tally, duplicates))
        result = ShardedResult(
            files=rows,
            output=str(self._store),
            bundle=self._bundle,
            seconds=time.perf_counter() - self._start,
            started=run.started,
            settings=run.settings | {"inputs": run.inputs},
            environment=environment_of(self._device),
            left_out=run.left_out,
            remarks=(*run.remarks, *filter(None, [self._choice.remark])),
            tally=tally,
            planned=run.files,
        )
        if is_whole:
            shown = rows if len(result) <= SHOWN else sampled_rows(self._store, tally, duplicates)
            write_all(self._store, result, shown, report=self._options.report)
        return result

    def _rows(self, run: Run, tally: Tally, duplicates: set[int]) -> SpooledRows:
        """All rows up to `WHOLE_TABLES` files, else a sample."""
        if run.files <= WHOLE_TABLES:
            return SpooledRows(all_rows(self._store, run.shards, duplicates))
        return SpooledRows(sampled_rows(self._store, tally, duplicates))
