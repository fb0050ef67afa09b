"""Statistics of grey values, and how values of any range become [0, 1]."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from lungfield.errors import Reason, UnreadableError

SAMPLES = 1 << 18
RANGE_PERCENTILES = (0.1, 99.9)
CONTRAST_PERCENTILES = (0.5, 99.5)
MIN_LEVELS = 8


def sample(values: NDArray[Any], valid: NDArray[np.bool_] | None = None) -> NDArray[Any]:
    """Return about 262,144 values from a regular grid over the (H, W) image, as a flat array.

    Percentiles of these are as good as those of all the pixels, and cost a tenth on a large image.
    Only where `valid` is True, if it is given.
    """
    step = max(1, int(np.sqrt(values.size / SAMPLES)))
    grid = (slice(None, None, step), slice(None, None, step))
    return values[grid].ravel() if valid is None else values[grid][valid[grid]]


def sorted_sample(values: NDArray[Any], valid: NDArray[np.bool_] | None = None) -> NDArray[Any]:
    """Return the same values in ascending order: sorting integers once makes their percentiles cheap."""
    return np.sort(sample(values, valid), kind="stable")


def robust_range(samples: NDArray[Any]) -> tuple[float, float]:
    """Return (low, high), low < high, of the values, without the outermost 0.1 % on either side.

    What lies out there is burnt-in text, markers and dead pixels; a picture whose range is taken up by
    them is too flat.
    """
    low, high = np.percentile(samples, RANGE_PERCENTILES)
    if not high > low:
        low, high = samples.min(), samples.max()
    return (float(low), float(high)) if high > low else (float(low), float(low) + 1.0)


def stretch(values: NDArray[Any], low: float, high: float) -> NDArray[np.float32]:
    """Map [low, high] onto [0, 1], and what lies outside onto its ends."""
    unit = values.astype(np.float32)
    unit -= np.float32(low)
    unit /= np.float32(high - low)
    return np.clip(unit, 0.0, 1.0, out=unit)


def require_contrast(samples: NDArray[Any]) -> None:
    """Turn down an image in which there is (almost) nothing to see.

    Raises:
        UnreadableError: 99 % of the values differ by fewer than `MIN_LEVELS` grey levels; or, of floating
            point values, not at all; or there is no value to look at.
    """
    if samples.size == 0:
        raise UnreadableError("no part of the image is free of padding and shutter", reason=Reason.UNIFORM)
    low, high = np.percentile(samples, CONTRAST_PERCENTILES)
    least = MIN_LEVELS if samples.dtype.kind in "iu" else 1e-6 * max(abs(low), abs(high), 1e-30)
    if not high - low >= least:
        raise UnreadableError(
            f"the image is (nearly) uniform: 99 % of its values lie between {low:g} and {high:g}",
            reason=Reason.UNIFORM,
        )


def to_unit(values: NDArray[Any]) -> tuple[NDArray[np.float32], NDArray[np.bool_] | None]:
    """Return a picture without a calibration as float32 in [0, 1], and where it is valid.

    8-bit values are divided by 255. All others are stretched over their robust range, since 16-bit and
    floating point pictures often use a small part of what their type can hold. What is not finite becomes
    0 and is not valid; where all is finite there is None for the second array.

    Args:
        values: (H, W), of an integer or floating point type.

    Raises:
        UnreadableError: the image is (nearly) uniform.
    """
    valid = None
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        valid = np.isfinite(values)
    samples = sorted_sample(values, valid)
    require_contrast(samples)
    low, high = (0.0, 255.0) if values.dtype == np.uint8 else robust_range(samples)
    if valid is not None:
        values = np.where(valid, values, low)
    return stretch(values, low, high), valid
