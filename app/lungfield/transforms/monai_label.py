"""What MONAI Label's own app for bundles, `monaibundle`, needs after a bundle's post-processing.

It takes `post_transforms` of inference.yaml in the place of `postprocessing` where both are there.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import Compose, MapTransform

from lungfield.labels import LUNG_FIELD
from lungfield.transforms.itk_geometry import default_suffix, geometry_of, is_picture
from lungfield.transforms.postprocessing import LungLabelMapd


def post_transforms(
    postprocessing: Compose, classes: Sequence[int] = LUNG_FIELD, *, keys: KeysCollection = "pred"
) -> list[Any]:
    """The transforms of a bundle's post-processing, and then `ForMonaiLabeld`.

    Args:
        postprocessing: as the config has it.
        classes: what the channels of the network stand for: the app does not read the metadata for a config.
        keys: label maps.
    """
    for one in postprocessing.transforms:
        if isinstance(one, LungLabelMapd):
            one.classes = classes
    return [*postprocessing.transforms, ForMonaiLabeld(keys)]


class ForMonaiLabeld(MapTransform):
    """Turns a label map into what MONAI Label's writer makes the right file of.

    A map (1, W, H) would be taken for a volume one pixel wide. For a picture it becomes (W, H), else
    (1, W, H, 1), and the image's metadata say so too, with the affine by which viewers place its file. Where
    the request names no format, it is PNG for pictures and compressed NIfTI for all else, not the image's
    own, which may be lossy.

    Args:
        keys: label maps (1, W, H).
        ref_image: the image they were made of, whose metadata are changed.
    """

    def __init__(
        self, keys: KeysCollection, *, ref_image: str = "image", allow_missing_keys: bool = False
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.ref_image = ref_image

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Change the shape of the label maps."""
        result = dict(data)
        image: MetaTensor = result[self.ref_image]
        path = Path(image.meta["filename_or_obj"])
        suffix = result["result_extension"] = result.get("result_extension") or default_suffix(path)
        for key in self.key_iterator(result):
            if is_picture(suffix):
                result[key] = result[key][0]
            else:
                result[key] = result[key][..., np.newaxis]
                image.meta["spatial_shape"] = np.array(result[key].shape[1:])
                image.meta["original_affine"] = geometry_of(path).affine
        return result
