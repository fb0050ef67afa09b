"""From a network's coarse logits to a label map on the file's own pixels.

Bilinear interpolation between the centres of four neighbouring logits stays between their values. A cell with
all four corners in one lung is therefore all lung, and one with none of them holds no lung. Just the cells
that the contour runs through have to be interpolated: few of a radiograph's pixels.
"""

from __future__ import annotations

from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from lungfield.labels import BACKGROUND, LEFT_LUNG, RIGHT_LUNG
from lungfield.mask.cleaning import clean_mask
from lungfield.mask.sides import split_lungs

_Value = TypeVar("_Value", bound=np.generic)

# Marks a cell whose corners differ; no label has this value.
_MIXED = 255


def native_label_map(
    logits: NDArray[np.floating],
    shape: tuple[int, int],
    *,
    level: float = 0.0,
    components: int = 2,
    right: NDArray[np.floating] | None = None,
) -> NDArray[np.uint8]:
    """Clean and split logits on their own grid, and draw the contours on a finer one.

    A logit that cleaning takes away or adds changes its sign; all others are interpolated as they are, as
    `torch.nn.functional.interpolate(mode="bilinear", align_corners=False)` does. So the contours of what is
    kept are those of all logits interpolated to `shape`.

    Args:
        logits: (h, w) floating, of the lung field on an upright picture.
        shape: (H, W) of the picture; both grids cover the same area.
        level: the logit above which a pixel is lung.
        components: how many connected regions are kept at most; see `clean_mask`.
        right: (h, w) floating, the log odds that lung is that of the right side; None to tell the sides by
            position (`split_lungs`).

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
    """Draw the contours of a coarse label map on a finer grid, as the logits of what is not background run.

    Args:
        labels: (h, w) uint8 of 0, 1 and 2, what is kept of a structure, or of a pair such as the lungs.
        logits: (h, w) floating, of the structure; where `labels` say otherwise, they count with the other
            sign.
        shape: (H, W) of the picture; both grids cover the same area.
        level: the logit above which a pixel is of the structure.

    Returns:
        (H, W) uint8 of the same values.
    """
    kept = labels != BACKGROUND
    distance = np.abs(logits.astype(np.float32) - np.float32(level))
    # What fills a hole must be inside even where its logit lies right at the level.
    heights = np.where(kept, np.maximum(distance, np.finfo(np.float32).tiny), -distance)
    return _enlarge(labels, heights, shape)


def _enlarge(
    labels: NDArray[np.uint8], heights: NDArray[np.float32], shape: tuple[int, int]
) -> NDArray[np.uint8]:
    """Enlarge labels (h, w) to `shape`, ending the lungs where the interpolated heights (h, w) fall to 0."""
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
        # Where the lungs touch they are parted along a smooth line, not along the coarse pixels.
        sides = (labels == RIGHT_LUNG.value).astype(np.float32) - (labels == LEFT_LUNG.value)
        value = np.where(interpolate(sides) >= 0, np.uint8(RIGHT_LUNG.value), np.uint8(LEFT_LUNG.value))
        within.ravel()[places] = value * inside
    else:
        within.ravel()[places] = inside
    label_map[rows.extent, columns.extent] = within
    return label_map


def _corners(values: NDArray[_Value]) -> NDArray[_Value]:
    """The corners of the cells: (4, h, w). Cell (i, j) begins at pixel (i, j); a last one ends there too."""
    padded = np.pad(values, (0, 1), mode="edge")
    return np.stack([padded[:-1, :-1], padded[:-1, 1:], padded[1:, :-1], padded[1:, 1:]])


class _Axis(NamedTuple):
    """Where the pixels of the fine grid lie on one axis of the coarse one.

    Attributes:
        extent: the fine pixels that lie in the cells asked for.
        cells: (n,) intp, the cell of each of them.
        weights: (n,) float32 in [0, 1], the weight of the cell's end; the rest is that of its beginning.
    """

    extent: slice
    cells: NDArray[np.intp]
    weights: NDArray[np.float32]


def _across(length: int, occupied: NDArray[np.bool_]) -> _Axis:
    """The pixels of an axis, `length` in all, from the first to the last of the cells that are occupied."""
    # The centre of the first fine pixel lies before that of the first coarse one: nothing is extrapolated.
    scale = np.float32(occupied.size) / np.float32(length)
    centres = np.maximum(scale * (np.arange(length, dtype=np.float32) + np.float32(0.5)) - np.float32(0.5), 0)
    cells = np.minimum(centres.astype(np.intp), occupied.size - 1)
    first, last = np.flatnonzero(occupied)[[0, -1]]
    extent = slice(*np.searchsorted(cells, [first, last + 1]))
    weights = np.minimum(centres - cells, 1).astype(np.float32)
    return _Axis(extent, cells[extent], weights[extent])
