"""Post-processing and analysis of masks: cleaning, sides, measurements, quality flags, reference masks."""

from lungfield.mask.chest import Line
from lungfield.mask.cleaning import clean_mask
from lungfield.mask.density import Density, mean_density
from lungfield.mask.features import flip_agreement
from lungfield.mask.heart import HeartMeasurements, NoRatio, measure_heart
from lungfield.mask.measurements import Extent, Measurements, measure
from lungfield.mask.metrics import METRICS, Agreement, Summary, agreement, summarise
from lungfield.mask.mirror import is_mirrored
from lungfield.mask.quality import Flag, Quality, assess, logistic
from lungfield.mask.reading import read_mask, read_reference, referenced_sop_instance_uids
from lungfield.mask.regions import Regions
from lungfield.mask.sides import split_lungs
from lungfield.mask.structures import native_structures, with_structures

__all__ = [
    "METRICS",
    "Agreement",
    "Density",
    "Extent",
    "Flag",
    "HeartMeasurements",
    "Line",
    "Measurements",
    "NoRatio",
    "Quality",
    "Regions",
    "Summary",
    "agreement",
    "assess",
    "clean_mask",
    "flip_agreement",
    "is_mirrored",
    "logistic",
    "mean_density",
    "measure",
    "measure_heart",
    "native_structures",
    "read_mask",
    "read_reference",
    "referenced_sop_instance_uids",
    "split_lungs",
    "summarise",
    "with_structures",
]
