"""Rates of learning: weights that were learnt before change more slowly than new ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn

from lungfield.errors import BundleError


def parameter_groups(
    network: nn.Module, learning_rate: float, pretrained_share: float
) -> list[dict[str, Any]]:
    """The parameters of a network in groups for an optimizer of torch.

    What starts at random gets `learning_rate`; the encoders from timm that the network names in
    `pretrained_parts` get its fraction `pretrained_share`. What `train_parts` keeps as it is is in no group.
    """
    inner: Any = getattr(network, "module", network)  # within DistributedDataParallel
    parts = [getattr(inner, name) for name in getattr(inner, "pretrained_parts", ())]
    pretrained = [parameter for part in parts for parameter in part.parameters()]
    known = {id(parameter) for parameter in pretrained}
    learnt = [one for one in pretrained if one.requires_grad]
    new = [one for one in inner.parameters() if id(one) not in known and one.requires_grad]
    groups: list[dict[str, Any]] = [{"params": new, "lr": learning_rate}]
    if learnt:
        groups.append({"params": learnt, "lr": learning_rate * pretrained_share})
    return groups


def train_parts(network: nn.Module, parts: Sequence[str] | None) -> nn.Module:
    """Let training change some parts of a network alone, and return the network.

    All else keeps its weights, and its batch normalisation the mean and variance that it has learnt.

    Args:
        network: what is to be trained.
        parts: names of its modules, such as 'further'; None for all.

    Raises:
        BundleError: the network has no such part.
    """
    if parts is None:
        return network
    modules = dict(network.named_children())
    unknown = sorted(set(parts) - set(modules))
    if unknown:
        raise BundleError(f"The network has no part '{unknown[0]}' to train: choose {', '.join(modules)}.")
    for name, module in modules.items():
        if name not in parts:
            module.requires_grad_(False)
            for layer in module.modules():
                layer.register_forward_pre_hook(_stay_in_evaluation)
    return network


def _stay_in_evaluation(layer: nn.Module, _inputs: Any) -> None:
    """A trainer puts the whole network into training before each step."""
    layer.training = False
