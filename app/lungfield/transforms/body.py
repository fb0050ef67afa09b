"""Find the body on a radiograph, for histogram equalisation over the body only."""

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

    Black borders, collimation and saturated air have a different area on every radiograph. If they are
    included in the equalisation, they use grey levels that the lungs need, and the same chest looks different
    on each machine.

    Args:
        keys: images (1, H, W) in [0, 1].
        mask_key: key of the new mask (1, H, W), of the image's type, 1 on the body and 0 elsewhere.
        margin: largest distance of a border pixel from the darkest or brightest value, as a fraction of the
            range.
        min_area: if the body is smaller than this fraction of the image, the mask is 1 everywhere.
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
    """Return (H, W) bool: False on dark or bright regions that touch the edge of a (H, W) float image.

    A pixel is dark or bright within the fraction `margin` of the range from its ends. If the body is smaller
    than the fraction `min_area` of the image, the result is True everywhere.
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
