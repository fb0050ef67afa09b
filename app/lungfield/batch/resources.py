"""The cores of a machine, and how they are shared out among reading, the network and writing."""

from __future__ import annotations

import os
from dataclasses import dataclass

_CPU_THREADS = 8
_CUDA_BATCH = 16
# Of the largest detectors, 4,300 x 4,300 pixels in float32, with what belongs to them.
_LARGE_RADIOGRAPH_BYTES = 100 << 20


@dataclass(frozen=True)
class Resources:
    """Numbers of processes and threads.

    Attributes:
        cores: CPU cores that this process may use.
        workers: processes that read and write.
        network_threads: batches of the network at a time.
        torch_threads: threads within one batch.
        batch_size: radiographs to a batch.
    """

    cores: int
    workers: int
    network_threads: int
    torch_threads: int
    batch_size: int


def share_out(device: str, workers: int | None = None, batch_size: int | None = None) -> Resources:
    """Share the machine out among reading, the network and writing.

    Args:
        device: type of the network's device, 'cpu' or 'cuda'.
        workers: processes that read and write; None for one each core.
        batch_size: radiographs to a batch on CUDA; None for 16. On a CPU each batch is a single one.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    on_cpu = device == "cpu"
    return Resources(
        cores=cores,
        workers=workers or cores,
        network_threads=min(cores, _CPU_THREADS) if on_cpu else 1,
        torch_threads=1 if on_cpu else cores,
        batch_size=1 if on_cpu else batch_size or _CUDA_BATCH,
    )


def files_held(batch_size: int, workers: int, memory_bytes: int) -> int:
    """How many files a worker may hold between reading and writing.

    Two batches for the network, shared among the workers: one in work, one waiting. But no more large
    radiographs than fit into half of a worker's memory; the other half is for the file that it reads or
    writes at that moment.

    Args:
        batch_size: radiographs to a batch.
        workers: number of worker processes.
        memory_bytes: what a worker may take for its files.
    """
    wanted = max(2, 2 * batch_size // workers)
    return max(1, min(wanted, memory_bytes // 2 // _LARGE_RADIOGRAPH_BYTES))
