"""Sample the radiographs of an epoch with a weight for each data set."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch.utils.data import DistributedSampler

from lungfield.errors import DataError


class WeightedSetSampler(DistributedSampler[int]):  # to which MONAI's engines tell the epoch
    """Draws from each data set in proportion to its weight; every epoch has the same number of items.

    With weight 1, each image of a set is drawn once per epoch, with 2 twice, and with 0.25 a random quarter
    of the set is drawn. A set without a weight has weight 1.

    Args:
        data: items with `dataset`, as from `lungfield.datasets.load_data_list`.
        weights: weight by name of data set.
        seed: of the order.
        replicas: number of processes that share the images.
        rank: of this process. All processes draw the same order, and each uses its share; some images are
            repeated if the number of images is not divisible.

    Raises:
        DataError: a weight is for an unknown set or negative, or no image is left to draw.
    """

    def __init__(
        self,
        data: Sequence[Mapping[str, Any]],
        weights: Mapping[str, float] | None = None,
        *,
        seed: int = 0,
        replicas: int = 1,
        rank: int = 0,
    ) -> None:
        weights = weights or {}
        members: dict[str, list[int]] = {}
        for position, item in enumerate(data):
            members.setdefault(item["dataset"], []).append(position)
        unknown = sorted(set(weights) - set(members))
        if unknown:
            raise DataError(
                f"set_weights names '{unknown[0]}', which has no images. "
                f"The sets are: {', '.join(sorted(members))}."
            )
        if any(weight < 0 for weight in weights.values()):
            raise DataError("set_weights cannot be negative.")
        self.sets = [
            (torch.tensor(positions), round(weights.get(name, 1) * len(positions)))
            for name, positions in sorted(members.items())
        ]
        super().__init__(data, replicas, rank, seed=seed)
        if not len(self):
            raise DataError("set_weights leave no image to train on.")

    def __len__(self) -> int:
        return -(-sum(count for _, count in self.sets) // self.num_replicas)

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(self.seed + 100003 * self.epoch)
        self.epoch += 1
        drawn = []
        for positions, count in self.sets:
            whole, rest = divmod(count, len(positions))
            drawn += [positions] * whole
            drawn.append(positions[torch.randperm(len(positions), generator=generator)[:rest]])
        every = torch.cat(drawn)
        order = every[torch.randperm(len(every), generator=generator)].tolist()
        shared = len(self) * self.num_replicas
        yield from (order * (1 + shared // len(order)))[self.rank : shared : self.num_replicas]
