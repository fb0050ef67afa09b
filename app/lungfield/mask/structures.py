"""Compute masks of heart and clavicles in the file's pixels from a network's coarse logits."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from lungfield.labels import BACKGROUND, CLAVICLE_SIDE_UNKNOWN, CLAVICLES, HEART, LEFT_LUNG, RIGHT_LUNG
from lungfield.mask.components import bounding_box, fill_holes, label_components
from lungfield.mask.native import enlarged
from lungfield.mask.sampling import sampled

Mask = NDArray[np.bool_]

# Smallest area of a component as a fraction of the area of both lungs; smaller ones are noise. In the 247
# reference masks of JSRT, the heart has at least 0.18 and a clavicle at least 0.016.
_MIN_HEART, _MIN_CLAVICLE = 0.05, 0.004
# Clavicles are searched above this fraction of the lungs' height, from their top. In JSRT, the centres of the
# clavicles are at 0.21 at most.
_MAX_CLAVICLE_HEIGHT = 0.45


def native_structures(
    logits: Mapping[int, NDArray[np.floating]],
    lungs: NDArray[np.uint8],
    shape: tuple[int, int],
    *,
    level: float = 0.0,
) -> dict[str, Mask]:
    """Clean the masks of heart and clavicles on the logits' grid, and compute their contours on a finer grid.

    The largest component of the heart is kept, and the largest component of the clavicles on each side of the
    midline; their holes are filled. Components that are small relative to the lungs are removed. Without a
    lung, nothing is kept.

    Args:
        logits: (h, w) floating each, by the label value of the channel: `HEART.value`,
            `CLAVICLE_SIDE_UNKNOWN`. Other values are ignored.
        lungs: (H, W) or (h, w) uint8 label map of the same upright picture: 1 right lung, 2 left lung.
        shape: (H, W) of the picture; all grids cover the same area.
        level: the logit above which a pixel belongs to the structure.

    Returns:
        (H, W) bool masks by the names of `lungfield.labels`; they may overlap.
    """
    found: dict[str, Mask] = {}
    lung_fraction = np.count_nonzero(lungs) / lungs.size
    if HEART.value in logits:
        heart = logits[HEART.value]
        kept = _largest(heart > level, _MIN_HEART * lung_fraction * heart.size)
        found[HEART.name] = _enlarged(kept, heart, shape, level)
    if CLAVICLE_SIDE_UNKNOWN in logits:
        clavicles = logits[CLAVICLE_SIDE_UNKNOWN]
        sides = _clavicles(clavicles > level, sampled(lungs, clavicles.shape), lung_fraction)
        found |= {name: _enlarged(side, clavicles, shape, level) for name, side in sides.items()}
    return found


def _enlarged(kept: Mask, logits: NDArray[np.floating], shape: tuple[int, int], level: float) -> Mask:
    return enlarged(kept.view(np.uint8), logits, shape, level=level).view(bool)


def with_structures(label_map: NDArray[np.uint8], structures: Mapping[str, Mask]) -> NDArray[np.uint8]:
    """Add structures to a label map where it is background.

    Args:
        label_map: (H, W) uint8; the lungs are not changed.
        structures: (H, W) bool masks by the names of `lungfield.labels`. If they overlap, the one with the
            lowest label value is kept.

    Returns:
        (H, W) uint8, a new array.
    """
    combined = label_map.copy()
    for label in (HEART, *CLAVICLES):
        if label.name in structures and (box := bounding_box(structures[label.name])):
            part = combined[box]
            part[structures[label.name][box] & (part == BACKGROUND)] = label.value
    return combined


def _clavicles(mask: Mask, lungs: NDArray[np.uint8], lung_fraction: float) -> dict[str, Mask]:
    """The mask of each clavicle by its name; all of the same shape (h, w)."""
    sides = {label.name: np.zeros(mask.shape, dtype=bool) for label in CLAVICLES}
    box = bounding_box(lungs != BACKGROUND)
    if box is None:
        return sides
    above = slice(None, round(box[0].start + _MAX_CLAVICLE_HEIGHT * (box[0].stop - box[0].start)))
    cut = round(_midline(lungs, box))
    for side, columns in zip(sides.values(), (slice(None, cut), slice(cut, None)), strict=True):
        side[above, columns] = _largest(mask[above, columns], _MIN_CLAVICLE * lung_fraction * mask.size)
    return sides


def _midline(lungs: NDArray[np.uint8], box: tuple[slice, slice]) -> float:
    """The middle column of the lungs' box; with a single lung, the middle of the picture."""
    if (lungs == RIGHT_LUNG.value).any() and (lungs == LEFT_LUNG.value).any():
        return (box[1].start + box[1].stop) / 2
    return lungs.shape[1] / 2


def _largest(mask: Mask, least_px: float) -> Mask:
    """The largest component of a (h, w) mask with its holes filled; empty if it is below `least_px`."""
    kept = np.zeros(mask.shape, dtype=bool)
    box = bounding_box(mask)
    if box is None:
        return kept
    components, areas = label_components(mask[box])
    largest = int(areas.argmax())
    if least_px and areas[largest] >= least_px:
        kept[box] = fill_holes(components == largest)
    return kept
