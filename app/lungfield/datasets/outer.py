"""Derive partial labels of the lungs from outer contours that include the mediastinum."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from lungfield.labels import BACKGROUND, LUNG_SIDE_UNKNOWN, UNKNOWN

# Fraction of each row of a polygon, from its lateral edge, that is certainly lung.
_LATERAL = 0.4
# A polygon smaller than this fraction of the larger one is no lung.
_MIN_SECOND = 0.2
# Width of the unknown band along the contour, as a fraction of the longer side: the variation of annotators.
_BAND = 3 / 256


def label_of_outer_contour(mask: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Convert a mask of two polygons, each a lung with the region medial of it, to a partial label map.

    Some annotators draw only the outer contour of each lung, with a straight medial edge through heart and
    mediastinum (V7 Labs' annotations of portable radiographs). Pixels outside are background, and the lateral
    40 % of each row of a polygon are lung; the rest, and a narrow band along the contour, is unknown. If
    there are not two polygons, all pixels inside are unknown.

    Shapes:
        (H, W) bool, upright, the patient's right lung on the left -> (H, W) uint8: 0
        background, 255 lung, 254 unknown.
    """
    label_map = np.where(mask, UNKNOWN, BACKGROUND).astype(np.uint8)
    polygons, count = ndimage.label(mask)
    sizes = ndimage.sum_labels(mask, polygons, range(1, count + 1))
    # If the lungs touch, or one is missing, the lateral side is not known.
    large = [one for one in range(1, count + 1) if sizes[one - 1] >= _MIN_SECOND * sizes.max()]
    largest = large if len(large) == 2 else []
    centres = {one: ndimage.center_of_mass(polygons == one)[1] for one in largest}
    for one in largest:
        polygon = polygons == one
        along = np.cumsum(polygon, axis=1)
        width = along[:, -1:]
        from_left = centres[one] == min(centres.values())
        from_edge = along if from_left else width + 1 - along
        lateral = from_edge <= _LATERAL * width
        # Below the top of the diaphragm, a row may contain the medial end only.
        columns = np.arange(mask.shape[1])
        lateral &= columns < centres[one] if from_left else columns > centres[one]
        label_map[polygon & lateral] = LUNG_SIDE_UNKNOWN
    band = max(1, round(_BAND * max(mask.shape)))
    outer = ndimage.binary_dilation(mask, iterations=band)
    edge = outer & ~ndimage.binary_erosion(mask, iterations=band, border_value=1)
    label_map[edge] = UNKNOWN
    return label_map
