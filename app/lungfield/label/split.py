"""Split corrected images into training and validation images, stable over several trainings."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from lungfield.atomic import write_whole
from lungfield.errors import DataError


@dataclass(frozen=True)
class Split:
    """The names of training and validation images. An image is in both only if there is no other."""

    training: frozenset[str] = frozenset()
    validation: frozenset[str] = frozenset()


def divide(names: Collection[str], fraction: float, before: Split | None = None) -> Split:
    """Split images so that no image is used for validation after it was used for training.

    Args:
        names: of the images.
        fraction: of the images for validation, in [0, 1).
        before: the split of earlier trainings, which is kept.

    Returns:
        A split with at least one image on each side. A new image is assigned by the hash of its name. If a
        side would be empty, a new image is moved there; without a new image, one validation image becomes a
        training image; and if all images are training images, one of them is used for both.
    """
    before = before or Split()
    ordered = sorted(set(names), key=_place)
    new = [one for one in ordered if one not in before.training | before.validation]
    learnt = [one for one in ordered if one in before.training or (one in new and _place(one) >= fraction)]
    chosen_by = [one for one in ordered if one not in learnt]
    if not learnt:
        learnt.append(([one for one in chosen_by if one in new] or chosen_by)[-1])
        chosen_by.remove(learnt[0])
    if not chosen_by:
        chosen_by = [one for one in learnt if one in new][:1] if len(learnt) > 1 else []
        learnt = [one for one in learnt if one not in chosen_by]
    return Split(frozenset(learnt), frozenset(chosen_by or learnt[:1]))


def divide_and_remember(names: Collection[str], fraction: float, memory: Path) -> Split:
    """Split images as `divide` does, with the earlier split in the JSON file `memory`, which is updated.

    Raises:
        DataError: the file cannot be read.
        OutputError: it cannot be written.
    """
    before = _read(memory)
    split = divide(names, fraction, before)
    training = before.training | split.training
    validation = (before.validation | split.validation) - training
    content = {"training": sorted(training), "validation": sorted(validation)}
    write_whole(memory, json.dumps(content, indent=1).encode())
    return split


def _place(name: str) -> float:
    """A pseudo-random number in [0, 1) from the hash of a name."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:6]) / 2**48


def _read(memory: Path) -> Split:
    if not memory.is_file():
        return Split()
    try:
        content = json.loads(memory.read_text(encoding="utf-8"))
        return Split(frozenset(content["training"]), frozenset(content["validation"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{memory}: the list of images used for training cannot be read ({type(error).__name__}); "
            "restore it, or remove it together with the trained weights."
        ) from error
