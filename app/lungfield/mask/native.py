"""Compute a label map in the file's pixels from a network's coarse logits.

A cell has the centres of four neighbouring logits as corners, and bilinear interpolation stays between their
values. So a cell with all four corners in one lung is all lung, and a cell without a corner in a lung has no
lung. Only the cells along the contour have to be interpolated, which are few of a radiograph's pixels.
"""

from __future__ import annotations

from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from lungfield.labels import BACKGROUND, LEFT_LUNG, RIGHT_LUNG
from lungfield.mask.cleaning import clean_mask
from lungfield.mask.sides import split_lungs

_Value = TypeVar("_Value", bound=np.generic)

# Marks a cell with different corners; no label has this value.
_MIXED = 255


def native_label_map(
    logits: NDArray[np.floating],
    shape: tuple[int, int],
    *,
    level: float = 0.0,
    components: int = 2,
    right: NDArray[np.floating] | None = None,
) -> NDArray[np.uint8]:
    """Clean and split a mask on the logits' grid, and compute its contours on a finer grid.

    A logit whose pixel was removed or added by cleaning changes its sign; the others are interpolated
    unchanged, as by `torch.nn.functional.interpolate(mode="bilinear", align_corners=False)`. So contours that
    cleaning did not change are those of the logits interpolated to `shape`.

    Args:
        logits: (h, w) floating, of the lung field on an upright picture.
        shape: (H, W) of the picture; both grids cover the same area.
        level: the logit above which a pixel is lung.
        components: largest number of components to keep; see `clean_mask`.
        right: (h, w) floating, the log odds that lung belongs to the right side; None to find the sides from
            the position (`split_lungs`).

    Returns:
        (H, W) uint8 label map: 0 background, 1 right lung, 2 left lung.
    """
    kept = clean_mask(logits > level, components=components)
    if right is None:
        labels = split_lungs(kept, pixel_size=(shape[0] / logits.shape[0], shape[1] / logits.shape[1]))
    else:
        labels = (np.where(right >= 0, RIGHT_LUNG.value, LEFT_LUNG.value) * kept).astype(np.uint8)
    return enlarged(labels, logits, shape, level=level)


def enlarged(
    labels: NDArray[np.uint8], logits: NDArray[np.floating], shape: tuple[int, int], *, level: float = 0.0
) -> NDArray[np.uint8]:
    """Enlarge a coarse label map, with contours from the interpolated logits.

    Args:
        labels: (h, w) uint8 with the values 0, 1 and 2: a cleaned structure, or a pair such as the lungs.
        logits: (h, w) floating, of the structure; where `labels` disagree with them, their sign is changed.
        shape: (H, W) of the picture; both grids cover the same area.
        level: the logit above which a pixel belongs to the structure.

    Returns:
        (H, W) uint8 with the same values.
    """
    kept = labels != BACKGROUND
    distance = np.abs(logits.astype(np.float32) - np.float32(level))
    # The pixels of a filled hole must be inside, also if their logit equals the level.
    heights = np.where(kept, np.maximum(distance, np.finfo(np.float32).tiny), -distance)
    return _enlarge(labels, heights, shape)


def _enlarge(
    labels: NDArray[np.uint8], heights: NDArray[np.float32], shape: tuple[int, int]
) -> NDArray[np.uint8]:
    """Enlarge labels (h, w) to `shape`; the lungs end where the interpolated heights (h, w) cross 0."""
    label_map = np.zeros(shape, dtype=np.uint8)
    corners = _corners(labels)
    lowest, highest = corners.min(axis=0), corners.max(axis=0)
    cells = np.where(lowest == highest, lowest, np.uint8(_MIXED))
    if not highest.any():
        return label_map
    rows = _across(shape[0], highest.any(axis=1))
    columns = _across(shape[1], highest.any(axis=0))
    within = cells.take(columns.cells, axis=1).take(rows.cells, axis=0)
    places = np.flatnonzero(within == _MIXED)
    row, column = np.divmod(places, within.shape[1])
    # Of the cells with an edge repeated around them, the corners of the one in which each place lies.
    stride = cells.shape[1] + 1
    first = rows.cells[row] * stride + columns.cells[column]
    down, right = rows.weights[row], columns.weights[column]
    weights = ((1 - down) * (1 - right), (1 - down) * right, down * (1 - right), down * right)

    def interpolate(values: NDArray[np.float32]) -> NDArray[np.float32]:
        padded = np.pad(values, (0, 1), mode="edge").ravel()
        corners = zip(weights, (0, 1, stride, stride + 1), strict=True)
        return sum(weight * padded.take(first + offset) for weight, offset in corners)

    inside = interpolate(heights) > 0
    if labels.max() == LEFT_LUNG.value:
        # Touching lungs are separated along a smooth line instead of along the coarse pixels.
        sides = (labels == RIGHT_LUNG.value).astype(np.float32) - (labels == LEFT_LUNG.value)
        value = np.where(interpolate(sides) >= 0, np.uint8(RIGHT_LUNG.value), np.uint8(LEFT_LUNG.value))
        within.ravel()[places] = value * inside
    else:
        within.ravel()[places] = inside
    label_map[rows.extent, columns.extent] = within
    return label_map


def _corners(values: NDArray[_Value]) -> NDArray[_Value]:
    """The corners of the cells: (4, h, w). Cell (i, j) starts at pixel (i, j); the last one ends there."""
    padded = np.pad(values, (0, 1), mode="edge")
    return np.stack([padded[:-1, :-1], padded[:-1, 1:], padded[1:, :-1], padded[1:, 1:]])


class _Axis(NamedTuple):
    """The positions of fine pixels in the coarse cells along one axis.

    Attributes:
        extent: the range of fine pixels in the occupied cells.
        cells: (n,) intp, the cell of each of them.
        weights: (n,) float32 in [0, 1], the weight of the cell's end; its start has the rest.
    """

    extent: slice
    cells: NDArray[np.intp]
    weights: NDArray[np.float32]


def _across(length: int, occupied: NDArray[np.bool_]) -> _Axis:
    """The fine pixels of an axis with `length` pixels, from the first to the last occupied cell."""
    # The centre of the first fine pixel lies before that of the first coarse one; clip, do not extrapolate.
    scale = np.float32(occupied.size) / np.float32(length)
    centres = np.maximum(scale * (np.arange(length, dtype=np.float32) + np.float32(0.5)) - np.float32(0.5), 0)
    cells = np.minimum(centres.astype(np.intp), occupied.size - 1)
    first, last = np.flatnonzero(occupied)[[0, -1]]
    extent = slice(*np.searchsorted(cells, [first, last + 1]))
    weights = np.minimum(centres - cells, 1).astype(np.float32)
    return _Axis(extent, cells[extent], weights[extent])
