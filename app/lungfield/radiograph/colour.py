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
    """Return the (H, W) luminance, of the same type, of an (H, W, 3) picture that is grey.

    A twentieth of the pixels may be coloured (text and marks), and lossy compression may tint the rest
    by a tenth of the range.

    Raises:
        NotFrontalChestError: the picture is in colour.
    """
    channels = [sample(rgb[..., channel]).astype(np.float32) for channel in range(3)]
    brightest = np.maximum.reduce(channels)
    # Of 16 bits, few may be in use.
    scale = 255.0 if rgb.dtype == np.uint8 else float(brightest.max(initial=0))
    coloured = float(np.mean(brightest - np.minimum.reduce(channels) > TOLERANCE * scale))
    if coloured > MAX_COLOURED_FRACTION:
        raise NotFrontalChestError(
            f"a colour picture, not a radiograph: {coloured:.0%} of its pixels are not grey",
            reason=Reason.OTHER_OBJECT,
        )
    if np.array_equal(rgb[..., 0], rgb[..., 1]) and np.array_equal(rgb[..., 0], rgb[..., 2]):
        return np.ascontiguousarray(rgb[..., 0])
    grey = rgb.astype(np.float32) @ LUMA
    return grey if rgb.dtype.kind == "f" else np.rint(grey).astype(rgb.dtype)
