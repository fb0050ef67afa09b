"""Measurements of heart and chest: widths, the cardiothoracic ratio, costophrenic points.

docs/heart.md defines each measurement, with its source and a drawing. Rows and columns are those of an
upright picture: head at the top, the patient's right on the image's left.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lungfield.labels import CLAVICLES, HEART, LEFT_LUNG, RIGHT_LUNG
from lungfield.mask.chest import Chest, Line, Point
from lungfield.mask.components import bounding_box
from lungfield.mask.regions import Region, Regions
from lungfield.records import Spacing

Mask = NDArray[np.bool_]


class NoRatio(StrEnum):
    """Why a radiograph has no cardiothoracic ratio; docs/heart.md explains each reason."""

    NOT_FRONTAL = "not-frontal"
    NO_LUNG = "no-lung"
    ONE_LUNG = "one-lung"
    NO_HEART = "no-heart"
    TILTED = "tilted"
    ROTATED = "rotated"
    CUT_OFF = "cut-off"
    MISPLACED = "misplaced"


@dataclass(frozen=True)
class HeartMeasurements:
    """The measurements of heart and chest.

    Without a ratio there are no widths either, as the same reasons make them invalid.

    Attributes:
        no_ratio: why there is no ratio; None if there is one.
        heart_area_px: pixels of the heart; 0 if none was found.
        heart_touches_edge: whether the heart touches the edge of the picture, and may be cut off.
        heart_width_px: sum of the greatest distances of its right and left border from the midline.
        thoracic_width_px: greatest inner width of the chest.
        heart_area_mm2: None if the spacing is not known; likewise `heart_width_mm` and
            `thoracic_width_mm`.
        cardiothoracic_ratio: `heart_width_px` / `thoracic_width_px`, in (0, 1).
        heart_right: line from the heart's right border to the midline of the chest.
        heart_left: line from the midline to its left border, in general in another row.
        thorax: line from one lateral border of the lungs to the other.
        right_costophrenic: the lowest pixel of the lateral half of the right lung; None without a right lung.
        left_costophrenic: the same for the left lung.
    """

    no_ratio: NoRatio | None
    heart_area_px: int
    heart_touches_edge: bool = False
    heart_width_px: int | None = None
    thoracic_width_px: int | None = None
    heart_area_mm2: float | None = None
    heart_width_mm: float | None = None
    thoracic_width_mm: float | None = None
    cardiothoracic_ratio: float | None = None
    heart_right: Line | None = None
    heart_left: Line | None = None
    thorax: Line | None = None
    right_costophrenic: Point | None = None
    left_costophrenic: Point | None = None

    def to_row(self, place: Callable[[Point], Point] = lambda point: point) -> dict[str, Any]:
        """One flat row for a table, always with the same columns.

        `place` maps a (row, column) of the upright picture to another picture, such as the stored one.
        """
        names = ("heart_area", "heart_width", "thoracic_width")
        row: dict[str, Any] = {f"{name}_px": getattr(self, f"{name}_px") for name in names}
        units = ("mm2", "mm", "mm")
        row |= {
            key: getattr(self, key)
            for key in (f"{name}_{unit}" for name, unit in zip(names, units, strict=True))
        }
        row["cardiothoracic_ratio"] = self.cardiothoracic_ratio
        row["ctr_reason"] = str(self.no_ratio or "")
        for name in ("right_costophrenic", "left_costophrenic"):
            point = getattr(self, name)
            row |= dict(
                zip((f"{name}_row", f"{name}_column"), place(point) if point else (None, None), strict=True)
            )
        return row


# Bounds, well outside of the range in the 247 reference masks of JSRT: there, the tilt is at most 9.2
# degrees, the clavicles are at most 0.046 of the chest's width off the midline, the narrower lung has at
# least 0.74 of the other's width, the likeness is at least 0.78, and the mediastinum at least 0.24.
_MIN_SECOND_LUNG = 0.10
_MIN_LIKENESS = 0.65
_MIN_MEDIASTINUM = 0.12
_MAX_TILT_DEGREES = 12.0
_MAX_CLAVICLES_OFF_MIDLINE = 0.07
_MIN_LUNG_WIDTH_RATIO = 0.5
# The largest distance of the heart from the midline, as in emphysema, as a fraction of the chest's width.
_MAX_HEART_OFF_MIDLINE = 0.05
# The range of the vertical middle of the heart, from the top of the lungs (0) to their bottom (1).
_MIN_HEART_HEIGHT, _MAX_HEART_HEIGHT = 0.3, 1.15


def measure_heart(
    regions: Regions,
    spacing: Spacing | None,
    *,
    valid: Mask | None = None,
    frontal: bool = True,
) -> HeartMeasurements:
    """Measure heart and chest on the masks of an upright radiograph.

    Widths are measured along the rows, after Danzer (Am J Med Sci 157, 1919; doi:10.3390/jcm10092016 compares
    the methods in use). The width of the heart is the sum of the greatest distances of its borders from the
    midline, in any rows. The width of the chest is its greatest inner width in one row; the lateral borders
    of the lungs are used for the inner borders of the ribs.

    Args:
        regions: of the lungs and the heart, and if available of the clavicles, to detect a rotated patient.
        spacing: of the pixels; None to leave out values in mm.
        valid: (H, W) bool, False outside of the picture; None if all pixels are picture.
        frontal: False if the file names another view.
    """
    heart, right, left = (regions[label.name] for label in (HEART, RIGHT_LUNG, LEFT_LUNG))
    area = heart.area_px if heart else 0
    aspect = 1.0 if spacing is None else spacing.row_mm / spacing.column_mm
    chest = Chest.of(regions, aspect)
    reason = NoRatio.NOT_FRONTAL if not frontal else _why_no_chest(right, left, chest)
    touching = heart is not None and heart.touches_edge(regions.shape, valid)
    if reason is None and heart is None:
        reason = NoRatio.NO_HEART
    if reason is None and touching:
        reason = NoRatio.CUT_OFF
    if reason is None and chest is not None and heart is not None:
        reason = _why_not(chest, regions, heart.box, valid)
    found = HeartMeasurements(
        reason,
        area,
        touching,
        heart_area_mm2=None if spacing is None else area * spacing.pixel_area_mm2,
        right_costophrenic=_costophrenic(right, slice(None, None, 1)),
        left_costophrenic=_costophrenic(left, slice(None, None, -1)),
    )
    if reason is not None or chest is None or heart is None:
        return found
    width, thorax, columns = heart.width_px, chest.widest, heart.box[1]
    middle = round(thorax.middle)
    return replace(
        found,
        heart_width_px=width,
        thoracic_width_px=thorax.length_px,
        heart_width_mm=None if spacing is None else width * spacing.column_mm,
        thoracic_width_mm=None if spacing is None else thorax.length_px * spacing.column_mm,
        cardiothoracic_ratio=width / thorax.length_px,
        heart_right=Line(_row_of(heart, columns.start), columns.start, middle),
        heart_left=Line(_row_of(heart, columns.stop - 1), middle, columns.stop - 1),
        thorax=thorax,
    )


def _why_no_chest(right: Region | None, left: Region | None, chest: Chest | None) -> NoRatio | None:
    """The reason against a ratio in the lungs alone, or None."""
    areas = sorted(lung.area_px if lung else 0 for lung in (right, left))
    if not areas[1]:
        return NoRatio.NO_LUNG
    if areas[0] < _MIN_SECOND_LUNG * areas[1]:
        return NoRatio.ONE_LUNG
    if chest is None or chest.mediastinum < _MIN_MEDIASTINUM:
        return NoRatio.NOT_FRONTAL
    if abs(chest.tilt_degrees) > _MAX_TILT_DEGREES:
        return NoRatio.TILTED
    return NoRatio.NOT_FRONTAL if chest.likeness < _MIN_LIKENESS else None


def _why_not(
    chest: Chest,
    regions: Regions,
    box: tuple[slice, slice],
    valid: Mask | None,
) -> NoRatio | None:
    """The reason against a ratio in the clavicles, the picture's edges or the heart's box, or None."""
    thorax = chest.widest
    if _is_rotated(chest, regions):
        return NoRatio.ROTATED
    ends = [(thorax.row, thorax.first_column - 1), (thorax.row, thorax.last_column + 1)]
    if not all(_is_picture(point, regions.shape, valid) for point in ends):
        return NoRatio.CUT_OFF
    lungs_top, lungs_height = chest.box[0].start, chest.box[0].stop - chest.box[0].start
    height = ((box[0].start + box[0].stop) / 2 - lungs_top) / lungs_height
    slack = _MAX_HEART_OFF_MIDLINE * thorax.length_px
    at_midline = box[1].start - slack < thorax.middle < box[1].stop + slack
    within = thorax.first_column < box[1].start and box[1].stop - 1 < thorax.last_column
    if not (at_midline and within and _MIN_HEART_HEIGHT <= height <= _MAX_HEART_HEIGHT):
        return NoRatio.MISPLACED
    return None


def _is_rotated(chest: Chest, regions: Regions) -> bool:
    """Whether the patient is rotated.

    The medial ends of the clavicles are then off the midline; without clavicles, the widths of the lungs are
    compared.
    """
    right, left = (regions[label.name] for label in CLAVICLES)
    if right is None or left is None:
        return chest.width_ratio < _MIN_LUNG_WIDTH_RATIO
    between = (right.box[1].stop - 1 + left.box[1].start) / 2
    row = np.mean([(one.box[0].start + one.box[0].stop - 1) / 2 for one in (right, left)])
    midline = np.polyval(np.polyfit(chest.rows, chest.middles, 1), row) if chest.rows.size > 1 else between
    return bool(abs(between - midline) > _MAX_CLAVICLES_OFF_MIDLINE * chest.widest.length_px)


def _is_picture(point: Point, shape: tuple[int, ...], valid: Mask | None) -> bool:
    row, column = point
    return 0 <= row < shape[0] and 0 <= column < shape[1] and (valid is None or bool(valid[point]))


def _row_of(region: Region, column: int) -> int:
    """The middle row of a region in a column of the picture."""
    rows = np.flatnonzero(region.mask[:, column - region.box[1].start])
    return region.box[0].start + int(rows[len(rows) // 2])


def _costophrenic(lung: Region | None, outward_first: slice) -> Point | None:
    """The lowest pixel of a lung's lateral half, the most lateral of several; None for an absent lung.

    `outward_first` orders the columns from lateral to medial.
    """
    if lung is None:
        return None
    columns = np.arange(lung.width_px)[outward_first]
    columns = columns[: math.ceil(len(columns) / 2)]
    lowest = bounding_box(lung.mask[:, min(columns[0], columns[-1]) : max(columns[0], columns[-1]) + 1])
    if lowest is None:
        return None
    row = lowest[0].stop - 1
    column = int(columns[lung.mask[row, columns].argmax()])
    return lung.box[0].start + row, lung.box[1].start + column
