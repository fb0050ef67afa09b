"""What a prepared data set looks like on disk, and writing it so that nothing half-written is left.

OUT/images/<id>.png|.dcm    the radiographs, lungs dark
OUT/labels/<id>.png         the reference label maps, 8-bit (values: `lungfield.labels`), where there are any
OUT/<structure>/<id>.png    1-bit masks of what overlaps the lungs, such as the heart, where there are any
OUT/dataset.json            what the set is, and the sections training, validation and test
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lungfield.atomic import write_whole
from lungfield.errors import DataError, OutputError
from lungfield.labels import BACKGROUND, LUNG_SIDE_UNKNOWN, LUNGS, UNKNOWN, mask_names

LIST_NAME = "dataset.json"
IMAGES = "images"
LABELS = "labels"
UNFINISHED = "unfinished"
"""An empty file in a folder whose set is being written, or was when its run ended early."""
SECTIONS = ("training", "validation", "test")
_STRUCTURE_NAME = re.compile(r"[a-z0-9][a-z0-9_]*")


@dataclass(frozen=True)
class SetDescription:
    """What a data set is and where it comes from, as written at the top of its `dataset.json`.

    Attributes:
        name: a short name, such as 'jsrt'; also each item's `dataset`.
        source: where to get the originals.
        licence: the terms that images and masks come under.
    """

    name: str
    description: str = ""
    source: str = ""
    citation: str = ""
    licence: str = ""


@dataclass(frozen=True)
class Item:
    """One image of a prepared set.

    Attributes:
        id: its name, the same for image and label.
        image: path of the radiograph from the set's folder; likewise `label`, None where there is none.
        dataset: name of the set.
        spacing_mm: (row, column) in mm, of the image as prepared, or None where it is not known.
        group: what the split is stratified by, such as 'normal' or 'abnormal'; None where not known.
        fold: of cross-validation, from 0; None without it.
        structures: paths of the masks of further structures, by name; None where there are none.
    """

    id: str
    image: str
    label: str | None
    dataset: str
    spacing_mm: tuple[float, float] | None = None
    group: str | None = None
    fold: int | None = None
    structures: dict[str, str] | None = None

    def entry(self) -> dict[str, Any]:
        """What the list of the set says of this image; nothing of a fold or structures that it has not."""
        entry = asdict(self)
        for key in ("fold", "structures"):
            if entry[key] is None:
                del entry[key]
        return entry


def require_structure_name(name: str) -> None:
    """Raise `DataError` where a further structure cannot be called so, as its folder is."""
    if not _STRUCTURE_NAME.fullmatch(name) or name in (IMAGES, LABELS):
        raise DataError(
            f"'{name}' cannot be the name of a structure's masks: use small letters, digits and _, such as "
            "heart or aorta."
        )
    if mask_names(name) != (name,):
        advice = "--masks" if name == "lungs" else f"the names {' and '.join(mask_names(name))}"
        raise DataError(f"Masks of the {name} are given by {advice}.")


def start_set(folder: Path, structures: Iterable[str] = ()) -> None:
    """Make the folders of a set, where there is no other; a run that ended early may be begun again.

    Args:
        folder: folder of the set.
        structures: names of the further structures that it will have masks of.

    Raises:
        DataError: the folder holds a set already, or images or masks that are not ours to replace.
        OutputError: the folder cannot be written to.
    """
    mark = folder / UNFINISHED
    try:
        for path in (folder / name for name in (LIST_NAME, IMAGES, LABELS, *structures)):
            others = path.is_dir() and not mark.is_file() and any(path.iterdir())
            if others or path.is_file():
                raise DataError(
                    f"The output folder {folder} holds a data set, or a part of one ({path.name}). Choose "
                    "another folder, or delete that one first."
                )
        (folder / IMAGES).mkdir(parents=True, exist_ok=True)
        (folder / LABELS).mkdir(exist_ok=True)
        mark.touch()
    except OSError as error:
        raise OutputError(f"Cannot write to {folder}: {error.strerror or error}.") from error


def finish_set(
    folder: Path,
    description: SetDescription,
    sections: Mapping[str, Sequence[Item]],
    *,
    label_values: Mapping[int, str],
    split: Mapping[str, Any],
    **more: Any,
) -> None:
    """Write the list of a set, its last file.

    Args:
        folder: folder of the set.
        description: what the set is.
        sections: items by section.
        label_values: name of every value that the set's label maps may hold.
        split: how the set was divided.
        **more: further entries of the list that can be written as JSON.

    Raises:
        OutputError: the list cannot be written.
    """
    content = {
        **asdict(description),
        "label_values": {str(value): name for value, name in label_values.items()},
        "split": dict(split),
        **{section: [item.entry() for item in items] for section, items in sections.items()},
        **more,
    }
    text = json.dumps(content, indent=1, ensure_ascii=False) + "\n"
    write_whole(folder / LIST_NAME, text.encode())
    (folder / UNFINISHED).unlink(missing_ok=True)


def label_values(values: Iterable[int]) -> dict[int, str]:
    """What the values that occur in a set's label maps mean."""
    names = {lung.value: lung.name for lung in LUNGS} | {
        LUNG_SIDE_UNKNOWN: "lung, side not told",
        UNKNOWN: "unknown",
    }
    return {BACKGROUND: "background"} | {value: names[value] for value in sorted(values)}


def write_structures(folder: Path, name: str, masks: Mapping[str, NDArray[np.bool_]]) -> dict[str, str]:
    """Write the (H, W) masks of an image's further structures; their paths from the set's folder, by name."""
    paths = {structure: f"{structure}/{name}.png" for structure in masks}
    for structure, mask in masks.items():
        write_png(folder / paths[structure], mask)
    return paths


def write_png(path: Path, pixels: NDArray[np.uint8] | NDArray[np.uint16] | NDArray[np.bool_]) -> None:
    """Write an (H, W) array of 1, 8 or 16 bits as a grey PNG; `OutputError` where that fails."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG")
    write_whole(path, buffer.getvalue())
