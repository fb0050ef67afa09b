"""The displayed grey value of the lungs on a radiograph."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from lungfield.labels import LEFT_LUNG, RIGHT_LUNG
from lungfield.mask.regions import Regions
from lungfield.records import Radiograph


@dataclass(frozen=True)
class GreyLevel:
    """The displayed grey value of one structure, 0 = black, 1 = white.

    Attributes:
        mean: over its pixels, in [0, 1].
        sd: population standard deviation over its pixels, in [0, 0.5].
    """

    mean: float
    sd: float


@dataclass(frozen=True)
class Density:
    """The grey values of the lungs; None for a structure without pixels.

    Attributes:
        right_lung: the patient's right lung.
        left_lung: the patient's left lung.
        total: the pixels of both together.
    """

    right_lung: GreyLevel | None
    left_lung: GreyLevel | None
    total: GreyLevel | None

    def to_row(self) -> dict[str, float | None]:
        """One flat row for a table: `right_lung_mean_density`, `right_lung_sd_density` and so on."""
        row: dict[str, float | None] = {}
        for structure, level in vars(self).items():
            row[f"{structure}_mean_density"] = None if level is None else level.mean
            row[f"{structure}_sd_density"] = None if level is None else level.sd
        return row


def mean_density(radiograph: Radiograph, regions: Regions) -> Density:
    """Measure the displayed grey value of the lungs over all of their pixels.

    This is a relative density: the grey value after the file's windowing, which depends on exposure,
    processing and window. It is not comparable between machines, nor between radiographs with different
    windowing; right and left lung of one radiograph are comparable.

    Args:
        radiograph: the radiograph.
        regions: of a label map of the same shape. Lung of unknown side is ignored.

    Returns:
        Mean and standard deviation of each lung and of both together.
    """
    moments = _moments(radiograph.pixels, regions)
    right, left = (_level(lung) for lung in moments)
    return Density(right, left, _level(moments.sum(axis=0)))


def _moments(pixels: NDArray[np.float32], regions: Regions) -> NDArray[np.float64]:
    """Count, sum and sum of squares of the pixels of the right and the left lung: (2, 3) float64."""
    moments = np.zeros((2, 3))
    for row, lung in enumerate((RIGHT_LUNG, LEFT_LUNG)):
        if (region := regions[lung.name]) is not None:
            within = region.mask.view(np.uint8)
            mean, sd = (float(one[0, 0]) for one in cv2.meanStdDev(pixels[region.box], mask=within))
            count = region.area_px
            moments[row] = count, count * mean, count * (sd**2 + mean**2)
    return moments


def _level(moments: NDArray[np.float64]) -> GreyLevel | None:
    count, total, squares = moments.tolist()
    if count == 0:
        return None
    mean = total / count
    return GreyLevel(mean, math.sqrt(max(0.0, squares / count - mean**2)))
