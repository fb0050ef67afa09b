"""Looking at arrays of any size on a small regular grid."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

GRID_PX = 128
"""Points along each axis at most, where no shape is asked for."""
CELLS = 16
"""Cells along each axis of an `occupancy`."""


def sampled(array: NDArray[Any], shape: tuple[int, ...] | None = None) -> NDArray[Any]:
    """Points of an array on a regular grid over all of it: of `shape`, or of at most `GRID_PX` a side."""
    shape = shape or tuple(min(GRID_PX, length) for length in array.shape)
    places = [
        ((np.arange(points) + 0.5) * (length / points)).astype(np.intp)
        for points, length in zip(shape, array.shape, strict=True)
    ]
    return array[np.ix_(*places)]


def occupancy(mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    """How much of each of 16 x 16 cells a mask fills, in [0, 1]; the mask is cropped to its bounding box."""
    side, blocks = 4 * CELLS, (CELLS, 4, CELLS, 4)
    filled: NDArray[np.float64] = sampled(mask, (side, side)).reshape(blocks).mean(axis=(1, 3))
    return filled
