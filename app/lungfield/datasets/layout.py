"""The layout of a prepared data set on disk, and how it is written without incomplete files.

OUT/images/<id>.png|.dcm    the radiographs, lungs dark
OUT/labels/<id>.png         the reference label maps, 8-bit (values: `lungfield.labels`), if there are any
OUT/<structure>/<id>.png    1-bit masks of structures that overlap the lungs, such as the heart, if any
OUT/dataset.json            the description, and the sections training, validation and test
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
"""An empty file in a folder whose set is being written, or was when the run was interrupted."""
SECTIONS = ("training", "validation", "test")
_STRUCTURE_NAME = re.compile(r"[a-z0-9][a-z0-9_]*")


@dataclass(frozen=True)
class SetDescription:
    """The description of a data set at the top of its `dataset.json`.

    Attributes:
        name: a short name, such as 'jsrt'; also each item's `dataset`.
        description: in one sentence.
        source: where to get the originals.
        citation: of the paper.
        licence: of images and masks.
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
        image: path of the radiograph relative to the set's folder.
        label: path of the label map likewise; None without one.
        dataset: name of the set.
        spacing_mm: (row, column) in mm of the prepared image, or None if not known.
        group: by which the split is stratified, such as 'normal' or 'abnormal'; None if not known.
        fold: of cross-validation, from 0; None without folds.
        structures: paths of the masks of further structures, by name; None without any.
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
        """The image's entry in the list of the set; without a fold or structures that are None."""
        entry = asdict(self)
        for key in ("fold", "structures"):
            if entry[key] is None:
                del entry[key]
        return entry


def require_structure_name(name: str) -> None:
    """Raise `DataError` if a name is invalid for a further structure and its folder."""
    if not _STRUCTURE_NAME.fullmatch(name) or name in (IMAGES, LABELS):
        raise DataError(
            f"'{name}' is no valid name of a structure: use lower-case letters, digits and _, such as "
            "heart or aorta."
        )
    if mask_names(name) != (name,):
        advice = "--masks" if name == "lungs" else f"the names {' and '.join(mask_names(name))}"
        raise DataError(f"Masks of the {name} are given by {advice}.")


def start_set(folder: Path, structures: Iterable[str] = ()) -> None:
    """Create the folders of a set, unless they hold another set; an interrupted run may be repeated.

    Args:
        folder: folder of the set.
        structures: names of the further structures with masks.

    Raises:
        DataError: the folder holds a set already, or other images or masks.
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
        description: of the set.
        sections: items by section.
        label_values: name of every value that the set's label maps may hold.
        split: description of the split.
        **more: further entries of the list, JSON-serialisable.

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
    """The names of the values that occur in a set's label maps."""
    names = {lung.value: lung.name for lung in LUNGS} | {
        LUNG_SIDE_UNKNOWN: "lung, side unknown",
        UNKNOWN: "unknown",
    }
    return {BACKGROUND: "background"} | {value: names[value] for value in sorted(values)}


def write_structures(folder: Path, name: str, masks: Mapping[str, NDArray[np.bool_]]) -> dict[str, str]:
    """Write the (H, W) masks of an image's further structures; return their relative paths by name."""
    paths = {structure: f"{structure}/{name}.png" for structure in masks}
    for structure, mask in masks.items():
        write_png(folder / paths[structure], mask)
    return paths


def write_png(path: Path, pixels: NDArray[np.uint8] | NDArray[np.uint16] | NDArray[np.bool_]) -> None:
    """Write an (H, W) array of 1, 8 or 16 bits as a grey PNG.

    Raises:
        OutputError: the file cannot be written.
    """
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG")
    write_whole(path, buffer.getvalue())
