"""Training and evaluation of bundles, beyond MONAI and ignite: loss, sampling, checkpoints, handlers."""

from lungfield.training.loss import PartialDiceCELoss
from lungfield.training.optimizer import parameter_groups, train_parts
from lungfield.training.sampling import WeightedSetSampler

__all__ = [
    "PartialDiceCELoss",
    "WeightedSetSampler",
    "parameter_groups",
    "train_parts",
]
