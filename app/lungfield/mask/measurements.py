"""Areas and extents of the lungs in a label map."""

from __future__ import annotations

from dataclasses import dataclass

from lungfield.labels import LEFT_LUNG, RIGHT_LUNG
from lungfield.mask.regions import Region, Regions
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


def measure(regions: Regions, spacing: Spacing | None) -> Measurements:
    """Measure the lungs among the regions of a label map.

    Values in mm are in the plane of `spacing`; without a spacing they are None.
    """
    return Measurements(
        right_lung=_extent(regions[RIGHT_LUNG.name], spacing),
        left_lung=_extent(regions[LEFT_LUNG.name], spacing),
        total=_extent(regions.lungs, spacing),
        spacing_plane=None if spacing is None else spacing.plane,
    )


def _extent(region: Region | None, spacing: Spacing | None) -> Extent:
    area, height, width = (region.area_px, region.height_px, region.width_px) if region else (0, 0, 0)
    if spacing is None:
        return Extent(area, height, width)
    lengths_mm = height * spacing.row_mm, width * spacing.column_mm
    return Extent(area, height, width, area * spacing.pixel_area_mm2, *lengths_mm)
