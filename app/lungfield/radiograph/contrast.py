"""Grey values: conversion from colour, statistics, and mapping of any range to [0, 1]."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lungfield.errors import NotFrontalChestError, Reason, UnreadableError

SAMPLES = 1 << 18
MAX_TABLE = 1 << 16
"""Integers with at most this number of values are mapped by a table, as there are more pixels than values."""
RANGE_PERCENTILES = (0.1, 99.9)
CONTRAST_PERCENTILES = (0.5, 99.5)
MIN_LEVELS = 8
MAX_CLASSES = 4
"""A picture with at most this number of values is a mask or a label map."""
JPEG_NOISE = 2
"""Largest difference of a mask's pixel from the value of its class after JPEG compression ..."""
MIN_TWO_VALUED_FRACTION = 0.85
"""... for this fraction of the pixels, as blocks along contours differ more."""
MIN_CLASS_DISTANCE = 32
MAX_EDGE_FRACTION = 0.05
COLOUR_TOLERANCE = 0.1
MAX_COLOURED_FRACTION = 0.05
LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)
"""Weights of red, green and blue in luminance (ITU-R BT.601, as in DICOM PS3.3, C.7.6.3.1.2)."""


def sample(values: NDArray[Any], valid: NDArray[np.bool_] | None = None) -> NDArray[Any]:
    """Return about 262,144 values from a regular grid over the image, as a flat array.

    Their percentiles are as good as those of all pixels, and on a large image take a tenth of the time.

    Args:
        values: (H, W).
        valid: (H, W) bool, True for pixels to use; None for all.
    """
    step = max(1, int(np.sqrt(values.size / SAMPLES)))
    grid = (slice(None, None, step), slice(None, None, step))
    return values[grid].ravel() if valid is None else values[grid][valid[grid]]


@dataclass(frozen=True)
class Histogram:
    """The values of an image, and the number of pixels with each.

    Attributes:
        values: (n,) in ascending order.
        counts: (n,) intp, numbers of pixels; 0 for a value in between that does not occur.
    """

    values: NDArray[Any]
    counts: NDArray[np.intp]

    @classmethod
    def of(cls, image: NDArray[Any], valid: NDArray[np.bool_] | None = None) -> Histogram:
        """From the pixels that `sample` selects in a (H, W) image."""
        found = sample(image, valid)
        if found.size and found.dtype.kind in "iu" and found.dtype.itemsize <= 4:
            lowest, highest = int(found.min()), int(found.max())
            if highest - lowest < MAX_TABLE:
                counts = np.bincount(np.subtract(found, lowest, dtype=np.intp))
                return cls(np.arange(lowest, highest + 1), counts)
        return cls(np.sort(found), np.ones(found.size, dtype=np.intp))

    def without_edges(self) -> Histogram:
        """Without the lowest and the highest value if many pixels have them: borders and saturated air."""
        counts = self.counts.copy()
        for edge in (0, -1):
            if counts[edge] > MAX_EDGE_FRACTION * self.counts.sum() and counts.sum() > counts[edge]:
                counts[edge] = 0
        return Histogram(self.values, counts)

    def levels(self, most: int) -> NDArray[Any]:
        """The lowest values that occur, in ascending order, at most `most`."""
        occurring = self.values[self.counts > 0]
        first = np.concatenate([[True], occurring[1:] != occurring[:-1]])
        return occurring[first][:most]

    def mapped(self, mapping: Callable[[NDArray[Any]], NDArray[Any]]) -> Histogram:
        """The histogram after a mapping of the values."""
        values = mapping(self.values)
        order = np.argsort(values, kind="stable")
        return Histogram(values[order], self.counts[order])

    def percentiles(self, *percents: float) -> tuple[float, ...]:
        """The percentiles of the pixels, interpolated as by `numpy.percentile`."""
        last = np.cumsum(self.counts)
        places = np.array(percents) / 100 * (last[-1] - 1)
        below, above = (
            self.values[np.searchsorted(last, whole, side="right")].astype(np.float64)
            for whole in (np.floor(places), np.ceil(places))
        )
        return tuple((below + (above - below) * (places % 1)).tolist())

    def fraction(self, chosen: NDArray[np.bool_]) -> float:
        """The fraction of the pixels whose values are chosen; `chosen` is (n,) bool."""
        return float(self.counts[chosen].sum() / self.counts.sum())


def robust_range(histogram: Histogram) -> tuple[float, float]:
    """Return (low, high), low < high, of the values without the outermost 0.1 % on either side.

    These are burnt-in text, markers and dead pixels, which would leave too little contrast for the rest.
    """
    low, high = histogram.percentiles(*RANGE_PERCENTILES)
    if not high > low:
        low, high = float(histogram.values[0]), float(histogram.values[-1])
    return (low, high) if high > low else (low, low + 1.0)


def stretch(values: NDArray[Any], low: float, high: float) -> NDArray[np.float32]:
    """Map [low, high] linearly to [0, 1], clipped; float32."""
    unit = values.astype(np.float32)
    unit -= np.float32(low)
    unit /= np.float32(high - low)
    return np.clip(unit, 0.0, 1.0, out=unit)


def require_contrast(histogram: Histogram) -> None:
    """Refuse an image that is (nearly) uniform or has classes instead of grey values.

    Raises:
        NotFrontalChestError: there are at most `MAX_CLASSES` values, far apart or counted from 0.
        UnreadableError: 99 % of the values span less than `MIN_LEVELS` grey levels (floating point values: no
            range at all), or there are no valid pixels.
    """
    if histogram.values.size == 0:
        raise UnreadableError("padding or shutter cover the whole image", reason=Reason.UNIFORM)
    low, high = histogram.percentiles(*CONTRAST_PERCENTILES)
    least = MIN_LEVELS if histogram.values.dtype.kind in "iu" else 1e-6 * max(abs(low), abs(high), 1e-30)
    levels = histogram.levels(MAX_CLASSES + 1)
    if 2 <= len(levels) <= MAX_CLASSES and (levels[0] == 0 or high - low >= least):
        listed = ", ".join(f"{value:g}" for value in levels)
        raise NotFrontalChestError(
            f"only {len(levels)} different values ({listed}): a mask or a label map, not a radiograph",
            reason=Reason.LABEL_MAP,
        )
    if not high - low >= least:
        raise UnreadableError(
            f"the image is (nearly) uniform: 99 % of its values lie between {low:g} and {high:g}",
            reason=Reason.UNIFORM,
        )


def refuse_mask_in_jpeg(values: NDArray[np.uint8]) -> None:
    """Refuse an 8-bit image (H, W), decoded from JPEG, that is a mask with compression noise.

    Raises:
        NotFrontalChestError: nearly all values are close to one of two.
    """
    histogram = Histogram.of(values)
    middle = np.searchsorted(histogram.values, np.mean(histogram.percentiles(2, 98)))
    if middle in (0, len(histogram.values)):
        return
    dark = histogram.values[histogram.counts[:middle].argmax()]
    bright = histogram.values[middle + histogram.counts[middle:].argmax()]
    near = np.minimum(abs(histogram.values - dark), abs(histogram.values - bright)) <= JPEG_NOISE
    if bright - dark >= MIN_CLASS_DISTANCE and histogram.fraction(near) >= MIN_TWO_VALUED_FRACTION:
        raise NotFrontalChestError(
            f"nearly all values are {dark} or {bright}: a mask, not a radiograph",
            reason=Reason.LABEL_MAP,
        )


def to_unit(values: NDArray[Any]) -> tuple[NDArray[np.float32], NDArray[np.bool_] | None]:
    """Map an uncalibrated (H, W) picture to float32 in [0, 1], and return it with its mask of valid pixels.

    8-bit values are divided by 255. Others are stretched over their robust range, as 16-bit and floating
    point pictures often use a small part of their type's range. Values that are not finite become 0 and
    invalid; the mask is None if all are valid.

    Raises:
        NotFrontalChestError, UnreadableError: as `require_contrast`.
    """
    valid = None
    if values.dtype.kind == "f":
        values, valid = finite(values)
    histogram = Histogram.of(values, valid)
    require_contrast(histogram)
    low, high = (0.0, 255.0) if values.dtype == np.uint8 else robust_range(histogram)
    if values.dtype.itemsize > (4 if values.dtype.kind == "f" else 2):
        # The 24 bits of single precision are too few for small differences of large values.
        values, low, high = np.subtract(values, low, dtype=np.float64), 0.0, high - low
    pixels = stretch(values, low, high)
    if valid is not None:
        pixels[~valid] = 0
    return pixels, valid


def finite(
    values: NDArray[Any], valid: NDArray[np.bool_] | None = None
) -> tuple[NDArray[Any], NDArray[np.bool_] | None]:
    """Replace values that are not finite by the lowest finite value, and mark them as invalid.

    Args:
        values: (H, W).
        valid: (H, W) bool mask of valid pixels; None if all are valid.

    Returns:
        The values, and the mask of valid pixels, None if all are valid.
    """
    numbers = np.isfinite(values)
    if numbers.all():
        return values, valid
    lowest = values[numbers].min() if numbers.any() else 0
    return np.where(numbers, values, lowest), numbers if valid is None else valid & numbers


def luminance(rgb: NDArray[Any]) -> NDArray[Any]:
    """Return the luminance, (H, W) of the same type, of an (H, W, 3) picture that is grey.

    Up to 5 % of the pixels may be coloured (text and marks), and the others may be tinted by up to a tenth of
    the range through lossy compression.

    Raises:
        NotFrontalChestError: the picture is in colour.
    """
    channels = [sample(rgb[..., channel]).astype(np.float32) for channel in range(3)]
    brightest = np.maximum.reduce(channels)
    # A 16-bit picture may use only few of its bits.
    scale = 255.0 if rgb.dtype == np.uint8 else float(brightest.max(initial=0))
    coloured = float(np.mean(brightest - np.minimum.reduce(channels) > COLOUR_TOLERANCE * scale))
    if coloured > MAX_COLOURED_FRACTION:
        raise NotFrontalChestError(
            f"a colour picture, not a radiograph: {coloured:.0%} of its pixels are not grey",
            reason=Reason.OTHER_OBJECT,
        )
    if np.array_equal(rgb[..., 0], rgb[..., 1]) and np.array_equal(rgb[..., 0], rgb[..., 2]):
        return np.ascontiguousarray(rgb[..., 0])
    grey = rgb.astype(np.float32) @ LUMA
    return grey if rgb.dtype.kind == "f" else np.rint(grey).astype(rgb.dtype)
