"""Connected components and morphology of masks."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

_CROSS = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))


def bounding_box(mask: NDArray[np.bool_]) -> tuple[slice, slice] | None:
    """The bounding box of a (H, W) bool mask as slices of rows and columns; None if it is empty."""
    if mask.size == 0:
        return None
    # OpenCV counts in a tenth of the time of NumPy's `any`.
    rows = np.flatnonzero(counted(mask, axis=1))
    if rows.size == 0:
        return None
    occupied = slice(int(rows[0]), int(rows[-1]) + 1)
    columns = np.flatnonzero(counted(mask[occupied], axis=0))
    return occupied, slice(int(columns[0]), int(columns[-1]) + 1)


def centre(mask: NDArray[np.bool_]) -> tuple[float, float]:
    """The mean (row, column) of the pixels of a (H, W) bool mask, which is not empty."""
    counts = [counted(mask, axis).astype(np.float64) for axis in (1, 0)]
    row, column = (float(np.average(np.arange(count.size), weights=count)) for count in counts)
    return row, column


def counted(mask: NDArray[np.bool_], axis: int) -> NDArray[np.int32]:
    """How many pixels of a (H, W) bool mask lie in each row (axis 1) or column (axis 0)."""
    counts: NDArray[np.int32] = cv2.reduce(_as_bytes(mask), axis, cv2.REDUCE_SUM, dtype=cv2.CV_32S).ravel()
    return counts


def label_components(mask: NDArray[np.bool_]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Number the 4-connected components of a (H, W) bool mask.

    Returns:
        (H, W) int32 component numbers from 1, 0 for background; and (components + 1,) int32 areas in pixels,
        with 0 for the background.
    """
    _, components, statistics, _ = cv2.connectedComponentsWithStats(_as_bytes(mask), connectivity=4)
    areas = statistics[:, cv2.CC_STAT_AREA].copy()
    areas[0] = 0
    return components, areas


def fill_holes(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Fill the holes of a (H, W) bool mask, and return a new array.

    Background that is 8-connected to the border of the array is no hole.
    """
    # A frame of background connects everything outside, so that only one component has to be kept.
    _, outside = cv2.connectedComponents(_as_bytes(np.pad(~mask, 1, constant_values=True)), connectivity=8)
    filled: NDArray[np.bool_] = outside[1:-1, 1:-1] != outside[0, 0]
    return filled


def eroded(mask: NDArray[np.bool_], times: int = 1) -> NDArray[np.bool_]:
    """Erode a (H, W) bool mask with a 3 x 3 cross; pixels off the array count as background."""
    found = cv2.erode(
        _as_bytes(mask), _CROSS, iterations=times, borderType=cv2.BORDER_CONSTANT, borderValue=0
    )
    return found.view(bool)


def dilated(mask: NDArray[np.bool_], times: int = 1) -> NDArray[np.bool_]:
    """Dilate a (H, W) bool mask with a 3 x 3 cross."""
    found = cv2.dilate(_as_bytes(mask), _CROSS, iterations=times)
    return found.view(bool)


def _as_bytes(mask: NDArray[np.bool_]) -> NDArray[np.uint8]:
    return np.ascontiguousarray(mask).view(np.uint8)
