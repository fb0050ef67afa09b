"""What the bundles train with beyond MONAI and ignite: labels that are partly unknown, and sets by weight."""

from lungfield.training.loss import PartialDiceCELoss
from lungfield.training.optimizer import parameter_groups
from lungfield.training.sampling import WeightedSetSampler

__all__ = [
    "PartialDiceCELoss",
    "WeightedSetSampler",
    "parameter_groups",
]
