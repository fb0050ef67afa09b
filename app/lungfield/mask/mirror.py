"""Detect a mirrored radiograph from its mask: the heart makes the left lung smaller."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lungfield.mask.components import bounding_box
from lungfield.mask.sampling import CELLS, occupancy

# Weights of a logistic regression, times ten: the log odds for a picture that is not mirrored, for each cell
# on the image's left that is lung while its mirror image is not. Rows of the lungs' bounding box, columns
# from its left edge to its middle. Computed by scripts/calibrate_flags.py --fit
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
# Rotated pictures are more frequent than mirrored ones, so the evidence must exceed even odds.
_MIN_LOG_ODDS = 1.5


def is_mirrored(mask: NDArray[np.bool_]) -> bool:
    """Whether an upright radiograph seems mirrored, as its heart lies on the left side of the image.

    Args:
        mask: (H, W) bool, both lungs together; for an empty mask the result is False.
    """
    box = bounding_box(mask)
    if box is None:
        return False
    log_odds = float(asymmetry(mask[box]) @ np.ravel(_WEIGHTS)) / 10
    return log_odds < -_MIN_LOG_ODDS


def asymmetry(mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    """The occupancy of each cell on the left minus that of its mirror image: (128,) float64 in [-1, 1].

    Args:
        mask: (H, W) bool; it is cropped to its bounding box.
    """
    filled = occupancy(mask)
    return (filled - filled[:, ::-1])[:, : CELLS // 2].ravel()
