"""Clean a network's raw mask: remove small and peripheral components, and fill holes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lungfield.mask.components import bounding_box, fill_holes, label_components


def clean_mask(
    mask: NDArray[np.bool_], *, components: int = 2, min_fraction: float = 0.05, prefer_centre: bool = True
) -> NDArray[np.bool_]:
    """Keep the most prominent components of a mask and fill their holes.

    The prominence of a component is its area, weighted by the nearness to the image's centre. By area alone,
    air beside the arms that a network segments as lung could be kept instead of a lung.

    Args:
        mask: (H, W) bool, both lungs together.
        components: largest number of components to keep.
        min_fraction: drop components with less than this fraction of the largest prominence, in [0, 1].
        prefer_centre: weight each pixel by a half sine along each axis, 1 in the middle and 0 at the edge;
            False ranks by area alone.

    Returns:
        (H, W) bool, a new array. An empty mask gives an empty mask.
    """
    cleaned = np.zeros(mask.shape, dtype=bool)
    box = bounding_box(mask)
    if box is None:
        return cleaned
    numbered, areas = label_components(mask[box])
    prominence = _central_area(numbered, areas.size, mask.shape, box) if prefer_centre else areas
    first = np.argsort(-prominence, kind="stable")[:components]
    kept = np.zeros(areas.size, dtype=bool)
    kept[first] = (areas[first] > 0) & (prominence[first] >= min_fraction * prominence.max())
    cleaned[box] = fill_holes(kept[numbered])
    return cleaned


def _central_area(
    numbered: NDArray[np.int32], count: int, shape: tuple[int, ...], box: tuple[slice, slice]
) -> NDArray[np.float64]:
    """The area of each component, with pixels weighted by their nearness to the image's centre."""
    # A ranking needs only some hundred pixels per side.
    steps = [max(1, length // 512) for length in shape]
    rows, columns = (
        np.sin(np.pi * (np.arange(side.start, side.stop, step) + 0.5) / length)
        for side, step, length in zip(box, steps, shape, strict=True)
    )
    sampled = numbered[:: steps[0], :: steps[1]]
    weights: NDArray[np.float64] = np.bincount(
        sampled.ravel(), weights=np.outer(rows, columns).ravel(), minlength=count
    ).astype(np.float64)
    weights[0] = 0
    return weights
