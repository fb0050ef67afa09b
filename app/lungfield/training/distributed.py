"""Training and evaluation in several processes, for the configs `multi_gpu_*.yaml`.

torchrun starts one process per GPU. Without GPUs the processes share the cores of the CPU, for tests.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence, Sized
from typing import Any, TypeVar

import torch
from timm.layers import convert_sync_batchnorm
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

from lungfield.errors import BundleError, DataError

T = TypeVar("T")


def start() -> None:
    """Join the process group of torchrun; from now on only the first process logs below WARNING.

    Raises:
        BundleError: torchrun did not start this process, or there is no GPU for it.
    """
    if "RANK" not in os.environ:
        raise BundleError(
            "multi_gpu_train.yaml and multi_gpu_evaluate.yaml are for several processes. Start them with "
            "'torchrun --standalone --nproc_per_node=2 -m monai.bundle run ...', or omit that file."
        )
    place = device()
    if place.type == "cuda":
        torch.cuda.set_device(place)
    if not distributed.is_initialized():
        distributed.init_process_group("nccl" if place.type == "cuda" else "gloo")
    if not is_first():
        logging.disable(logging.INFO)


def stop() -> None:
    """Leave the process group at the end of a run."""
    if distributed.is_initialized():
        distributed.destroy_process_group()


def refuse_copies() -> None:
    """Refuse to run in several processes that would all do the same work and write the same files.

    Raises:
        BundleError: torchrun started several processes, but no multi_gpu config divides the work.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1 and not distributed.is_initialized():
        raise BundleError(
            "Several processes were started, and each would do the whole work. Put multi_gpu_train.yaml or "
            "multi_gpu_evaluate.yaml behind the other config files."
        )


def rank() -> int:
    """The rank of this process; 0 for a single process."""
    return int(distributed.get_rank()) if distributed.is_initialized() else 0


def count() -> int:
    """The number of processes."""
    return int(distributed.get_world_size()) if distributed.is_initialized() else 1


def is_first() -> bool:
    """Whether this process is the one that logs and writes."""
    return rank() == 0


def device() -> torch.device:
    """The GPU of this process, or the CPU on a machine without GPUs.

    Raises:
        BundleError: there are more processes than GPUs on this machine.
    """
    if not torch.cuda.is_available():
        return torch.device("cpu")
    number, count = int(os.environ.get("LOCAL_RANK", "0")), torch.cuda.device_count()
    if number >= count:
        raise BundleError(f"This machine has {count} GPUs: give torchrun --nproc_per_node={count} at most.")
    return torch.device("cuda", number)


def parallel(network: nn.Module) -> nn.Module:
    """Wrap a network, which is on this process's device, so that all processes train it together.

    All start from the weights of the first process. On CUDA, batch normalisation uses the statistics of all
    processes, so that N processes train like one with an N times larger batch. torch does not support this on
    a CPU: there each process normalises with its own share of the batch, and the running statistics of the
    first process are used. Every forward pass, also the first of a validation, copies them to the others.
    """
    place = next(network.parameters()).device
    if place.type != "cuda":
        return DistributedDataParallel(network)
    return DistributedDataParallel(synchronised(network), device_ids=[place])


def synchronised(network: nn.Module) -> nn.Module:
    """Replace batch normalisation by the version that uses the statistics of all processes.

    With timm's function: torch's would drop the activation that timm's normalisation layers include.
    """
    converted: nn.Module = convert_sync_batchnorm(network)
    return converted


def check_shares(dataset: Sized) -> None:
    """Raise `DataError` for a section with fewer images than processes."""
    images, processes = len(dataset), count()
    if processes > 1 and images < processes:
        raise DataError(f"{processes} processes cannot share {images} images: lower --nproc_per_node.")


def from_all(own: T) -> list[T]:
    """Gather the values of all processes, in the order of their ranks; blocks until all have called it."""
    if not distributed.is_initialized():
        return [own]
    gathered: list[Any] = [None] * distributed.get_world_size()
    distributed.all_gather_object(gathered, own)
    return gathered


def in_order_of_data(shares: Sequence[Sequence[T]]) -> list[T]:
    """Restore the order of items that a `DistributedSampler` without shuffling distributed over the ranks."""
    longest = max(len(share) for share in shares)
    return [share[turn] for turn in range(longest) for share in shares if turn < len(share)]
