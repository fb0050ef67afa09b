"""Labels and outputs of networks by class: a channel for each, in the order of the bundle's metadata.

`classes` are the label values of the channels (`lungfield.bundles.classes.output_classes`). One class is the
lung field by itself (sigmoid); several are exclusive (softmax), and the background is one of them, or where
it is not, structures that overlap (sigmoid): the lung field, and others such as the heart.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform, RandFlipd

from lungfield.errors import BundleError
from lungfield.labels import BACKGROUND, LEFT_LUNG, LUNG_FIELD, LUNG_SIDE_UNKNOWN, RIGHT_LUNG, UNKNOWN
from lungfield.mask import split_lungs

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
    """

    def __init__(
        self, keys: KeysCollection, classes: Sequence[int] = LUNG_FIELD, *, allow_missing_keys: bool = False
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.classes = classes

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Replace the label maps in `data`."""
        result = dict(data)
        for key in self.key_iterator(result):
            result[key] = classes_and_unknown(result[key], self.classes)
        return result


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
    """Leaves of a prediction and its label the lungs, and sets both to background where nothing is known.

    Args:
        keys: predictions (C, H, W) of 0 and 1, a channel a class; what is background is dropped.
        label_key: the label (C + 1, H, W) of 0 and 1 that `ClassesAndUnknownd` made, resized and rounded;
            becomes of the predictions' shape.
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
        known = 1 - result[self.label_key][-1:]
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
            the left of every picture.
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
        self._order = [*(list(classes).index(other.get(value, value)) for value in classes), len(classes)]

    def __call__(self, data: Mapping[Hashable, Any], lazy: bool | None = None) -> dict[Hashable, Any]:
        """Mirror what is in `data`, or leave it."""
        result: dict[Hashable, Any] = super().__call__(data, lazy=lazy)
        if self._do_transform:
            result[self.label_key] = result[self.label_key][self._order]
        return result
