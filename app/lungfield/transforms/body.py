"""Where the body is: what the histogram of a radiograph should be taken from."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import cv2
import numpy as np
from monai.config import KeysCollection
from monai.transforms import MapTransform
from monai.utils import convert_to_dst_type, convert_to_numpy
from numpy.typing import NDArray


class BodyMaskd(MapTransform):
    """Marks the body, so that `HistogramNormalized(mask_key=...)` equalises over it.

    Black borders, collimation and burnt-out air take up a different share of every radiograph. Equalised
    with the rest they use up grey levels that the lungs need, and the same chest comes out
    different from one machine to the next.

    Args:
        keys: images (1, H, W) in [0, 1].
        mask_key: where to put the mask (1, H, W), of the image's type, 1 on the body and 0 elsewhere.
        margin: how near to the darkest or brightest value a border pixel is, as a fraction of the range.
        min_area: a body smaller than this fraction of the image is not believed: all of it is taken.
    """

    def __init__(
        self,
        keys: KeysCollection,
        mask_key: str = "body",
        *,
        margin: float = 0.02,
        min_area: float = 0.2,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.mask_key = mask_key
        self.margin = margin
        self.min_area = min_area

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Add the mask to `data`."""
        result = dict(data)
        for key in self.key_iterator(result):
            image = result[key]
            body = find_body(convert_to_numpy(image)[0], margin=self.margin, min_area=self.min_area)
            result[self.mask_key] = convert_to_dst_type(body[None], image)[0]
        return result


def find_body(
    image: NDArray[np.floating], *, margin: float = 0.02, min_area: float = 0.2
) -> NDArray[np.bool_]:
    """Return (H, W) bool: False on flat dark or bright regions that touch the edge of a (H, W) float image.

    A pixel counts as dark (or bright) within the fraction `margin` of the range from its end. A body smaller
    than the fraction `min_area` of the image is not believed, and all True comes back.
    """
    low, high = float(image.min()), float(image.max())
    tolerance = margin * (high - low)
    outside = _touching_edge(image <= low + tolerance) | _touching_edge(image >= high - tolerance)
    body = ~outside
    return body if body.mean() >= min_area else np.ones_like(body)


def _touching_edge(region: NDArray[np.bool_]) -> NDArray[np.bool_]:
    if not (region[[0, -1]].any() or region[:, [0, -1]].any()):
        return np.zeros_like(region)
    _, labels = cv2.connectedComponents(np.ascontiguousarray(region).view(np.uint8), connectivity=4)
    edge = np.unique(np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]]))
    keep = np.zeros(labels.max() + 1, dtype=bool)
    keep[edge] = True
    keep[0] = False
    return keep[labels]
