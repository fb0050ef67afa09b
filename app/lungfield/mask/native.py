"""Compute a label map in the file's pixels from a network's coarse logits.

The contours are those of the logits after bilinear interpolation. Only the part of the picture around a
structure is interpolated.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from lungfield.labels import BACKGROUND, LEFT_LUNG, LUNGS, RIGHT_LUNG
from lungfield.mask.cleaning import clean_mask
from lungfield.mask.components import bounding_box
from lungfield.mask.sides import split_lungs


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
    label_map = np.zeros(shape, dtype=np.uint8)
    box = bounding_box(labels != BACKGROUND)
    if box is None:
        return label_map
    rows, columns = (_Extent.around(*axis) for axis in zip(box, labels.shape, shape, strict=True))
    coarse_width = labels.shape[1]
    labels, logits = labels[rows.coarse, columns.coarse], logits[rows.coarse, columns.coarse]

    def interpolated(values: NDArray[np.float32]) -> NDArray[np.float32]:
        size = columns.fine.stop - columns.fine.start, rows.fine.stop - rows.fine.start
        return cv2.resize(values, size, interpolation=cv2.INTER_LINEAR)

    # The structure ends where these heights cross 0. The pixels of a filled hole must be inside, also if
    # their logit equals the level.
    heights = np.abs(logits.astype(np.float32) - np.float32(level))
    heights = np.where(labels != BACKGROUND, np.maximum(heights, np.finfo(np.float32).tiny), -heights)
    inside = (interpolated(heights) > 0).view(np.uint8)
    label_map[rows.fine, columns.fine] = inside
    if labels.max() == LEFT_LUNG.value:
        right, left = (np.flatnonzero((labels == lung.value).any(axis=0)) for lung in LUNGS)
        if right.size and left.size and right[-1] + 1 < left[0]:
            # On either side of the centre of a column of background, there is one of them at most.
            cut = round((columns.coarse.start + right[-1] + 1.5) * shape[1] / coarse_width)
            label_map[rows.fine, cut : columns.fine.stop] *= np.uint8(LEFT_LUNG.value)
        else:
            # Touching lungs are separated along a smooth line instead of along the coarse pixels.
            sides = (labels == RIGHT_LUNG.value).astype(np.float32) - (labels == LEFT_LUNG.value)
            label_map[rows.fine, columns.fine] += inside & (interpolated(sides) < 0)
    return label_map


class _Extent(NamedTuple):
    """A range of coarse pixels and the fine pixels of the same range, with common ends.

    A part that begins and ends between two pixels of both grids is interpolated as the whole image is, except
    for its outermost pixels.
    """

    coarse: slice
    fine: slice

    @classmethod
    def around(cls, occupied: slice, coarse: int, fine: int) -> _Extent:
        """The smallest range with another pixel on either side of the occupied coarse pixels, or the edge."""
        common = math.gcd(coarse, fine)
        step = coarse // common
        first = max(occupied.start - 1, 0) // step
        last = min(-(-(occupied.stop + 1) // step), common)
        return cls(slice(first * step, last * step), slice(first * (fine // common), last * (fine // common)))
