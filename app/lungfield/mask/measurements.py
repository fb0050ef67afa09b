"""Areas and extents of the lungs in a label map."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lungfield.labels import BACKGROUND, LEFT_LUNG, RIGHT_LUNG
from lungfield.mask.components import bounding_box
from lungfield.records import Spacing


@dataclass(frozen=True)
class Extent:
    """Area and bounding box of one structure; an absent structure has zeros.

    Attributes:
        area_px: number of pixels.
        height_px: rows from the topmost to the lowest pixel, both included.
        width_px: columns from the first to the last pixel, both included.
        area_mm2: None if the spacing is not known; likewise `height_mm` and `width_mm`.
    """

    area_px: int
    height_px: int
    width_px: int
    area_mm2: float | None = None
    height_mm: float | None = None
    width_mm: float | None = None


@dataclass(frozen=True)
class Measurements:
    """The measurements of the lungs.

    Attributes:
        right_lung: the patient's right lung.
        left_lung: the patient's left lung.
        total: all lung pixels, including those of unknown side, with the box around both lungs.
        spacing_plane: plane of the values in mm: 'patient', 'detector' or 'unknown' (`Spacing.plane`); None
            without values in mm.
    """

    right_lung: Extent
    left_lung: Extent
    total: Extent
    spacing_plane: str | None = None

    def to_row(self) -> dict[str, int | float | str | None]:
        """One flat row for a table: `right_lung_area_px` and so on, always with the same columns."""
        row: dict[str, int | float | str | None] = {}
        for structure in ("right_lung", "left_lung", "total"):
            row |= {f"{structure}_{name}": value for name, value in vars(getattr(self, structure)).items()}
        return row | {"spacing_plane": self.spacing_plane}


def measure(label_map: NDArray[np.uint8], spacing: Spacing | None) -> Measurements:
    """Measure the lungs in a (H, W) uint8 label map with the values of `lungfield.labels`.

    Values in mm are in the plane of `spacing`; without a spacing they are None.
    """
    return Measurements(
        right_lung=_extent(label_map == RIGHT_LUNG.value, spacing),
        left_lung=_extent(label_map == LEFT_LUNG.value, spacing),
        total=_extent(label_map != BACKGROUND, spacing),
        spacing_plane=None if spacing is None else spacing.plane,
    )


def _extent(mask: NDArray[np.bool_], spacing: Spacing | None) -> Extent:
    box = bounding_box(mask)
    area, height, width = 0, 0, 0
    if box is not None:
        area = int(np.count_nonzero(mask[box]))
        height, width = (side.stop - side.start for side in box)
    if spacing is None:
        return Extent(area, height, width)
    lengths_mm = height * spacing.row_mm, width * spacing.column_mm
    return Extent(area, height, width, area * spacing.pixel_area_mm2, *lengths_mm)
