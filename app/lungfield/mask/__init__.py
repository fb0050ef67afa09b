"""Masks after the network: cleaning, right and left, sizes, and agreement with a reference."""

from lungfield.mask.cleaning import clean_mask
from lungfield.mask.measurements import Extent, Measurements, measure
from lungfield.mask.metrics import METRICS, Agreement, Summary, agreement, summarise
from lungfield.mask.reading import read_mask
from lungfield.mask.sides import split_lungs

__all__ = [
    "METRICS",
    "Agreement",
    "Extent",
    "Measurements",
    "Summary",
    "agreement",
    "clean_mask",
    "measure",
    "read_mask",
    "split_lungs",
    "summarise",
]
