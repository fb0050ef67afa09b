"""The chest between the lateral borders of the lungs: its width in each row, and its tilt."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from lungfield.labels import LUNGS
from lungfield.mask.features import likeness
from lungfield.mask.regions import Region, Regions

Mask = NDArray[np.bool_]
Point = tuple[int, int]
"""(row, column) of a pixel."""


@dataclass(frozen=True)
class Line:
    """A horizontal line from the first to the last of its pixels, both included."""

    row: int
    first_column: int
    last_column: int

    @property
    def length_px(self) -> int:
        """Its number of pixels."""
        return self.last_column - self.first_column + 1

    @property
    def middle(self) -> float:
        """The column of its midpoint."""
        return (self.first_column + self.last_column) / 2


@dataclass(frozen=True)
class Chest:
    """The rows that contain both lungs, from the right lung's lateral border to the left lung's.

    Attributes:
        rows: (n,) rows, ascending.
        first_columns: (n,) column of the lateral border on the image's left.
        last_columns: (n,) column of the lateral border on the image's right.
        box: rows and columns of the bounding box of both lungs.
        likeness: similarity to the lung atlas, in [0, 1].
        width_ratio: width of the narrower lung divided by that of the wider one, in (0, 1].
        mediastinum: fraction of the distance between the lateral borders that is no lung, in [0, 1]; the
            median over the rows.
        tilt_degrees: clockwise rotation of the picture in degrees: the mean of the slopes between the tops of
            the lungs and between their centres.
    """

    rows: NDArray[np.intp]
    first_columns: NDArray[np.intp]
    last_columns: NDArray[np.intp]
    box: tuple[slice, slice]
    likeness: float
    width_ratio: float
    mediastinum: float
    tilt_degrees: float

    @classmethod
    def of(cls, regions: Regions, aspect: float) -> Chest | None:
        """From the regions of the lungs and the height / width of a pixel; None if no row has both lungs."""
        right, left = (regions[label.name] for label in LUNGS)
        if right is None or left is None:
            return None
        rows = np.intersect1d(right.rows, left.rows, assume_unique=True)
        lungs = regions.lungs
        if lungs is None or rows.size == 0:
            return None
        places = rows - lungs.box[0].start
        both = lungs.mask[places]
        first = both.argmax(axis=1)
        last = both.shape[1] - 1 - cv2.flip(both.view(np.uint8), 1).view(bool).argmax(axis=1)
        slopes = [
            _slope_degrees(_top(right), _top(left), aspect),
            _slope_degrees(right.projection.centre, left.projection.centre, aspect),
        ]
        left_end = lungs.box[1].start
        return cls(
            rows,
            first + left_end,
            last + left_end,
            lungs.box,
            likeness(lungs.mask),
            min(right.width_px, left.width_px) / max(right.width_px, left.width_px),
            float(np.median(1 - lungs.projection.row_counts[places] / (last - first + 1))),
            float(np.mean(slopes)),
        )

    @property
    def widest(self) -> Line:
        """The widest row of the chest; the uppermost of several."""
        place = int((self.last_columns - self.first_columns).argmax())
        return Line(int(self.rows[place]), int(self.first_columns[place]), int(self.last_columns[place]))

    @property
    def middles(self) -> NDArray[np.float64]:
        """(n,) column of the midpoint between the lateral borders in each row."""
        return (self.first_columns + self.last_columns) / 2


def _top(lung: Region) -> Point:
    """The first pixel of the topmost row."""
    return lung.box[0].start, lung.box[1].start + int(lung.mask[0].argmax())


def _slope_degrees(right: tuple[float, ...], left: tuple[float, ...], aspect: float) -> float:
    """The slope in degrees from one (row, column) to another, positive downwards."""
    return math.degrees(math.atan2((left[0] - right[0]) * aspect, left[1] - right[1]))
