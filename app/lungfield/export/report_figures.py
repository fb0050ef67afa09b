"""The measurement groups and comments of a structured report: lungs, heart and cardiothoracic ratio."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from lungfield.export.concepts import (
    AP_COMMENT,
    AREA,
    CARDIOTHORACIC_RATIO,
    COSTOPHRENIC_POINT,
    HEIGHT,
    MEAN,
    MILLIMETRE,
    NO_UNITS,
    PIXELS,
    PLANE_COMMENTS,
    RELATIVE_DENSITY,
    SQUARE_MILLIMETRE,
    STANDARD_DEVIATION,
    THORACIC_WIDTH,
    WIDTH,
    no_ratio_comment,
)
from lungfield.labels import HEART, LEFT_LUNG, LUNGS, RIGHT_LUNG, Code, Label
from lungfield.mask.chest import Line
from lungfield.mask.density import Density, GreyLevel
from lungfield.mask.heart import HeartMeasurements
from lungfield.mask.measurements import Extent, Measurements
from lungfield.records import Radiograph

_DENSITY_COMMENT = "Densities depend on exposure, processing and window; compare them within one image only."

Positions = tuple[tuple[float, float], ...]
"""(column, row) from the upper left corner of the first stored pixel, whose centre is at 0.5, 0.5."""


@dataclass(frozen=True)
class Figure:
    """One measurement.

    Attributes:
        concept: what was measured.
        value: in `unit`.
        unit: in UCUM.
        derivation: mean or standard deviation; None for a single measurement.
        line: along which a length was measured; empty for other measurements.
    """

    concept: Code
    value: float
    unit: Code
    derivation: Code | None = None
    line: Positions = ()


@dataclass(frozen=True)
class Group:
    """A measurement group of a structure.

    Attributes:
        title: its tracking identifier.
        label: the structure.
        figures: the measurements.
        finding: what was found, if it is not the structure itself.
        point: its position (column, row), as in `Positions`.
        has_segment: whether it refers to the structure's segment, if there is one.
    """

    label: Label
    title: str
    figures: tuple[Figure, ...] = ()
    finding: Code | None = None
    point: tuple[float, float] | None = None
    has_segment: bool = True

    @property
    def concepts(self) -> Iterator[Code]:
        """The coded concepts of the measurements and the finding."""
        yield from (one.concept for one in self.figures)
        if self.finding is not None:
            yield self.finding


def groups_of_lungs(measurements: Measurements, density: Density | None) -> Iterator[Group]:
    """The group of each lung."""
    for lung in LUNGS:
        yield Group(lung, lung.title, figures=tuple(_figures_of_lung(lung, measurements, density)))


def groups_of_heart(heart: HeartMeasurements, radiograph: Radiograph) -> Iterator[Group]:
    """The groups of the heart, of the cardiothoracic ratio and of each costophrenic point."""
    area = _length(AREA, heart.heart_area_mm2, heart.heart_area_px, SQUARE_MILLIMETRE)
    yield Group(HEART, HEART.title, figures=(area,))
    # highdicom allows no lines in a group that refers to a segment.
    if figures := tuple(_figures_of_ratio(heart, radiograph)):
        yield Group(HEART, CARDIOTHORACIC_RATIO.meaning, figures=figures, has_segment=False)
    for lung, point in ((RIGHT_LUNG, heart.right_costophrenic), (LEFT_LUNG, heart.left_costophrenic)):
        if point is not None:
            row, column = radiograph.pose.stored_point(point, radiograph.shape)
            title = f"{lung.title.split()[0]} costophrenic point"
            yield Group(lung, title, finding=COSTOPHRENIC_POINT, point=(column + 0.5, row + 0.5))


def comments_on(measurements: Measurements, density: Density | None) -> Iterator[str]:
    """Comments on the plane of the lengths and on the densities."""
    if measurements.spacing_plane in PLANE_COMMENTS:
        yield PLANE_COMMENTS[measurements.spacing_plane]
    if density is not None:
        yield _DENSITY_COMMENT


def _figures_of_lung(lung: Label, measurements: Measurements, density: Density | None) -> Iterator[Figure]:
    """The measurements of one lung, to six significant digits."""
    extent: Extent = getattr(measurements, lung.name)
    level: GreyLevel | None = None if density is None else getattr(density, lung.name)
    yield _length(AREA, extent.area_mm2, extent.area_px, SQUARE_MILLIMETRE)
    if extent.area_px:
        yield _length(HEIGHT, extent.height_mm, extent.height_px, MILLIMETRE)
        yield _length(WIDTH, extent.width_mm, extent.width_px, MILLIMETRE)
        if level is not None:
            yield Figure(RELATIVE_DENSITY, _rounded(level.mean), NO_UNITS, MEAN)
            yield Figure(RELATIVE_DENSITY, _rounded(level.sd), NO_UNITS, STANDARD_DEVIATION)


def _figures_of_ratio(heart: HeartMeasurements, radiograph: Radiograph) -> Iterator[Figure]:
    """The cardiothoracic ratio and both widths with their lines; nothing without a ratio."""
    thorax, right, left = heart.thorax, heart.heart_right, heart.heart_left
    if heart.cardiothoracic_ratio is None or thorax is None or right is None or left is None:
        return
    for concept, name, lines in (
        (WIDTH, "heart_width", (right, left)),
        (THORACIC_WIDTH, "thoracic_width", (thorax,)),
    ):
        widths = getattr(heart, f"{name}_mm"), getattr(heart, f"{name}_px")
        yield _length(concept, *widths, MILLIMETRE, _positions(lines, radiograph))
    yield Figure(CARDIOTHORACIC_RATIO, _rounded(heart.cardiothoracic_ratio), NO_UNITS)


def comments_on_heart(heart: HeartMeasurements, view: str | None) -> Iterator[str]:
    """Comments on the ratio, or why there is none."""
    if heart.no_ratio is not None:
        yield no_ratio_comment(str(heart.no_ratio))
    elif view == "AP":
        yield AP_COMMENT


def _length(concept: Code, value_mm: float | None, value_px: int, unit: Code, line: Positions = ()) -> Figure:
    if value_mm is None:
        return Figure(concept, _rounded(value_px), PIXELS, line=line)
    return Figure(concept, _rounded(value_mm), unit, line=line)


def _rounded(value: float) -> float:
    return float(f"{value:.6g}")


def _positions(lines: Sequence[Line], radiograph: Radiograph) -> Positions:
    """The ends of lines in stored pixels, from the outer edge of the first pixel to that of the last."""
    pixels = [
        (float(line.row), float(end)) for line in lines for end in (line.first_column, line.last_column)
    ]
    pixels[0] = (pixels[0][0], pixels[0][1] - 0.5)
    pixels[-1] = (pixels[-1][0], pixels[-1][1] + 0.5)
    stored = [radiograph.pose.stored_point(pixel, radiograph.shape) for pixel in pixels]
    return tuple((column + 0.5, row + 0.5) for row, column in stored)
