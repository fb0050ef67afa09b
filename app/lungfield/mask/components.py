"""Connected components of a mask: what every step of this package starts from."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage


def bounding_box(mask: NDArray[np.bool_]) -> tuple[slice, slice] | None:
    """The smallest rows and columns that hold all of a mask.

    Args:
        mask: (H, W) bool.

    Returns:
        A pair of slices (rows, columns), or None where the mask is empty.
    """
    rows = np.flatnonzero(mask.any(axis=1))
    columns = np.flatnonzero(mask.any(axis=0))
    if rows.size == 0:
        return None
    return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)


def label_components(mask: NDArray[np.bool_]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Number the components of a mask; pixels are neighbours along a side, not across a corner.

    Args:
        mask: (H, W) bool.

    Returns:
        (H, W) component numbers from 1, 0 outside; and the area of each in pixels, (components + 1,), its
        first entry 0 for what lies outside.
    """
    # Labels of numpy's own index type spare bincount a conversion of the whole array.
    components = ndimage.label(mask, output=np.intp)[0] if mask.any() else np.zeros(mask.shape, np.intp)
    areas = np.bincount(components.ravel())
    areas[0] = 0
    return components, areas


def fill_holes(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Fill background that is enclosed by the mask.

    Background that reaches the border of the array, along sides or across corners, is no hole.

    Args:
        mask: (H, W) bool.

    Returns:
        (H, W) bool, a new array.
    """
    # A frame of background joins all that is outside, so that one component is left to keep.
    outside, _ = ndimage.label(np.pad(~mask, 1, constant_values=True), structure=np.ones((3, 3)))
    return outside[1:-1, 1:-1] != outside[0, 0]
