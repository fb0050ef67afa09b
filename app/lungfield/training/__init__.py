"""What the bundles train and are measured with beyond MONAI and ignite, and what their runs go on from."""

from lungfield.training.loss import PartialDiceCELoss
from lungfield.training.optimizer import parameter_groups, train_parts
from lungfield.training.sampling import WeightedSetSampler

__all__ = [
    "PartialDiceCELoss",
    "WeightedSetSampler",
    "parameter_groups",
    "train_parts",
]
