"""What bounds the whole: the network alone, and reading alone, as the engine runs each of them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import cycle, islice
from multiprocessing.connection import wait
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from lungfield.batch.network import NetworkThreads
from lungfield.batch.processes import start_forkserver
from lungfield.batch.resources import Resources
from lungfield.bundles.predictor import Predictor
from lungfield.radiograph import read_radiograph

_BATCHES_AT_LEAST = 16


def network_rate(
    predictor: Predictor, inputs: Sequence[NDArray[np.float32]], engine: Resources, *, count: int
) -> float:
    """Radiographs a second through the network, prepared ones in memory, as the engine runs it.

    Args:
        predictor: the loaded bundle.
        inputs: what the network is given, each (C, h, w); gone through again and again.
        engine: numbers of threads and size of a batch.
        count: how many radiographs; more are taken where they would make only a few batches.
    """
    torch.set_num_threads(engine.torch_threads)
    network = NetworkThreads(predictor, batch_size=engine.batch_size, threads=engine.network_threads)
    at_a_time = engine.batch_size * engine.network_threads
    try:
        _pass_through(network, inputs, 2 * at_a_time)  # the first ones choose algorithms and take memory
        count = max(count, _BATCHES_AT_LEAST * at_a_time)
        return count / _pass_through(network, inputs, count)
    finally:
        network.close()


def _pass_through(network: NetworkThreads, inputs: Sequence[NDArray[np.float32]], count: int) -> float:
    """Seconds for `count` radiographs."""
    start = time.perf_counter()
    for ticket, one in enumerate(islice(cycle(inputs), count)):
        network.submit(ticket, one)
    missing = count
    while missing:
        wait([network.bell])
        for _, answer in network.answers():
            if isinstance(answer, Exception):
                raise answer
            missing -= 1
    return time.perf_counter() - start


def reading_rate(files: Sequence[Path], *, workers: int) -> float:
    """Radiographs a second from files to pixels in as many processes as the engine has workers."""
    with ProcessPoolExecutor(workers, mp_context=start_forkserver()) as pool:
        # Each process imports its decoders with its first file.
        list(pool.map(_read, list(islice(cycle(files), 4 * workers))))
        start = time.perf_counter()
        list(pool.map(_read, files))
        return len(files) / (time.perf_counter() - start)


def _read(file: Path) -> None:
    read_radiograph(file)
