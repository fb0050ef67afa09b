"""Training and measuring in several processes: what the configs `multi_gpu_*.yaml` call.

One process a GPU, started by torchrun. Without GPUs the processes share the cores of the CPU: good for trying
things out.
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
    """Join the processes that torchrun started; from now on the first one alone logs what is no warning.

    Raises:
        BundleError: this process was not started by torchrun, or there is no GPU left for it.
    """
    if "RANK" not in os.environ:
        raise BundleError(
            "multi_gpu_train.yaml and multi_gpu_evaluate.yaml are for several processes. Start these with "
            "'torchrun --standalone --nproc_per_node=2 -m monai.bundle run ...', or leave that file away."
        )
    place = device()
    if place.type == "cuda":
        torch.cuda.set_device(place)
    if not distributed.is_initialized():
        distributed.init_process_group("nccl" if place.type == "cuda" else "gloo")
    if not is_first():
        logging.disable(logging.INFO)


def stop() -> None:
    """Leave the other processes, at the end of a run."""
    if distributed.is_initialized():
        distributed.destroy_process_group()


def refuse_copies() -> None:
    """Refuse to be one of several processes that would all do the same and write the same files.

    Raises:
        BundleError: torchrun started several, and no multi_gpu config is on top to divide the work.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1 and not distributed.is_initialized():
        raise BundleError(
            "Several processes were started, and each would do the whole work. Put multi_gpu_train.yaml or "
            "multi_gpu_evaluate.yaml behind the other config files."
        )


def rank() -> int:
    """The number of this process, from 0; 0 where it is alone."""
    return int(distributed.get_rank()) if distributed.is_initialized() else 0


def count() -> int:
    """The number of processes; 1 without others."""
    return int(distributed.get_world_size()) if distributed.is_initialized() else 1


def is_first() -> bool:
    """Whether this process is the one that logs and writes."""
    return rank() == 0


def device() -> torch.device:
    """The GPU of this process, or the CPU where the machine has none.

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
    """Let all processes train one network, which lies on this process's device already.

    All start from the weights of the first process. On CUDA the statistics of batch normalisation are taken
    over all processes, so that N processes train as one with a batch N times as large. torch cannot do so on
    a CPU: there each normalises by its own share of the batch, and the running statistics of the first are
    kept. The first forward pass of a validation, like every one of training, takes them over to the others.
    """
    place = next(network.parameters()).device
    if place.type != "cuda":
        return DistributedDataParallel(network)
    return DistributedDataParallel(synchronised(network), device_ids=[place])


def synchronised(network: nn.Module) -> nn.Module:
    """Replace batch normalisation by the one that takes its statistics over all processes.

    By timm's function: torch's own would drop the activation that is part of timm's layers of normalisation.
    """
    converted: nn.Module = convert_sync_batchnorm(network)
    return converted


def check_shares(dataset: Sized) -> None:
    """Refuse by `DataError` a section with fewer images than processes."""
    images, processes = len(dataset), count()
    if processes > 1 and images < processes:
        raise DataError(f"{processes} processes cannot share {images} images: lower --nproc_per_node.")


def from_all(own: T) -> list[T]:
    """What each process gave, in the order of their ranks; waits until all have."""
    if not distributed.is_initialized():
        return [own]
    gathered: list[Any] = [None] * distributed.get_world_size()
    distributed.all_gather_object(gathered, own)
    return gathered


def in_order_of_data(shares: Sequence[Sequence[T]]) -> list[T]:
    """Put together what a `DistributedSampler` without shuffling dealt out one by one, rank by rank."""
    longest = max(len(share) for share in shares)
    return [share[turn] for turn in range(longest) for share in shares if turn < len(share)]
