"""What the channels of a network's output stand for, as the metadata of its bundle name them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lungfield.errors import BundleError
from lungfield.labels import BACKGROUND, LEFT_LUNG, LUNG_FIELD, LUNG_SIDE_UNKNOWN, RIGHT_LUNG

_VALUES = {
    "background": BACKGROUND,
    "lung": LUNG_SIDE_UNKNOWN,
    "right lung": RIGHT_LUNG.value,
    "left lung": LEFT_LUNG.value,
}
_COMPLETE = ({"background", "lung"}, {"background", "right lung", "left lung"})


def output_classes(metadata: Mapping[str, Any]) -> tuple[int, ...]:
    """The label value that each channel of a network's output stands for.

    A single channel is that of the lung field, whatever its name; `channel_def` then names the values of the
    label map. Several channels are classes of which each pixel has one (softmax).

    Args:
        metadata: the content of a bundle's metadata.json.

    Returns:
        One value of `lungfield.labels` a channel; `LUNG_SIDE_UNKNOWN` for lung of either side.

    Raises:
        BundleError: there are several channels, and `channel_def` does not name one class for each.
    """
    output = metadata.get("network_data_format", {}).get("outputs", {}).get("pred", {})
    count = output.get("num_channels", 1)
    if count == 1:
        return LUNG_FIELD
    named = output.get("channel_def", {})
    names = [str(named.get(str(channel), "")).lower().replace("_", " ") for channel in range(count)]
    if len(named) != count or len(set(names)) != count or set(names) not in _COMPLETE:
        raise BundleError(
            f"metadata.json says that the network gives {count} channels, and names {named or 'none'} under "
            "network_data_format, outputs, pred, channel_def. Name each channel by its number: background "
            "and lung, or background, right lung and left lung."
        )
    return tuple(_VALUES[name] for name in names)
