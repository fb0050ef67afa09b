"""Whether stored values wrap around: read with the wrong sign, or with too few of their bits.

Nothing in a file says so, but the picture does: neighbours in a radiograph are alike, and values that wrap
around jump from one end of their range to the other.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

ROWS = 64
MIN_JUMPS = 0.001
MIN_RATIO = 4.0


def has_wrong_sign(stored: NDArray[Any], bits: int) -> bool:
    """Tell whether values are signed but were read as unsigned (PixelRepresentation), or the reverse.

    Args:
        stored: (H, W) integers as they were read, in the range of `bits`.
        bits: BitsStored.
    """
    rows = _some_rows(stored)
    if not rows.min() < 0 and not rows.max() >> (bits - 1):
        return False  # both readings are the same
    half = 1 << (bits - 1)
    other = (rows if rows.min() < 0 else rows + half) & (2 * half - 1)
    return _is_smoother(other, rows, bits)


def has_too_few_bits(raw: NDArray[Any], stored: NDArray[Any], bits: int) -> bool:
    """Tell whether parts of the values lie in bits above BitsStored, and were cleared with these.

    Args:
        raw: (H, W) integers with all of their bits.
        stored: (H, W) the same integers, the bits above BitsStored cleared.
        bits: BitsStored.
    """
    return _is_smoother(_some_rows(raw), _some_rows(stored), bits)


def _some_rows(values: NDArray[Any]) -> NDArray[np.signedinteger[Any]]:
    """Some rows, of a type that holds twice their range."""
    dtype = np.int32 if values.dtype.itemsize <= 2 else np.int64
    return values[:: max(1, len(values) // ROWS)].astype(dtype)


def _is_smoother(
    other: NDArray[np.signedinteger[Any]], rows: NDArray[np.signedinteger[Any]], bits: int
) -> bool:
    jumps = _jumps(rows, bits)
    return jumps >= MIN_JUMPS and jumps >= MIN_RATIO * _jumps(other, bits)


def _jumps(rows: NDArray[np.signedinteger[Any]], bits: int) -> float:
    """The fraction of neighbours along the rows that are half of the range apart, or more."""
    return float(np.mean(np.abs(np.diff(rows, axis=1)) >= 1 << (bits - 1)))
