"""The network on the GPUs of a Ray cluster: actors that run the inputs from the workers of other actors."""

from __future__ import annotations

import contextlib
import itertools
import pickle
import threading
from collections.abc import Sequence
from multiprocessing.connection import Connection, Pipe
from typing import Any

from lungfield.batch.run import BATCH_SIZE
from lungfield.cluster.options import ClusterOptions
from lungfield.cluster.shards import Work
from lungfield.errors import ClusterError, LungfieldError

_ASKED_AT_ONCE = 64
"""Largest number of radiographs that a network actor handles at the same time."""

_ROUNDING = 1e-6


def ray() -> Any:
    """The module `ray`, imported on use: the engine for one machine does not need it."""
    import ray as library
    import ray.data

    return library


def gpu_share(options: ClusterOptions, device: str) -> float:
    """The number of GPUs per network actor; 0 to run the network on CPUs."""
    if options.num_gpus is not None:
        return options.num_gpus
    return 1.0 if device != "cpu" and ray().cluster_resources().get("GPU", 0) else 0.0


def start_networks(work: Work, share: float) -> list[Any]:
    """Start actors that run the network on the GPUs of the cluster; with a share of 0, start none.

    Args:
        work: the settings of all shards.
        share: number of GPUs per actor.

    Returns:
        The actors.

    Raises:
        LungfieldError: an actor cannot load the bundle, or the cluster has too few GPUs.
    """
    if not share:
        return []
    library = ray()
    there = library.cluster_resources().get("GPU", 0)
    count = int(there / share + _ROUNDING)
    if not count:
        raise ClusterError(
            f"The cluster has {there:g} GPUs, fewer than the {share:g} of --num-gpus. Add nodes with GPUs, "
            "or give --num-gpus 0 to run the network on CPUs."
        )
    actor = library.remote(NetworkActor).options(
        num_gpus=share,
        num_cpus=0,  # it mostly waits for its GPU
        max_restarts=-1,
        max_task_retries=-1,
        max_concurrency=_ASKED_AT_ONCE,
    )
    actors = [actor.remote(work) for _ in range(count)]
    try:
        for failed in filter(None, library.get([one.ready.remote() for one in actors])):
            raise pickle.loads(failed)  # noqa: S301 - of this run's own actors
    except BaseException:
        stop_networks(actors)
        raise
    return actors


def stop_networks(actors: Sequence[Any]) -> None:
    """End the actors."""
    for actor in actors:
        ray().kill(actor)


class NetworkActor:
    """Runs the network on its share of a GPU, in batches of the inputs that wait."""

    def __init__(self, work: Work) -> None:
        self._idle: list[Any] = []
        self._error: bytes | None = None
        try:
            self._load(work)
        except LungfieldError as error:
            self._error = pickle.dumps(error)

    def ready(self) -> bytes | None:
        """The pickled error if the network cannot be loaded, else None."""
        return self._error

    def _load(self, work: Work) -> None:
        from lungfield.batch.gpu import BatchedNetwork, remote_network
        from lungfield.bundles.predictor import Predictor

        options = work.options
        predictor = Predictor(
            work.checked_bundle(),
            device="cuda" if options.device == "auto" else options.device,
            backend=work.backend,
            check_mirrored=options.check_mirrored,
        )
        self._network = BatchedNetwork(predictor, batch_size=options.batch_size or BATCH_SIZE)
        self._idle = [remote_network(self._network.connect()) for _ in range(_ASKED_AT_ONCE)]

    def answer(self, network_input: Any) -> tuple[Any, Any]:
        """Run the network on an input (C, h, w) float32: logits, and those of the mirrored input or None."""
        import torch

        ask = self._idle.pop()  # never empty: Ray calls this in at most `_ASKED_AT_ONCE` threads
        try:
            logits, mirrored = ask(torch.from_numpy(network_input.copy()))
        finally:
            self._idle.append(ask)
        return logits.numpy(), None if mirrored is None else mirrored.numpy()


class RemoteNetwork:
    """Forwards the inputs of an actor's workers to network actors, in one thread per worker."""

    def __init__(self, actors: Sequence[Any]) -> None:
        self._turns = itertools.cycle(actors)

    def connect(self) -> Connection:
        """A connection for a new worker."""
        ours, theirs = Pipe()
        threading.Thread(target=self._serve, args=(ours, next(self._turns)), daemon=True).start()
        return theirs

    def _serve(self, worker: Connection, actor: Any) -> None:
        with contextlib.suppress(EOFError, OSError):
            while True:
                worker.send(_asked(actor, worker.recv()))


def _asked(actor: Any, network_input: Any) -> Any:
    library = ray()
    try:
        return library.get(actor.answer.remote(network_input))
    except library.exceptions.RayError as error:
        from lungfield.batch.gpu import NetworkError

        cause = getattr(error, "cause", None)
        return cause if isinstance(cause, NetworkError) else NetworkError("the network's actor failed on it")
