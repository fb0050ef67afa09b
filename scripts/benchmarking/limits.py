"""Upper bounds of the rate: the network alone and reading alone, as the engine runs them."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from lungfield.batch.pool import available_cores
from lungfield.batch.processes import environment_of_workers, prepare_worker, start_forkserver
from lungfield.batch.run import BATCH_SIZE
from lungfield.batch.worker import compute_in_one_thread
from lungfield.bundles import Bundle
from lungfield.bundles.predictor import Predictor
from lungfield.radiograph import read_radiograph

_BATCHES_AT_LEAST = 16


@dataclass(frozen=True)
class Engine:
    """How the engine uses the machine: CPU cores, worker processes, device and backend of the network."""

    cores: int
    workers: int
    device: str
    backend: str

    @classmethod
    def of(cls, predictor: Predictor, workers: int | None) -> Engine:
        """The choice of the engine for a bundle; `workers` are as many as the cores where they are None."""
        cores = available_cores()
        return cls(cores, workers or cores, predictor.device.type, predictor.backend)


def network_rate(
    predictor: Predictor, inputs: Sequence[NDArray[np.float32]], engine: Engine, *, count: int
) -> float:
    """Radiographs per second of the network alone, from prepared inputs in memory, as the engine runs it.

    Args:
        predictor: the loaded bundle.
        inputs: prepared radiographs, each (C, h, w); taken in turn.
        engine: where the network runs.
        count: how many radiographs at least.
    """
    if engine.device != "cpu":
        return _rate_in_batches(predictor, inputs, count)
    count = max(count, _BATCHES_AT_LEAST * engine.workers)
    with (
        environment_of_workers(),
        ProcessPoolExecutor(
            engine.workers,
            mp_context=start_forkserver(),
            initializer=_load,
            initargs=(predictor.bundle, engine.backend, inputs),
        ) as pool,
    ):
        # Warm-up: the first calls choose algorithms and allocate memory.
        return _rate(pool, _answer, range(4 * engine.workers), range(count))


def _rate_in_batches(predictor: Predictor, inputs: Sequence[NDArray[np.float32]], count: int) -> float:
    batch = torch.from_numpy(np.stack(list(islice(cycle(inputs), BATCH_SIZE))))
    batches = max(_BATCHES_AT_LEAST, count // BATCH_SIZE)
    predictor.answers(batch)
    start = time.perf_counter()
    for _ in range(batches):
        predictor.answers(batch)
    return batches * BATCH_SIZE / (time.perf_counter() - start)


_loaded: dict[str, Any] = {}
"""In a process of `network_rate`: its predictor and inputs."""


def _load(bundle: Bundle, backend: str, inputs: Sequence[NDArray[np.float32]]) -> None:
    prepare_worker()
    compute_in_one_thread()
    predictor = Predictor(bundle, device="cpu", backend=backend)
    _loaded.update(predictor=predictor, inputs=[torch.from_numpy(one) for one in inputs])


def _answer(number: int) -> None:
    _loaded["predictor"].answer(_loaded["inputs"][number % len(_loaded["inputs"])])


def reading_rate(files: Sequence[Path], *, workers: int) -> float:
    """Radiographs per second from files to pixels, with as many processes as the engine has workers."""
    with ProcessPoolExecutor(workers, mp_context=start_forkserver()) as pool:
        # Each process imports its decoders with its first file.
        return _rate(pool, _read, list(islice(cycle(files), 4 * workers)), files)


def _read(file: Path) -> None:
    read_radiograph(file)


def _rate(pool: ProcessPoolExecutor, work: Callable[[Any], None], first: Sequence, timed: Sequence) -> float:
    """Items per second of `timed`, after a warm-up with `first`."""
    list(pool.map(work, first))
    start = time.perf_counter()
    list(pool.map(work, timed))
    return len(timed) / (time.perf_counter() - start)
