"""Read the list of a prepared data set, for the bundles' configs."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lungfield.datasets.layout import LIST_NAME
from lungfield.errors import DataError
from lungfield.labels import STRUCTURES, mask_names


def load_data_list(
    dataset_dir: str | Path,
    section: str,
    *,
    base: str | Path | None = None,
    labelled: bool = False,
    fold: int | None = None,
    structures: Sequence[str] = (),
) -> list[dict[str, Any]]:
    """Load one section of a prepared set, or of all the sets in a folder.

    Args:
        dataset_dir: a folder with a `dataset.json`, or one whose sub-folders each have one; their sections
            are then concatenated, in the order of the sub-folders' names.
        section: 'training', 'validation', 'test' or another section of the list.
        base: folder that the paths in the list are relative to; by default the folder of the list.
        labelled: refuse a section with unlabelled radiographs, for training and evaluation.
        fold: for cross-validation: of the images of the sections training and validation, those with this
            `fold` become the section 'validation', and the others 'training'. Other sections are not changed.
        structures: further structures whose masks are needed, such as 'heart' and 'clavicles'.

    Returns:
        One dictionary per image, all with the same keys, so that a data loader can collate them: `id`,
        `dataset`, `image` and (with a reference) `label` as absolute paths, and `spacing_mm`, (row, column),
        NaN if not known. With `structures`, `structures` holds the paths of their masks by name
        (`lungfield.labels.mask_names`), '' for an image without a mask.

    Raises:
        DataError: the folder, list, section or fold does not exist or is empty, labels or files are missing,
            entries lack a `fold` that is needed, or no image of the section has a mask of an own structure.
    """
    folder = Path(dataset_dir)
    lists = {path.parent: read_list(path) for path in _find_lists(folder)}
    if fold is not None:
        lists = {parent: _by_fold(content, fold, parent / LIST_NAME) for parent, content in lists.items()}
    if not any(section in content for content in lists.values()):
        known = sorted({name for one in lists.values() for name in one if isinstance(one[name], list)})
        raise DataError(f"{folder} has no section '{section}'. There are: {', '.join(known) or 'none'}.")
    items = [
        _absolute(entry, Path(base) if base else parent, parent / LIST_NAME, structures)
        for parent, content in lists.items()
        for entry in content.get(section, [])
    ]
    if not items:
        raise DataError(
            f"Section '{section}' of {folder} is empty. Prepare the set again with images in that section."
        )
    without = [item for item in items if "label" not in item]
    if labelled and without:
        raise DataError(
            f"{len(without)} of {len(items)} images of section '{section}' of {folder} have no label, the "
            f"first in set '{without[0]['dataset']}'. Move that set elsewhere, or make labels for it: "
            "`lungfield prepare pseudo-labels`."
        )
    own = [structure for structure in structures if structure not in STRUCTURES]
    nowhere = [name for name in own if not any(item["structures"][name] for item in items)]
    if nowhere:
        raise DataError(
            f"No image of section '{section}' of {folder} has a mask of '{nowhere[0]}'. Prepare the set with "
            f"`--structure {nowhere[0]}=FOLDER`, or leave the structure out of `further`."
        )
    files = [item[key] for item in items for key in ("image", "label") if key in item]
    files += [path for item in items for path in item.get("structures", {}).values() if path]
    missing = [path for path in files if not Path(path).is_file()]
    if missing:
        raise DataError(
            f"{len(missing)} of {len(files)} files of section '{section}' are missing, "
            f"the first: {missing[0]}."
        )
    return items


def _by_fold(content: dict[str, Any], fold: int, path: Path) -> dict[str, Any]:
    """The list with sections training and validation divided by the `fold` of their entries."""
    entries = [entry for section in ("training", "validation") for entry in content.get(section, [])]
    folds = [entry.get("fold") if isinstance(entry, dict) else None for entry in entries]
    if None in folds:
        raise DataError(
            f"{path}: {folds.count(None)} of {len(folds)} entries of the sections training and validation "
            "have no 'fold'. Give each a number, or omit --fold."
        )
    if fold not in folds:
        known = ", ".join(map(str, sorted(set(folds), key=str)))
        raise DataError(f"{path} has no fold {fold}. There are: {known or 'none'}.")
    held_out = [entry for entry, own in zip(entries, folds, strict=True) if own == fold]
    learnt = [entry for entry, own in zip(entries, folds, strict=True) if own != fold]
    return {**content, "training": learnt, "validation": held_out}


def _find_lists(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise DataError(f"No folder {folder}. Give a folder that `lungfield prepare` made.")
    if (folder / LIST_NAME).is_file():
        return [folder / LIST_NAME]
    lists = sorted(folder.glob(f"*/{LIST_NAME}"))
    if not lists:
        raise DataError(
            f"Neither {folder} nor a folder in it has a {LIST_NAME}. Make one with `lungfield prepare`."
        )
    return lists


def read_list(path: Path) -> dict[str, Any]:
    """The content of a `dataset.json`; `DataError` if it cannot be read or is no such list."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path} cannot be read as JSON: {error}. Prepare the set again.") from error
    if not isinstance(content, dict):
        raise DataError(f"{path} is not the list of a data set: an object with sections is expected.")
    return content


def _absolute(entry: Any, base: Path, path: Path, structures: Sequence[str]) -> dict[str, Any]:
    if not (isinstance(entry, dict) and isinstance(entry.get("image"), str)):
        raise DataError(f"{path} has an entry without 'image': {entry!r:.80}.")
    item: dict[str, Any] = {
        "id": str(entry.get("id") or Path(entry["image"]).stem),
        "dataset": str(entry.get("dataset") or path.parent.name),
        "image": str((base / entry["image"]).absolute()),
        # NaN, as a data loader cannot collate None.
        "spacing_mm": [float(value) for value in entry.get("spacing_mm") or (math.nan, math.nan)],
    }
    if entry.get("label"):
        item["label"] = str((base / entry["label"]).absolute())
    if structures:
        masks = entry.get("structures") or {}
        names = [name for structure in structures for name in mask_names(structure)]
        # Text for each, as a data loader cannot collate None.
        item["structures"] = {
            name: str((base / masks[name]).absolute()) if masks.get(name) else "" for name in names
        }
    return item
