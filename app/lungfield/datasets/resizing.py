"""Making pictures and masks smaller without losing area."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Shape = tuple[int, int]


def fit_shape(shape: Shape, max_side: int | None) -> Shape:
    """The (rows, columns) that a picture of `shape` gets: its longer side is at most `max_side` pixels."""
    if max_side is None or max(shape) <= max_side:
        return shape
    scale = max_side / max(shape)
    return max(1, round(shape[0] * scale)), max(1, round(shape[1] * scale))


def same_aspect(shape: Shape, other: Shape) -> bool:
    """Whether one shape is the other one scaled, give or take a pixel of rounding."""
    return abs(shape[0] * other[1] - shape[1] * other[0]) <= max(*shape, *other)


def resize_pixels(pixels: NDArray[np.float32], shape: Shape) -> NDArray[np.float32]:
    """Resize an (H, W) picture; each new pixel is the mean of the area that it covers."""
    if pixels.shape == shape:
        return pixels
    # A box over an area of less than a pixel would be a nearest neighbour: interpolate there.
    grows = shape[0] > pixels.shape[0] or shape[1] > pixels.shape[1]
    method = Image.Resampling.BILINEAR if grows else Image.Resampling.BOX
    rows, columns = shape
    return np.asarray(Image.fromarray(pixels).resize((columns, rows), method), dtype=np.float32)


def resize_mask(mask: NDArray[np.bool_], shape: Shape) -> NDArray[np.bool_]:
    """Resize an (H, W) mask; a new pixel is in it where at least half of its area is."""
    if mask.shape == shape:
        return mask
    return resize_pixels(mask.astype(np.float32), shape) >= 0.5
