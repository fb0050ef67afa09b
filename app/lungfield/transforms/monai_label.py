"""Additional post-processing for MONAI Label's app for bundles, `monaibundle`.

If inference.yaml has both, that app uses `post_transforms` instead of `postprocessing`.
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
    """The transforms of a bundle's post-processing, followed by `ForMonaiLabeld`.

    Args:
        postprocessing: from the config.
        classes: the label values of the network's channels, as the app does not read the metadata.
        keys: label maps.
    """
    for one in postprocessing.transforms:
        if isinstance(one, LungLabelMapd):
            one.classes = classes
    return [*postprocessing.transforms, ForMonaiLabeld(keys)]


class ForMonaiLabeld(MapTransform):
    """Reshapes a label map for MONAI Label's writer.

    The writer would treat a map (1, W, H) as a volume one pixel wide. For a picture it becomes (W, H), else
    (1, W, H, 1), and the image's metadata are changed accordingly, with the affine that viewers use. If the
    request names no format, it is PNG for pictures and compressed NIfTI for other files, instead of the
    image's own format, which may be lossy.

    Args:
        keys: label maps (1, W, H).
        ref_image: the image of the label maps, whose metadata are changed.
    """

    def __init__(
        self, keys: KeysCollection, *, ref_image: str = "image", allow_missing_keys: bool = False
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.ref_image = ref_image

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return `data` with reshaped label maps."""
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
