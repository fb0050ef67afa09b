"""Whether a radiograph is a mirror image, told by its mask: the heart makes the left lung smaller."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lungfield.mask.components import bounding_box
from lungfield.mask.sampling import CELLS, occupancy

# Ten times the log odds that a place on the image's left counts for a picture that is not mirrored, if it is
# lung and its mirror image is not. Rows of the lungs' bounding box, columns from its left edge to its middle:
# scripts/calibrate_flags.py --fit
_WEIGHTS = (
    (0, 0, 0, -2, -2, -2, 1, 0),
    (0, -1, -1, 0, 0, -1, -2, 0),
    (0, -2, -1, 0, 0, 0, -3, -2),
    (0, -1, 0, 0, 0, 1, 2, 0),
    (1, 2, 0, 0, 0, 2, 9, 2),
    (3, 1, 0, 0, 0, 1, 6, 1),
    (2, 1, 0, 0, 0, -1, 2, 1),
    (3, 1, 0, 0, -1, -2, 1, 0),
    (3, 0, 0, 0, -1, 0, 1, 0),
    (2, 0, 0, 1, 2, 5, 0, 0),
    (2, 0, 1, 2, 6, 6, -1, 0),
    (0, 0, 1, 4, 12, 7, -1, 0),
    (1, 0, -1, 0, 4, 0, -3, 0),
    (0, -3, -5, -4, -2, -3, -2, 0),
    (-2, -3, -1, 0, -1, -2, -2, 0),
    (-2, 0, 1, 0, 0, 0, -1, 0),
)
# Turned pictures are more frequent than turned and mirrored ones: it takes more than even odds.
_MIN_LOG_ODDS = 1.5


def is_mirrored(mask: NDArray[np.bool_]) -> bool:
    """Tell whether the heart seems to lie on the left side of the image, where the right lung should be.

    Of a (H, W) bool mask of both lungs on an upright radiograph; an empty one is not mirrored.
    """
    box = bounding_box(mask)
    if box is None:
        return False
    log_odds = float(asymmetry(mask[box]) @ np.ravel(_WEIGHTS)) / 10
    return log_odds < -_MIN_LOG_ODDS


def asymmetry(mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    """How much more lung there is in each cell on the left than in its mirror image: (128,) in [-1, 1].

    Of a (H, W) bool mask, cropped to its bounding box.
    """
    filled = occupancy(mask)
    return (filled - filled[:, ::-1])[:, : CELLS // 2].ravel()
