"""Post-processing: from the network's logits to a label map in the file's rows and columns."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from copy import deepcopy
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.data.utils import to_affine_nd
from monai.transforms import Invertd, InvertibleTransform, MapTransform
from monai.transforms.utils import convert_applied_interp_mode, scale_affine
from monai.utils import TraceKeys, convert_to_numpy, convert_to_tensor, ensure_tuple_rep
from numpy.typing import NDArray

from lungfield.labels import LUNG_FIELD, structures_of
from lungfield.mask.native import native_label_map
from lungfield.mask.structures import native_structures
from lungfield.pose import Pose
from lungfield.transforms.classes import lung_logits


def structure_key(key: Hashable, name: str) -> str:
    """The key of the mask of a structure besides the lungs, beside the label map's `key`: 'pred_heart'."""
    return f"{key}_{name}"


class RestoreGridd(Invertd):
    """MONAI's `Invertd`, with its arguments, but with its own interpolation `mode` for the inverse.

    An image is reduced by averaging ('area'), which as an enlargement would give blocks of the network's
    coarse pixels. `mode` is one of `torch.nn.functional.interpolate`.
    """

    def __init__(self, *args: Any, mode: str = "bilinear", **kwargs: Any) -> None:
        super().__init__(*args, nearest_interp=False, **kwargs)
        self.mode = mode

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Resample the keys to the grid that their `orig_keys` had before the transforms."""
        result = dict(data)
        for key in self.key_iterator(result):
            # MONAI treats a plain tensor as one without applied transforms.
            result[key] = convert_to_tensor(result[key], track_meta=True)
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
    """Converts logits of the lung field or of classes to a label map of right and left in the file's pixels.

    The sides come from the classes, or else from the position. If `Transposed` and `Resized` are the only
    geometric preprocessing, the mask is cleaned and split on the coarse grid of the logits, and its contour
    is computed on the file's grid. Otherwise `RestoreGridd` first resamples the logits to the file's grid,
    which takes longer.

    If the network also segments heart or clavicles, each of their masks, uint8 (1, W, H) of 0 and 1, is under
    the key of `structure_key`.

    Args:
        keys: logits (C, h, w) of the network's input; replaced by uint8 (1, W, H) in MONAI's axis order, in
            the file's pixels: 0 background, 1 the patient's right lung, 2 the left.
        classes: the label values of the logits' channels.
        orig_keys: the network's inputs, with the applied transforms of the preprocessing.
        transform: the preprocessing; None if the logits are (C, W, H) on the file's grid already.
        threshold: probability above which a pixel is lung.
        components: largest number of components to keep.

    Raises:
        BundleError: the number of channels is not that of the classes.
    """

    def __init__(
        self,
        keys: KeysCollection,
        *,
        classes: Sequence[int] = LUNG_FIELD,
        orig_keys: KeysCollection = "image",
        transform: InvertibleTransform | None = None,
        threshold: float = 0.5,
        components: int = 2,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.orig_keys = ensure_tuple_rep(orig_keys, len(self.keys))
        self.classes = classes
        self.transform = transform
        # The threshold as a logit, which saves the sigmoid.
        self.logit = float(np.log(threshold / (1 - threshold)))
        self.components = components

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Replace the logits by the label map."""
        result = dict(data)
        for key, orig_key in self.key_iterator(result, self.orig_keys):
            logits, shape, meta = self.upright(result, key, orig_key)
            lung, right = lung_logits(logits.float(), self.classes)
            label_map = native_label_map(
                convert_to_numpy(lung),
                shape,
                level=self.logit,
                components=self.components,
                right=None if right is None else convert_to_numpy(right),
            )
            pose = Pose(*map(bool, meta.get("pose", ())))
            result[key] = _as_stored(label_map, meta, pose)
            for name, mask in self._structures(logits, label_map).items():
                result[structure_key(key, name)] = _as_stored(mask, meta, pose)
        return result

    def _structures(self, logits: torch.Tensor, label_map: NDArray[np.uint8]) -> dict[str, NDArray[np.bool_]]:
        """The upright masks (H, W) of heart and clavicles, by the names of `lungfield.labels`."""
        if not structures_of(self.classes):
            return {}
        channels = {
            value: convert_to_numpy(channel.float())
            for value, channel in zip(self.classes, logits, strict=True)
        }
        return native_structures(channels, label_map, label_map.shape, level=self.logit)

    def upright(
        self, data: Mapping[Hashable, Any], key: Hashable, orig_key: Hashable
    ) -> tuple[torch.Tensor, tuple[int, int], dict[str, Any]]:
        """The logits of a key on a grid over the whole upright image (see `covers`).

        Returns:
            Logits (C, h, w), rows and columns, at any resolution; the image's (rows, columns); and its
            metadata.
        """
        if self.transform is None:
            restored = data[key]
        elif shape := _shape_before_resizing(image := data[orig_key]):
            return data[key], shape, _meta_before_resizing(image, shape)
        else:
            restored = RestoreGridd(keys=key, orig_keys=orig_key, transform=self.transform)(data)[key]
        rows, columns = restored[0].T.shape
        return restored.transpose(-1, -2), (rows, columns), getattr(restored, "meta", {})

    def covers(self, image: torch.Tensor) -> bool:
        """Whether logits on the grid of a preprocessed image cover the whole upright picture as they are."""
        return self.transform is not None and _shape_before_resizing(image) is not None


def _as_stored(upright: NDArray[Any], meta: dict[str, Any], pose: Pose) -> MetaTensor:
    """An upright array (H, W) as uint8 (1, W, H) in the file's pixels."""
    stored = np.ascontiguousarray(pose.stored(upright)).view(np.uint8)
    return MetaTensor(torch.from_numpy(stored)[None].transpose(-1, -2), meta=_of_stored(meta, pose))


def _of_stored(meta: dict[str, Any], pose: Pose) -> dict[str, Any]:
    """The metadata of an upright image (W, H), with the affine of the file's columns and rows."""
    if not pose.transposed or "affine" not in meta:
        return meta
    swapped = torch.as_tensor(meta["affine"])[[1, 0, 2, 3]][:, [1, 0, 2, 3]]
    return {**meta, "affine": swapped, "spatial_shape": np.flip(meta["spatial_shape"])}


def _shape_before_resizing(image: torch.Tensor) -> tuple[int, int] | None:
    """(rows, columns) of the picture of an image that was only transposed and resized; else None."""
    if not isinstance(image, MetaTensor):
        return None
    steps = image.applied_operations
    if [step[TraceKeys.CLASS_NAME].removesuffix("d") for step in steps] != ["Transpose", "Resize"]:
        return None
    transposed, resized = (step[TraceKeys.EXTRA_INFO] for step in steps)
    if tuple(transposed["indices"]) != (0, 2, 1) or resized["new_dim"]:
        return None
    rows, columns = (int(side) for side in steps[1][TraceKeys.ORIG_SIZE])
    return rows, columns


def _meta_before_resizing(image: MetaTensor, shape: tuple[int, int]) -> dict[str, Any]:
    """The metadata of an image before it was resized from `shape` (rows, columns)."""
    meta = deepcopy(image.meta)
    back = to_affine_nd(len(image.affine) - 1, scale_affine(image.shape[1:], shape))
    meta["affine"] = image.affine @ torch.as_tensor(back, dtype=image.affine.dtype)
    return meta
