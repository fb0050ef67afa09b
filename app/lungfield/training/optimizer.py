"""Rates of learning: weights that were learnt before change more slowly than new ones."""

from __future__ import annotations

from typing import Any

from torch import nn


def parameter_groups(
    network: nn.Module, learning_rate: float, pretrained_share: float
) -> list[dict[str, Any]]:
    """The parameters of a network in groups for an optimizer of torch.

    What starts at random gets `learning_rate`; the encoders from timm that the network names in
    `pretrained_parts` get its fraction `pretrained_share`.
    """
    inner: Any = getattr(network, "module", network)  # within DistributedDataParallel
    parts = [getattr(inner, name) for name in getattr(inner, "pretrained_parts", ())]
    learnt = [parameter for part in parts for parameter in part.parameters()]
    known = {id(parameter) for parameter in learnt}
    new = [parameter for parameter in inner.parameters() if id(parameter) not in known]
    groups: list[dict[str, Any]] = [{"params": new, "lr": learning_rate}]
    if learnt:
        groups.append({"params": learnt, "lr": learning_rate * pretrained_share})
    return groups
