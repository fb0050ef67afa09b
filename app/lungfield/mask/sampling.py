"""Sample arrays of any size on a small regular grid."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

GRID_PX = 128
"""Largest number of points per axis if no shape is given."""
CELLS = 16
"""Number of cells per axis of `occupancy`."""


def sampled(array: NDArray[Any], shape: tuple[int, ...] | None = None) -> NDArray[Any]:
    """Sample a 2-D array on a regular grid of `shape`, or of at most `GRID_PX` points per side."""
    shape = shape or tuple(min(GRID_PX, length) for length in array.shape)
    places = [
        ((np.arange(points) + 0.5) * (length / points)).astype(np.intp)
        for points, length in zip(shape, array.shape, strict=True)
    ]
    return array[np.ix_(*places)]


def occupancy(mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    """The filled fraction of each of 16 x 16 cells of a mask's bounding box: (16, 16) float64 in [0, 1]."""
    side, blocks = 4 * CELLS, (CELLS, 4, CELLS, 4)
    filled: NDArray[np.float64] = sampled(mask, (side, side)).reshape(blocks).mean(axis=(1, 3))
    return filled
