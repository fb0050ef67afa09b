"""MONAI dictionary transforms for the bundles' configs, in addition to MONAI's own."""

from lungfield.transforms.augmentation import RandCollimationd, RandForeignObjectsd, RandOpacityd
from lungfield.transforms.body import BodyMaskd
from lungfield.transforms.classes import (
    ClassesAndUnknownd,
    KnownLungsd,
    RandMirrord,
    classes_and_unknown,
    lung_logits,
    read_structures,
    require_channels,
    structure_channels,
)
from lungfield.transforms.postprocessing import LungLabelMapd, RestoreGridd
from lungfield.transforms.reading import RadiographReader, as_monai

__all__ = [
    "BodyMaskd",
    "ClassesAndUnknownd",
    "KnownLungsd",
    "LungLabelMapd",
    "RadiographReader",
    "RandCollimationd",
    "RandForeignObjectsd",
    "RandMirrord",
    "RandOpacityd",
    "RestoreGridd",
    "as_monai",
    "classes_and_unknown",
    "lung_logits",
    "read_structures",
    "require_channels",
    "structure_channels",
]
