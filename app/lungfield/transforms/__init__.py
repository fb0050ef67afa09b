"""The MONAI dictionary transforms that the bundles' configs name, beside MONAI's own."""

from lungfield.transforms.augmentation import RandCollimationd, RandForeignObjectsd, RandOpacityd
from lungfield.transforms.body import BodyMaskd
from lungfield.transforms.partial_labels import LeaveOutUnknownd, LungAndUnknownd, lung_and_unknown
from lungfield.transforms.postprocessing import LungLabelMapd, RestoreGridd
from lungfield.transforms.reading import RadiographReader, as_monai

__all__ = [
    "BodyMaskd",
    "LeaveOutUnknownd",
    "LungAndUnknownd",
    "LungLabelMapd",
    "RadiographReader",
    "RandCollimationd",
    "RandForeignObjectsd",
    "RandOpacityd",
    "RestoreGridd",
    "as_monai",
    "lung_and_unknown",
]
