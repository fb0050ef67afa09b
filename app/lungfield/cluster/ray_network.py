"""The network on the GPUs of a Ray cluster: actors that batch what the workers of other actors ask."""

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
"""Radiographs that a network actor has in hand at most."""

_ROUNDING = 1e-6


def ray() -> Any:
    """Ray, imported on use: the engine of one machine does without."""
    import ray as library
    import ray.data

    return library


def gpu_share(options: ClusterOptions, device: str) -> float:
    """The GPUs that each network actor takes; 0 to run the network on CPUs."""
    if options.num_gpus is not None:
        return options.num_gpus
    return 1.0 if device != "cpu" and ray().cluster_resources().get("GPU", 0) else 0.0


def start_networks(work: Work, share: float) -> list[Any]:
    """Actors that run the network on the GPUs of the cluster; none where the workers run it themselves.

    Args:
        work: what the shards share.
        share: the GPUs that each actor takes.

    Raises:
        LungfieldError: an actor cannot load the bundle, or there are too few GPUs.
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
        num_cpus=0,  # its GPU is what it waits for
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
    """End them."""
    for actor in actors:
        ray().kill(actor)


class NetworkActor:
    """Runs the network on the part of a GPU that Ray gave it, in batches of what is asked at the time."""

    def __init__(self, work: Work) -> None:
        self._idle: list[Any] = []
        self._error: bytes | None = None
        try:
            self._load(work)
        except LungfieldError as error:
            self._error = pickle.dumps(error)

    def ready(self) -> bytes | None:
        """Why the network cannot be run; None where it can."""
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
        """What the network says to an input (C, h, w) float32: logits, and those of the mirrored input."""
        import torch

        ask = self._idle.pop()  # Ray calls this in as many threads as there are
        try:
            logits, mirrored = ask(torch.from_numpy(network_input.copy()))
        finally:
            self._idle.append(ask)
        return logits.numpy(), None if mirrored is None else mirrored.numpy()


class RemoteNetwork:
    """What the workers of an actor ask: a thread for each, which asks a network actor in turn."""

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
