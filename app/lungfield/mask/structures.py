"""Heart and clavicles, from a network's coarse logits to masks on the file's own pixels."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from lungfield.labels import BACKGROUND, CLAVICLE_SIDE_UNKNOWN, CLAVICLES, HEART, LEFT_LUNG, RIGHT_LUNG
from lungfield.mask.components import bounding_box, fill_holes, label_components
from lungfield.mask.native import enlarged
from lungfield.mask.sampling import sampled

Mask = NDArray[np.bool_]

# Parts of the area of both lungs below which a component is noise. On the 247 reference masks of JSRT a heart
# has at least 0.18 of it, a clavicle at least 0.016.
_MIN_HEART, _MIN_CLAVICLE = 0.05, 0.004
# Clavicles lie in the upper part of the lungs' height, or above them; what is further down is something else.
# There, their centres are at 0.21 at most.
_MAX_CLAVICLE_HEIGHT = 0.45


def native_structures(
    logits: Mapping[int, NDArray[np.floating]],
    lungs: NDArray[np.uint8],
    shape: tuple[int, int],
    *,
    level: float = 0.0,
) -> dict[str, Mask]:
    """Clean the logits of heart and clavicles on their own grid, and draw the contours on a finer one.

    Of the heart its largest component is kept, of the clavicles the largest on each side of the midline,
    holes filled; what is small against the lungs is noise. Where there is no lung, nothing is kept.

    Args:
        logits: (h, w) floating each, by the values that channels stand for: `HEART.value`,
            `CLAVICLE_SIDE_UNKNOWN`. Others are left out.
        lungs: (H, W) or (h, w) uint8 label map of the same upright picture: 1 right lung, 2 left lung.
        shape: (H, W) of the picture; all grids cover the same area.
        level: the logit above which a pixel is of the structure.

    Returns:
        (H, W) bool masks by the names of `lungfield.labels`, each whole where structures overlap.
    """
    found: dict[str, Mask] = {}
    lungs = sampled(lungs, next(iter(logits.values())).shape)
    lung_fraction = np.count_nonzero(lungs) / lungs.size
    if HEART.value in logits:
        heart = logits[HEART.value]
        kept = _largest(heart > level, _MIN_HEART * lung_fraction * heart.size)
        found[HEART.name] = enlarged(kept.astype(np.uint8), heart, shape, level=level).view(bool)
    if CLAVICLE_SIDE_UNKNOWN in logits:
        clavicles = logits[CLAVICLE_SIDE_UNKNOWN]
        sides = _clavicles(clavicles > level, lungs, lung_fraction)
        native = enlarged(sides, clavicles, shape, level=level)
        found |= {label.name: native == side for side, label in enumerate(CLAVICLES, start=1)}
    return found


def with_structures(label_map: NDArray[np.uint8], structures: Mapping[str, Mask]) -> NDArray[np.uint8]:
    """A label map (H, W) with structures, masks (H, W) by name, where it has background.

    The lungs stay as they are, and of structures that overlap the first is whole, in the order of their
    values.
    """
    combined = label_map.copy()
    for label in (HEART, *CLAVICLES):
        if label.name in structures:
            combined[structures[label.name] & (combined == BACKGROUND)] = label.value
    return combined


def _clavicles(mask: Mask, lungs: NDArray[np.uint8], lung_fraction: float) -> NDArray[np.uint8]:
    """1 on the right clavicle and 2 on the left one, (h, w) uint8; all of the same shape."""
    sides = np.zeros(mask.shape, dtype=np.uint8)
    box = bounding_box(lungs != BACKGROUND)
    if box is None:
        return sides
    above = slice(None, round(box[0].start + _MAX_CLAVICLE_HEIGHT * (box[0].stop - box[0].start)))
    cut = round(_midline(lungs, box))
    for side, columns in ((1, slice(None, cut)), (2, slice(cut, None))):
        kept = _largest(mask[above, columns], _MIN_CLAVICLE * lung_fraction * mask.size)
        sides[above, columns][kept] = side
    return sides


def _midline(lungs: NDArray[np.uint8], box: tuple[slice, slice]) -> float:
    """The column between the lungs; that of the picture's middle where there is one lung."""
    if (lungs == RIGHT_LUNG.value).any() and (lungs == LEFT_LUNG.value).any():
        return (box[1].start + box[1].stop) / 2
    return lungs.shape[1] / 2


def _largest(mask: Mask, least_px: float) -> Mask:
    """The largest component of a (h, w) mask with its holes filled; nothing where it is too small."""
    components, areas = label_components(mask)
    largest = int(areas.argmax())
    if not areas[largest] or not least_px or areas[largest] < least_px:
        return np.zeros(mask.shape, dtype=bool)
    return fill_holes(components == largest)
