"""From the network's logits back to a label map on the file's own rows and columns."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import Invertd, MapTransform
from monai.transforms.utils import convert_applied_interp_mode
from monai.utils import convert_to_numpy

from lungfield.mask import clean_mask, split_lungs


class RestoreGridd(Invertd):
    """MONAI's `Invertd`, interpolating on the way back with a mode of its own.

    An image is shrunk by averaging ('area'), which has no sensible inverse: enlarged that way, logits
    would come out as blocks of the network's coarse pixels. Arguments are those of `Invertd`.

    Args:
        mode: interpolation of the inverse, as `torch.nn.functional.interpolate` names it.
    """

    def __init__(self, *args: Any, mode: str = "bilinear", **kwargs: Any) -> None:
        super().__init__(*args, nearest_interp=False, **kwargs)
        self.mode = mode

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Bring the keys back to the grid that their `orig_keys` had before the transforms."""
        result = dict(data)
        originals = {}
        for orig_key in set(self.orig_keys):
            original = originals[orig_key] = result[orig_key]
            result[orig_key] = MetaTensor(
                original.as_tensor(),
                meta=original.meta,
                applied_operations=convert_applied_interp_mode(
                    original.applied_operations, mode=self.mode, align_corners=False
                ),
            )
        result = super().__call__(result)
        result.update(originals)
        return result


class LungLabelMapd(MapTransform):
    """Logits of the lung field -> label map: threshold, clean, split into right and left.

    Args:
        keys: logits (1, W, H), on the grid of the file, in MONAI's axis order; becomes uint8 (1, W, H) with
            0 background, 1 the patient's right lung, 2 the left.
        threshold: probability from which a pixel is lung.
        components: how many connected regions are kept, the largest first.
    """

    def __init__(
        self,
        keys: KeysCollection,
        *,
        threshold: float = 0.5,
        components: int = 2,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        # Compared with the logits, which saves the sigmoid of every pixel of a large image.
        self.logit = float(np.log(threshold / (1 - threshold)))
        self.components = components

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Replace the logits by the label map."""
        result = dict(data)
        for key in self.key_iterator(result):
            logits = result[key]
            upright = convert_to_numpy(logits[0] > self.logit).T
            mirrored = bool(getattr(logits, "meta", {}).get("mirrored", False))
            label_map = split_lungs(clean_mask(upright, components=self.components), mirrored=mirrored)
            tensor = torch.from_numpy(np.ascontiguousarray(label_map.T[None]))
            meta = logits.meta if isinstance(logits, MetaTensor) else None
            result[key] = MetaTensor(tensor, meta=meta)
        return result
