"""Convert the words in PixelData to stored values: byte order, justification, unused bits, sign.

Headers can be wrong about all four. Only the picture shows it: neighbouring pixels of a radiograph are
similar, while wrongly read values jump from one end of their range to the other.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

ROWS = 64
ROWS_FOR_BYTE_ORDER = 16
MIN_JUMPS = 0.001
MIN_RATIO = 4.0
MIN_COLUMNS_WITH_JUMPS = 0.2
MIN_RATIO_OF_BYTE_ORDERS = 8.0

Remarks = tuple[str, ...]


def stored_values(raw: NDArray[Any], dataset: Dataset, *, compressed: bool) -> tuple[NDArray[Any], Remarks]:
    """Return the values that a device stored, and remarks about errors in the header.

    Args:
        raw: (H, W) decoded words with all of their bits; floating point values are returned unchanged.
        dataset: with BitsStored, HighBit and PixelRepresentation; a wrong PixelRepresentation is corrected.
        compressed: whether an image codec encoded them; then byte order and justification are always right.

    Returns:
        (H, W) values, and one remark per error.

    Raises:
        ValueError: BitsStored is not within the bits of `raw`.
    """
    if raw.dtype.kind == "f":
        return raw, ()
    remarks: Remarks = ()
    if not compressed and is_byte_swapped(raw):
        raw = raw.byteswap()
        remarks += ("The byte order of PixelData (7FE0,0010) is not that of the transfer syntax.",)
    bits = int(dataset.BitsStored)
    if not 0 < bits <= 8 * raw.dtype.itemsize:
        raise ValueError("BitsStored is not within BitsAllocated")
    if not compressed:
        raw, more = _justified(raw, bits, dataset)
        remarks += more
    values, more = _without_unused_bits(raw, bits, dataset)
    return values, remarks + more


def _justified(raw: NDArray[Any], bits: int, dataset: Dataset) -> tuple[NDArray[Any], Remarks]:
    """Shift values that have unused bits below them (HighBit; DICOM PS3.5, 8.1.1)."""
    try:
        shift = int(dataset.HighBit) + 1 - bits
    except (AttributeError, TypeError, ValueError):
        return raw, ()
    if not 0 < shift <= 8 * raw.dtype.itemsize - bits:
        return raw, ()
    if (raw & ((1 << shift) - 1)).any() and raw.min() >= 0 and raw.max() < 1 << bits:
        return raw, ("HighBit (0028,0102) is wrong: the values use the lowest bits.",)
    return raw >> shift, ()


def _without_unused_bits(raw: NDArray[Any], bits: int, dataset: Dataset) -> tuple[NDArray[Any], Remarks]:
    """Clear the bits above BitsStored, or extend the sign (PS3.5, 8.1.1), and check the result."""
    lowest = -(1 << (bits - 1)) if raw.dtype.kind == "i" else 0
    fits = raw.min() >= lowest and raw.max() < lowest + (1 << bits)
    unused = 8 * raw.dtype.itemsize - bits
    values = raw if fits else (raw << unused) >> unused
    if has_wrong_sign(values, bits):
        signed = values.dtype.kind == "u"
        dataset.PixelRepresentation = int(signed)
        other = np.dtype(f"{'i' if signed else 'u'}{values.dtype.itemsize}")
        return ((values << unused).view(other) >> unused).astype(other, copy=False), (
            "PixelRepresentation (0028,0103) is wrong: the values are read as "
            + ("signed." if signed else "unsigned."),
        )
    if not fits and has_too_few_bits(raw, values, bits):
        return _with_bits_needed(raw, bits), (
            "BitsStored (0028,0101) is wrong: the values use more bits, and are read with them.",
        )
    return values, ()


def _with_bits_needed(raw: NDArray[Any], bits: int) -> NDArray[Any]:
    """The values with the fewest bits above `bits` that do not truncate them; an overlay may lie above."""
    width = 8 * raw.dtype.itemsize
    for more in range(bits + 1, width):
        values: NDArray[Any] = (raw << (width - more)) >> (width - more)
        if not has_too_few_bits(raw, values, more):
            return values
    return raw


def is_byte_swapped(raw: NDArray[Any]) -> bool:
    """Whether 16-bit values, (H, W), have the wrong byte order."""
    if raw.dtype.itemsize != 2:
        return False
    rows = raw[:: max(1, len(raw) // ROWS_FOR_BYTE_ORDER)]
    if not (rows & 0xFF).any():
        return False  # 8 bits in the upper bytes
    return _roughness(rows) > MIN_RATIO_OF_BYTE_ORDERS * max(_roughness(rows.byteswap()), 1.0)


def has_wrong_sign(stored: NDArray[Any], bits: int) -> bool:
    """Whether signed values were read as unsigned (PixelRepresentation), or the reverse.

    Args:
        stored: (H, W) integers as read.
        bits: BitsStored.
    """
    rows = _some_rows(stored)
    if not rows.min() < 0 and not rows.max() >> (bits - 1):
        return False  # both interpretations are the same
    half = 1 << (bits - 1)
    other = (rows if rows.min() < 0 else rows + half) & (2 * half - 1)
    if not _is_smoother(other, rows, bits):
        return False
    # Edges of collimators and letters have equally large jumps, but only in few columns.
    return float(_jumps(rows, bits).any(axis=0).mean()) >= MIN_COLUMNS_WITH_JUMPS


def has_too_few_bits(raw: NDArray[Any], stored: NDArray[Any], bits: int) -> bool:
    """Whether the values use bits above BitsStored, which clearing has removed.

    Args:
        raw: (H, W) integers with all of their bits.
        stored: (H, W) integers with the bits above BitsStored cleared.
        bits: BitsStored.
    """
    return _is_smoother(_some_rows(raw), _some_rows(stored), bits)


def _some_rows(values: NDArray[Any]) -> NDArray[np.signedinteger[Any]]:
    """Some of the rows, in a type that holds twice their range."""
    dtype = np.int32 if values.dtype.itemsize <= 2 else np.int64
    return values[:: max(1, len(values) // ROWS)].astype(dtype)


def _is_smoother(
    other: NDArray[np.signedinteger[Any]], rows: NDArray[np.signedinteger[Any]], bits: int
) -> bool:
    jumps = _jumps(rows, bits).mean()
    return bool(jumps >= MIN_JUMPS and jumps >= MIN_RATIO * _jumps(other, bits).mean())


def _jumps(rows: NDArray[np.signedinteger[Any]], bits: int) -> NDArray[np.bool_]:
    """Where neighbours along the rows differ by half of the range or more."""
    return np.asarray(np.abs(np.diff(rows, axis=1)) >= 1 << (bits - 1))


def _roughness(rows: NDArray[Any]) -> float:
    """The mean absolute difference of neighbours along the rows."""
    return float(np.abs(np.diff(rows.astype(np.int32), axis=1)).mean())
