"""Learning rates and frozen parts: pretrained weights get a lower learning rate than new ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn

from lungfield.errors import BundleError


def parameter_groups(
    network: nn.Module, learning_rate: float, pretrained_share: float
) -> list[dict[str, Any]]:
    """The parameter groups of a network for a torch optimizer.

    Args:
        network: the network; its attribute `pretrained_parts` names its pretrained encoders.
        learning_rate: of randomly initialised parameters.
        pretrained_share: the learning rate of the pretrained parts, as a fraction of `learning_rate`.

    Returns:
        Groups with 'params' and 'lr'; parameters that `train_parts` froze are in none.
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
    """Freeze all parts of a network except some, and return the network.

    Frozen parts keep their weights and the running statistics of their batch normalisation.

    Args:
        network: the network; it is changed in place.
        parts: names of the modules to train, such as 'further'; None for all.

    Raises:
        BundleError: the network has no such module.
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
    """Keep a frozen layer in evaluation mode, as the trainer sets the whole network to training mode."""
    layer.training = False
