"""Labels and network outputs with a channel per class, in the order of the bundle's metadata.

`classes` are the label values of the channels (`lungfield.bundles.classes.output_classes`). A single class is
the lung field (sigmoid). Several classes with a background are exclusive (softmax); several without a
background are overlapping structures (sigmoid): the lung field, and others such as the heart.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform, RandFlipd
from numpy.typing import NDArray

from lungfield.errors import BundleError, DataError
from lungfield.labels import (
    BACKGROUND,
    LEFT_LUNG,
    LUNG_FIELD,
    LUNG_SIDE_UNKNOWN,
    RIGHT_LUNG,
    UNKNOWN,
    mask_names,
)
from lungfield.mask import read_reference, split_lungs
from lungfield.pose import UPRIGHT

SIDES = (RIGHT_LUNG.value, LEFT_LUNG.value)


def require_channels(count: int, classes: Sequence[int]) -> None:
    """Raise `BundleError` if the number of a network's channels is not that of the classes."""
    if count != len(classes):
        raise BundleError(
            f"The network has {count} output channels, but the bundle's metadata.json names {len(classes)}: "
            "set num_channels and channel_def there, under network_data_format, outputs, pred."
        )


def lung_logits(
    logits: torch.Tensor, classes: Sequence[int] = LUNG_FIELD
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """The logit of lung (h, w), and the log odds of right against left (h, w), None if sides are no classes.

    Args:
        logits: (C, h, w) floating, one channel per class.
        classes: the label values of the channels.

    Raises:
        BundleError: the numbers of channels and classes differ.
    """
    require_channels(len(logits), classes)
    if BACKGROUND not in classes:
        return logits[list(classes).index(LUNG_SIDE_UNKNOWN)], None
    of = dict(zip(classes, logits, strict=True))
    background = of.pop(BACKGROUND)
    lung = torch.logsumexp(torch.stack(list(of.values())), dim=0) - background
    return lung, of[SIDES[0]] - of[SIDES[1]] if SIDES[0] in of else None


class ClassesAndUnknownd(MapTransform):
    """Converts a label map (1, H, W) to channels (C + 1, H, W) of 0 and 1: one per class, and unknown.

    The channels can be resized and transformed like pictures. Pixels with `lungfield.labels.UNKNOWN` are
    left out of the training loss. Both lungs are lung; if sides are classes, lung of unknown side is split by
    its position.

    With overlapping `structures`, the channels (2 C, H, W) are the lungs and each structure, followed by the
    unknown channel of each. A structure without a mask is unknown everywhere.

    Args:
        keys: label maps.
        classes: the label values of the network's channels.
        structures: further structures, such as 'heart' and 'clavicles', in the order of their channels. The
            paths of their masks, from `load_data_list`, are in `data['structures']`, which is removed.
    """

    def __init__(
        self,
        keys: KeysCollection,
        classes: Sequence[int] = LUNG_FIELD,
        *,
        structures: Sequence[str] = (),
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.classes = classes
        self.structures = structures

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Replace the label maps in `data`."""
        result = dict(data)
        masks = read_structures(result.pop("structures", {}), self.structures)
        for key in self.key_iterator(result):
            channels = classes_and_unknown(result[key], LUNG_FIELD if self.structures else self.classes)
            result[key] = structure_channels(channels, masks) if self.structures else channels
        return result


def read_structures(paths: Mapping[str, str], structures: Sequence[str]) -> list[NDArray[np.bool_] | None]:
    """Read the upright mask, (H, W) bool, of each structure; None if one of its masks is missing.

    Args:
        paths: of the masks, by the names of `lungfield.labels.mask_names`; '' without a mask.
        structures: names of the structures.

    Raises:
        DataError: a mask cannot be read, or the masks of a structure differ in size.
    """
    masks: list[NDArray[np.bool_] | None] = []
    for structure in structures:
        files = [paths.get(name, "") for name in mask_names(structure)]
        parts = [read_reference(Path(file), UPRIGHT) != BACKGROUND for file in files if file]
        if len({part.shape for part in parts}) > 1:
            raise DataError(f"{files[0]} and {files[-1]} are masks of one radiograph, but differ in size.")
        masks.append(np.logical_or.reduce(parts) if len(parts) == len(files) else None)
    return masks


def structure_channels(lungs: torch.Tensor, masks: Sequence[NDArray[np.bool_] | None]) -> torch.Tensor:
    """The channels (2 C, H, W): lungs and structures, then the unknown channel of each.

    Args:
        lungs: (2, H, W), the lungs and their unknown pixels.
        masks: (H, W) bool of each structure; None for a structure without a mask.

    Raises:
        DataError: a mask has another size.
    """
    lung, unknown = lungs[:1], lungs[1:]
    present, absent = [lung], [unknown]
    for mask in masks:
        if mask is not None and mask.shape != lung.shape[-2:]:
            raise DataError(
                f"A mask of {mask.shape} pixels does not fit a label of {tuple(lung.shape[-2:])}."
            )
        found = torch.zeros_like(lung) if mask is None else torch.from_numpy(mask)[None].to(lung)
        present.append(found)
        absent.append(torch.full_like(lung, float(mask is None)))
    return torch.cat([*present, *absent])


def classes_and_unknown(label: torch.Tensor, classes: Sequence[int] = LUNG_FIELD) -> torch.Tensor:
    """The channels of `ClassesAndUnknownd`, (..., C + 1, H, W), of upright label maps (..., 1, H, W)."""
    unknown = label == UNKNOWN
    if SIDES[0] in classes and (label == LUNG_SIDE_UNKNOWN).any():
        label = _parted(label)
    channels = [
        (label != BACKGROUND) & ~unknown if value == LUNG_SIDE_UNKNOWN else label == value
        for value in classes
    ]
    return torch.cat([*channels, unknown], dim=-3).float()


def _parted(label: torch.Tensor) -> torch.Tensor:
    """A label map in which lung of unknown side is split by position."""
    parted = label.clone()
    maps = label.cpu().numpy().reshape(-1, *label.shape[-2:])
    lungs = np.stack([split_lungs((one != BACKGROUND) & (one != UNKNOWN)) for one in maps])
    sides = torch.from_numpy(lungs).reshape(label.shape).to(label)
    unknown = label == LUNG_SIDE_UNKNOWN
    parted[unknown] = sides[unknown]
    return parted


class KnownLungsd(MapTransform):
    """Removes the background channel of predictions and label, and sets unknown pixels of both to 0.

    Args:
        keys: predictions (C, H, W) of 0 and 1, one channel per class.
        label_key: the label (C + 1, H, W) or (2 C, H, W) of 0 and 1 from `ClassesAndUnknownd`, resized and
            rounded; it gets the predictions' shape.
        classes: the label values of the channels.

    Raises:
        BundleError: the number of a prediction's channels is not that of the classes.
    """

    def __init__(
        self, keys: KeysCollection, label_key: str = "label", classes: Sequence[int] = LUNG_FIELD
    ) -> None:
        super().__init__(keys)
        self.label_key = label_key
        self.classes = classes
        self._lungs = [channel for channel, value in enumerate(classes) if value != BACKGROUND]

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Replace predictions and label in `data`."""
        result = dict(data)
        known = 1 - result[self.label_key][len(self.classes) :]
        for key in self.key_iterator(result):
            require_channels(len(result[key]), self.classes)
            result[key] = result[key][self._lungs] * known
        result[self.label_key] = result[self.label_key][self._lungs] * known
        return result


class RandMirrord(RandFlipd):
    """Randomly mirrors pictures (C, H, W) and their label horizontally.

    Args:
        keys: the pictures, and the label from `ClassesAndUnknownd`.
        label_key: key of the label. Its right and left lung are exchanged, so that the right lung is always
            on the image's left. Overlapping structures have no sides.
        classes: the label values of the label's channels.
        prob: probability of mirroring.
    """

    def __init__(
        self,
        keys: KeysCollection,
        label_key: str = "label",
        classes: Sequence[int] = LUNG_FIELD,
        prob: float = 0.5,
    ) -> None:
        super().__init__(keys, prob=prob, spatial_axis=1)
        self.label_key = label_key
        other = dict(zip(SIDES, SIDES[::-1], strict=True))
        self._order = [list(classes).index(other.get(value, value)) for value in classes]

    def __call__(self, data: Mapping[Hashable, Any], lazy: bool | None = None) -> dict[Hashable, Any]:
        """Return `data`, mirrored with the given probability."""
        result: dict[Hashable, Any] = super().__call__(data, lazy=lazy)
        if self._do_transform:
            label = result[self.label_key]
            result[self.label_key] = label[self._order + list(range(len(self._order), len(label)))]
        return result
