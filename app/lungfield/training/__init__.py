"""What the bundles train with beyond MONAI and ignite: labels that are partly unknown, and sets by weight."""

from lungfield.training.loss import PartialDiceCELoss
from lungfield.training.optimizer import parameter_groups
from lungfield.training.pseudo_labels import PseudoLabels, make_pseudo_labels
from lungfield.training.sampling import WeightedSetSampler

__all__ = [
    "PartialDiceCELoss",
    "PseudoLabels",
    "WeightedSetSampler",
    "make_pseudo_labels",
    "parameter_groups",
]
