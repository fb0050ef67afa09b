"""Which corrected images a network learns from, and by which of them the best epoch is chosen."""

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
    """Names of images: learnt from, and chosen by. One that is in both was learnt: there was no other."""

    training: frozenset[str] = frozenset()
    validation: frozenset[str] = frozenset()


def divide(names: Collection[str], fraction: float, before: Split | None = None) -> Split:
    """Divide images, so that none is ever chosen by after it was learnt: both sides of at least one image.

    An image stays on the side on which it was `before`. The side of a new one depends on the hash of its name
    alone, so that it does not change with the number of images; the part `fraction`, in [0, 1), is for
    validation. Few images may leave a side empty. Then a new image is put there against its hash; where none
    is new, one that was for validation is learnt from now on; and where all have been learnt, one of them
    serves for both.
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
    """Divide images as `divide` does, by the sides in the JSON file `memory`, and keep their sides there.

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
    """A place in [0, 1) that depends on the name alone, and looks as if it were drawn by chance."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:6]) / 2**48


def _read(memory: Path) -> Split:
    if not memory.is_file():
        return Split()
    try:
        content = json.loads(memory.read_text(encoding="utf-8"))
        return Split(frozenset(content["training"]), frozenset(content["validation"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{memory}: the record of which images were trained on cannot be read ({type(error).__name__}); "
            "restore it, or remove it together with the weights that were trained."
        ) from error
