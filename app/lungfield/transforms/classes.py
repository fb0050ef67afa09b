"""Labels and outputs of networks by class: a channel for each, in the order of the bundle's metadata.

`classes` are the label values of the channels (`lungfield.bundles.classes.output_classes`). One class is the
lung field by itself (sigmoid); several are exclusive (softmax), and the background is one of them, or where
it is not, structures that overlap (sigmoid): the lung field, and others such as the heart.
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
    """Raise `BundleError` where a network does not give a channel for each class."""
    if count != len(classes):
        raise BundleError(
            f"The network gives {count} channels, and the bundle's metadata.json speaks of {len(classes)}: "
            "set num_channels and channel_def there, under network_data_format, outputs, pred."
        )


def lung_logits(
    logits: torch.Tensor, classes: Sequence[int] = LUNG_FIELD
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """The logit of lung (h, w), and where sides are classes the log odds of right against left (h, w).

    Args:
        logits: (C, h, w) floating, a channel a class.
        classes: what they stand for.

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
    """Makes of a label map (1, H, W) channels (C + 1, H, W) of 0 and 1: one a class, and unknown.

    They can then be resized and turned as pictures are. `lungfield.labels.UNKNOWN` marks what a training loss
    is to leave out. Either lung counts as lung; where sides are classes, a lung whose side is not told is
    parted by its position.

    With `structures` that overlap the lungs, the channels (2 C, H, W) are the lungs and each structure, and
    then the unknown of each: all of a structure is unknown where the image has no mask of it.

    Args:
        keys: label maps.
        classes: what the channels of the network stand for.
        structures: further structures, such as 'heart' and 'clavicles', in the order of their channels; the
            paths of their masks are in `data['structures']`, as `load_data_list` gives them, and are taken
            out of it.
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
    """The upright mask (H, W) of each structure; None where one of its masks is missing.

    Args:
        paths: of the masks, by the names of `lungfield.labels.mask_names`; empty where there is none.
        structures: their names.

    Raises:
        DataError: a mask cannot be read, or those of a structure differ in size.
    """
    masks: list[NDArray[np.bool_] | None] = []
    for structure in structures:
        files = [paths.get(name, "") for name in mask_names(structure)]
        parts = [read_reference(Path(file), UPRIGHT) != BACKGROUND for file in files if file]
        if len({part.shape for part in parts}) > 1:
            raise DataError(f"{files[0]} and {files[-1]} differ in size, and are masks of one radiograph.")
        masks.append(np.logical_or.reduce(parts) if len(parts) == len(files) else None)
    return masks


def structure_channels(lungs: torch.Tensor, masks: Sequence[NDArray[np.bool_] | None]) -> torch.Tensor:
    """The channels (2 C, H, W): lungs and structures, then the unknown of each.

    Args:
        lungs: (2, H, W), the lungs and what is unknown of them.
        masks: (H, W) of each structure, None where nothing is known of it.

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
    """A label map with a side for each lung that had none."""
    parted = label.clone()
    maps = label.cpu().numpy().reshape(-1, *label.shape[-2:])
    lungs = np.stack([split_lungs((one != BACKGROUND) & (one != UNKNOWN)) for one in maps])
    sides = torch.from_numpy(lungs).reshape(label.shape).to(label)
    untold = label == LUNG_SIDE_UNKNOWN
    parted[untold] = sides[untold]
    return parted


class KnownLungsd(MapTransform):
    """Leaves of a prediction and its label the structures, and sets both to 0 where nothing is known.

    Args:
        keys: predictions (C, H, W) of 0 and 1, a channel a class; what is background is dropped.
        label_key: the label (C + 1, H, W), or (2 C, H, W), of 0 and 1 that `ClassesAndUnknownd` made, resized
            and rounded; becomes of the predictions' shape.
        classes: what the channels stand for.

    Raises:
        BundleError: a prediction has not one channel for each class.
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
    """Mirrors pictures (C, H, W) and their label, right for left, now and then.

    Args:
        keys: the pictures, and the label that `ClassesAndUnknownd` made.
        label_key: the label among them: its right and left lung change places, so that the right one lies on
            the left of every picture. Structures that overlap have no sides.
        classes: what its channels stand for.
        prob: how often.
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
        """Mirror what is in `data`, or leave it."""
        result: dict[Hashable, Any] = super().__call__(data, lazy=lazy)
        if self._do_transform:
            label = result[self.label_key]
            result[self.label_key] = label[self._order + list(range(len(self._order), len(label)))]
        return result
