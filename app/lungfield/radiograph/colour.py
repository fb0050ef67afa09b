"""Grey pictures that are stored in colour: secondary captures, screenshots, converted PNG files."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from lungfield.errors import NotFrontalChestError, Reason
from lungfield.radiograph.contrast import sample

TOLERANCE = 0.1
MAX_COLOURED_FRACTION = 0.05
LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)
"""Weights of red, green and blue in luminance (ITU-R BT.601, as in DICOM PS3.3, C.7.6.3.1.2)."""


def luminance(rgb: NDArray[Any]) -> NDArray[Any]:
    """Return the (H, W) luminance, of the same unsigned type, of an (H, W, 3) picture that is grey.

    A twentieth of the pixels may be coloured (text and marks), and lossy compression may tint the rest
    by a tenth of the range.

    Raises:
        NotFrontalChestError: the picture is in colour.
    """
    channels = [sample(rgb[..., channel]).astype(np.float32) for channel in range(3)]
    spread = np.maximum.reduce(channels) - np.minimum.reduce(channels)
    coloured = float(np.mean(spread > TOLERANCE * np.iinfo(rgb.dtype).max))
    if coloured > MAX_COLOURED_FRACTION:
        raise NotFrontalChestError(
            f"a colour picture, not a radiograph: {coloured:.0%} of its pixels are not grey",
            reason=Reason.OTHER_OBJECT,
        )
    if np.array_equal(rgb[..., 0], rgb[..., 1]) and np.array_equal(rgb[..., 0], rgb[..., 2]):
        return np.ascontiguousarray(rgb[..., 0])
    return np.rint(rgb.astype(np.float32) @ LUMA).astype(rgb.dtype)
