"""Labels that say of some pixels that nothing is known."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform

from lungfield.labels import BACKGROUND, UNKNOWN


class LungAndUnknownd(MapTransform):
    """Makes of a label map (1, H, W) two channels (2, H, W) of 0 and 1: lung, and unknown.

    Both can then be resized and turned as pictures are. Either lung counts as lung, and so does a lung whose
    side is not told; `lungfield.labels.UNKNOWN` marks what a training loss is to leave out.
    """

    def __init__(self, keys: KeysCollection, *, allow_missing_keys: bool = False) -> None:
        super().__init__(keys, allow_missing_keys)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Replace the label maps in `data`."""
        result = dict(data)
        for key in self.key_iterator(result):
            result[key] = lung_and_unknown(result[key])
        return result


def lung_and_unknown(label: torch.Tensor) -> torch.Tensor:
    """The channels lung and unknown, (..., 2, H, W) float of 0 and 1, of a label map (..., 1, H, W)."""
    unknown = label == UNKNOWN
    return torch.cat([(label != BACKGROUND) & ~unknown, unknown], dim=-3).float()


class LeaveOutUnknownd(MapTransform):
    """Sets a prediction and its label to background where the label is unknown, and drops that channel.

    Args:
        keys: predictions (1, H, W) of 0 and 1.
        label_key: the label (2, H, W) of 0 and 1 that `LungAndUnknownd` made, resized and rounded; becomes
            (1, H, W).
    """

    def __init__(self, keys: KeysCollection, label_key: str = "label") -> None:
        super().__init__(keys)
        self.label_key = label_key

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Replace predictions and label in `data`."""
        result = dict(data)
        lung, unknown = result[self.label_key][:1], result[self.label_key][1:]
        known = 1 - unknown
        for key in self.key_iterator(result):
            result[key] = result[key] * known
        result[self.label_key] = lung * known
        return result
