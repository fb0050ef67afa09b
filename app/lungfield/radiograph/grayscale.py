"""The DICOM greyscale pipeline: modality LUT, VOI LUT, polarity (DICOM PS3.4, N.2)."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.pixels import apply_windowing

from lungfield.radiograph.contrast import MAX_TABLE, Histogram, robust_range, stretch
from lungfield.radiograph.polarity import read_polarity

Values = NDArray[Any]
Mapping = Callable[[Values], Values]

MAX_CLIPPED_FRACTION = 0.5
MIN_SPREAD = 0.1
SPREAD_PERCENTILES = (0.5, 99.5)
BLOCK_ROWS = 64
WORDS = 1 << 16
_BROKEN_LUT = (AttributeError, IndexError, KeyError, TypeError, ValueError, OverflowError)


def to_unit(
    stored: Values, header: Dataset, *, histogram: Histogram | None = None
) -> tuple[NDArray[np.float32], tuple[str, ...]]:
    """Return the grey values that a viewer displays, and remarks for the user.

    A LUT or window that cannot be read, clips more than half of the pixels, or leaves hardly any contrast is
    replaced by the full range of values.

    Args:
        stored: (H, W) the stored values, integers or finite floating point numbers.
        header: the `pydicom.Dataset` of a MONOCHROME1 or MONOCHROME2 image.
        histogram: of the values that determine the range; None for that of all values.

    Returns:
        (H, W) float32 in [0, 1], with low values for high exposure, as in the lungs.
    """
    if histogram is None:
        histogram = Histogram.of(stored)
    polarity = read_polarity(header)
    modality, remarks = _modality_lut(header, histogram)
    more: tuple[str, ...] = ()
    if polarity.linear:
        voi = _attenuation(histogram.mapped(modality), falling=not polarity.inverted)
    else:
        voi, more = _voi_lut(header, histogram.mapped(modality))

    def render(values: Values) -> NDArray[np.float32]:
        shown = voi(modality(values)).astype(np.float32)
        return 1 - shown if polarity.inverted or polarity.linear else shown

    if stored.dtype.kind == "f":
        return render(stored), remarks + more
    lowest, highest = int(stored.min()), int(stored.max())
    if highest - lowest >= MAX_TABLE:
        return render(stored), remarks + more
    # Each possible value is computed only once, in double precision, and then looked up.
    table = render(np.arange(lowest, highest + 1, dtype=stored.dtype))
    return _look_up(table, stored, lowest), remarks + more


def _look_up(table: NDArray[np.float32], stored: Values, lowest: int) -> NDArray[np.float32]:
    """Map each pixel by a table, whose first entry is for the value `lowest`."""
    if stored.dtype == np.uint16 and _opencv_looks_up_words():
        whole = np.zeros(WORDS, dtype=np.float32)
        whole[lowest : lowest + len(table)] = table
        found: NDArray[np.float32] = cv2.LUT(stored, whole)
        return found
    pixels = np.empty(stored.shape, dtype=np.float32)
    indices = np.empty((BLOCK_ROWS, stored.shape[1]), dtype=np.intp)  # small enough for the CPU's cache
    for start in range(0, len(stored), BLOCK_ROWS):
        rows = slice(start, start + BLOCK_ROWS)
        index = indices[: len(stored[rows])]
        index[...] = stored[rows]
        index -= lowest
        np.take(table, index, out=pixels[rows], mode="clip")
    return pixels


@cache
def _opencv_looks_up_words() -> bool:
    """Whether OpenCV has a 16-bit LUT (from version 5), which takes less than half of NumPy's time."""
    try:
        cv2.LUT(np.zeros((1, 1), np.uint16), np.zeros(WORDS, np.float32))
    except cv2.error:
        return False
    return True


def _attenuation(histogram: Histogram, *, falling: bool) -> Mapping:
    """A mapping of values proportional to the X-ray intensity to their logarithm, its range scaled to [0, 1].

    With `falling`, high values mean low intensity: the intensity is then the full scale minus the value. The
    full scale is that of the bits that the highest value needs.
    """
    lowest, highest = float(histogram.values[0]), float(histogram.values[-1])
    full_scale = max(highest, (1 << max(int(highest), 0).bit_length()) - 1)

    def logarithm(values: Values) -> Values:
        intensity = full_scale - values if falling else values - min(lowest, 0)
        return np.log(np.maximum(intensity, 1))

    low, high = robust_range(histogram.mapped(logarithm))
    return lambda values: stretch(logarithm(values), low, high)


def _modality_lut(header: Dataset, histogram: Histogram) -> tuple[Mapping, tuple[str, ...]]:
    """The mapping of ModalityLUTSequence, or RescaleSlope and RescaleIntercept (PS3.3, C.11.1)."""
    try:
        if header.get("ModalityLUTSequence"):
            return _lookup(header.ModalityLUTSequence[0], header, histogram), ()
        slope, intercept = header.get("RescaleSlope"), header.get("RescaleIntercept")
        if slope is None or intercept is None:
            return _as_they_are, ()
        slope, intercept = float(slope), float(intercept)
    except _BROKEN_LUT:
        return _as_they_are, ("The modality LUT is damaged and is ignored.",)
    if slope == 0 or not math.isfinite(slope) or not math.isfinite(intercept):
        return _as_they_are, ("RescaleSlope and RescaleIntercept are implausible and are ignored.",)
    if (slope, intercept) == (1, 0):
        return _as_they_are, ()
    return lambda values: values * slope + intercept, ()


def _voi_lut(header: Dataset, histogram: Histogram) -> tuple[Mapping, tuple[str, ...]]:
    """The mapping of VOILUTSequence, the first window, or the full range to [0, 1] (PS3.3, C.11.2).

    `histogram` is that of the values after the modality LUT.
    """
    low, high = robust_range(histogram)

    def full_range(values: Values) -> Values:
        return stretch(values, low, high)

    try:
        if header.get("VOILUTSequence"):
            name, mapping = "VOI LUT", _unit_lookup(header.VOILUTSequence[0], header, histogram)
        elif header.get("WindowCenter") is not None and header.get("WindowWidth") is not None:
            name, mapping = "window", _window(header)
        else:
            return full_range, ()
        shown = histogram.without_edges().mapped(mapping)
    except (*_BROKEN_LUT, NotImplementedError):
        return full_range, ("The VOI LUT or window is damaged; the full range is shown instead.",)
    clipped = shown.fraction((shown.values <= 0) | (shown.values >= 1))
    if clipped > MAX_CLIPPED_FRACTION:
        return full_range, (
            f"The {name} clips {clipped:.0%} of the pixels; the full range is shown instead.",
        )
    darkest, brightest = shown.percentiles(*SPREAD_PERCENTILES)
    if not brightest - darkest >= MIN_SPREAD:
        return full_range, (f"The {name} leaves no contrast; the full range is shown instead.",)
    return mapping, ()


def _as_they_are(values: Values) -> Values:
    return values


def _window(header: Dataset) -> Mapping:
    """The first window, with the header's VOILUTFunction, as a mapping to [0, 1]."""
    center, width = (_first_number(header, keyword) for keyword in ("WindowCenter", "WindowWidth"))
    if not math.isfinite(center) or not math.isfinite(width):
        raise ValueError("a window that is not a number")
    # pydicom maps to the range of BitsStored; with these values, that is [0, 1].
    window = Dataset()
    window.PhotometricInterpretation = "MONOCHROME2"
    window.BitsStored = 1
    window.PixelRepresentation = 0
    window.WindowCenter = center
    window.WindowWidth = width
    window.VOILUTFunction = str(header.get("VOILUTFunction") or "LINEAR").strip()
    return lambda values: apply_windowing(values, window)


def _first_number(header: Dataset, keyword: str) -> float:
    value = header[keyword].value
    return float(value[0] if header[keyword].VM > 1 else value)


def _unit_lookup(item: Dataset, header: Dataset, histogram: Histogram) -> Mapping:
    """A VOI LUT as a mapping to [0, 1]; arguments as in `_lookup`.

    The full scale is that of the bits that the entries need, as descriptors often give 16 or 8 bits for
    entries of 12 bits.
    """
    lookup = _lookup(item, header, histogram)
    highest = int(_entries(item, header).max())
    if highest == 0:
        raise ValueError("a LUT of zeros")
    scale = (1 << highest.bit_length()) - 1
    return lambda values: lookup(values) / scale


def _lookup(item: Dataset, header: Dataset, histogram: Histogram) -> Mapping:
    """A LUT, an item of a sequence, as a mapping; values outside are mapped to the first or last entry.

    The sign of the first mapped value is derived from the values that are looked up, not from its value
    representation: it is negative if it would otherwise exceed all of them (PS3.3, C.11.1.1 and C.11.2.1.1).
    """
    entries = _entries(item, header)
    first = int(item.LUTDescriptor[1]) % WORDS
    if first >= WORDS // 2 > histogram.values[-1]:
        first -= WORDS
    return lambda values: entries[np.clip(np.rint(values).astype(np.int64) - first, 0, len(entries) - 1)]


def _entries(item: Dataset, header: Dataset) -> Values:
    """The entries of LUTData as integers: US, or OW words in the file's byte order, or bytes.

    They are unsigned; a declaration as SS is an error of the writer.
    """
    count = int(item.LUTDescriptor[0]) % WORDS or WORDS
    data = item.LUTData
    if isinstance(data, bytes):
        little_endian = header.file_meta.TransferSyntaxUID.is_little_endian
        words = np.dtype("<u2" if little_endian else ">u2")
        data = np.frombuffer(data, dtype=words if len(data) >= 2 * count else np.uint8)
    entries = np.asarray(data, dtype=np.int64).ravel()[:count] % WORDS
    if len(entries) < count:
        raise ValueError("a LUT with fewer entries than its descriptor gives")
    return entries
