"""The structures of a network's output channels, as its bundle's metadata name them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lungfield.bundles.registry import Bundle, all_bundles
from lungfield.errors import BundleError
from lungfield.labels import (
    BACKGROUND,
    CLAVICLE_SIDE_UNKNOWN,
    HEART,
    LEFT_LUNG,
    LUNG_FIELD,
    LUNG_SIDE_UNKNOWN,
    ONLY_LUNGS,
    RIGHT_LUNG,
    STRUCTURES,
    Label,
    structures_of,
)

_EXCLUSIVE = {
    "background": BACKGROUND,
    "lung": LUNG_SIDE_UNKNOWN,
    "right lung": RIGHT_LUNG.value,
    "left lung": LEFT_LUNG.value,
}
_COMPLETE = ({"background", "lung"}, {"background", "right lung", "left lung"})
_FURTHER = {"heart": HEART.value, "clavicle": CLAVICLE_SIDE_UNKNOWN, "clavicles": CLAVICLE_SIDE_UNKNOWN}


def output_classes(metadata: Mapping[str, Any]) -> tuple[int, ...]:
    """The label value of each channel of a network's output.

    A single channel is the lung field, whatever its name (sigmoid); `channel_def` then names the values of
    the label map. Several channels with a background are exclusive classes (softmax). Several channels
    without a background are structures that overlap (sigmoid), the lungs first.

    Args:
        metadata: the content of a bundle's metadata.json.

    Returns:
        One value of `lungfield.labels` per channel; `LUNG_SIDE_UNKNOWN` for both lungs together. For
        overlapping structures, see `overlapping_classes`.

    Raises:
        BundleError: there are several channels, and `channel_def` does not name one class for each.
    """
    output = metadata.get("network_data_format", {}).get("outputs", {}).get("pred", {})
    count = output.get("num_channels", 1)
    if count == 1:
        return LUNG_FIELD
    named = output.get("channel_def", {})
    names = [str(named.get(str(channel), "")).lower().replace("_", " ") for channel in range(count)]
    distinct = len(named) == len(set(names)) == count and "" not in names
    if distinct and set(names) in _COMPLETE:
        return tuple(_EXCLUSIVE[name] for name in names)
    if distinct and names[0] == "lung" and not set(names[1:]) & set(_EXCLUSIVE):
        return overlapping_classes(names[1:])
    raise BundleError(
        f"metadata.json gives the network {count} output channels, but names {named or 'none'} under "
        "network_data_format, outputs, pred, channel_def. Name each channel by its number: background "
        "and lung; or background, right lung and left lung; or lung first, then structures that overlap it."
    )


def require_structures(bundle: Bundle, structures: Sequence[str]) -> None:
    """Check that a bundle's network segments all `structures`, named as in `lungfield.labels.STRUCTURES`.

    Raises:
        BundleError: it does not segment one of them; the message names shipped bundles that do.
    """
    given = structures_given(bundle)
    for name in structures:
        if name not in given:
            raise lacking_structure(bundle.name, name)


def lacking_structure(bundle: str, structure: str) -> BundleError:
    """The error for a bundle that does not segment a structure; it names the shipped bundles that do."""
    able = [one.name for one in all_bundles() if structure in structures_given(one)]
    advice = f" Choose a bundle that does with --bundle: {', '.join(able)}." if able else ""
    return BundleError(f"The network of the bundle {bundle!r} does not segment {structure}.{advice}")


def labels_beside_lungs(structure: str) -> tuple[Label, ...]:
    """The labels that one of `lungfield.labels.STRUCTURES` stands for; none for the lungs.

    Raises:
        BundleError: there is no such structure.
    """
    if structure not in STRUCTURES:
        raise BundleError(f"{structure!r} is no structure: choose from {', '.join(STRUCTURES)}.")
    return () if structure in ONLY_LUNGS else STRUCTURES[structure]


def structure_of_mask(name: str) -> str:
    """The structure that a mask beside the lungs belongs to: 'clavicles' for 'left_clavicle'.

    Raises:
        BundleError: there is no such mask.
    """
    masks = {label.name: structure for structure in STRUCTURES for label in labels_beside_lungs(structure)}
    if name not in masks:
        raise BundleError(f"{name!r} is no mask beside the lungs: choose from {', '.join(masks)}.")
    return masks[name]


def structures_given(bundle: Bundle) -> tuple[str, ...]:
    """What a bundle's network gives: 'lungs' first, then others of `lungfield.labels.STRUCTURES`.

    Structures of one's own, which no label map knows, are left out.

    Raises:
        BundleError: its metadata does not name the channels of the network.
    """
    given = {label.name for label in structures_of(output_classes(bundle.metadata))}
    return tuple(one for one in STRUCTURES if all(label.name in given for label in labels_beside_lungs(one)))


def overlapping_classes(further: Sequence[str]) -> tuple[int, ...]:
    """The label values of the channels of a network with the lung field and further, overlapping structures.

    Args:
        further: names of the structures, such as 'heart' and 'clavicles', in the order of their channels.

    Returns:
        `LUNG_SIDE_UNKNOWN`, then one value per structure: the heart's value, `CLAVICLE_SIDE_UNKNOWN` for both
        clavicles, and the negative channel number for a structure that `lungfield.labels` does not define.
    """
    values = [_FURTHER.get(name, -channel) for channel, name in enumerate(further, start=1)]
    return (*LUNG_FIELD, *values)
