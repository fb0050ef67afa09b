"""Find images and masks in folders, and match them by name."""

from __future__ import annotations

import re
import shlex
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from lungfield.datasets.layout import require_structure_name
from lungfield.datasets.preparation import Case, Cases, MaskFile
from lungfield.errors import DataError
from lungfield.formats import DATA_SETS, stem
from lungfield.labels import UNKNOWN

# Endings that the name of a mask may add to that of its image.
_MASK_ENDING = re.compile(
    r"(?:[ _.-]*(?:masks?|labels?|seg(?:mentation)?|lungs?|heart|clavicles?|left|right|ignored?|unknown))+$",
    re.IGNORECASE,
)
_MASK_FOLDER = re.compile(r"mask|label|lung|heart|clavicle", re.IGNORECASE)
# NLM's sets end a name in 0 (normal) or 1 (abnormal); JSRT's begin with JPCLN (nodule) or JPCNN (none).
_NLM_NAME = re.compile(r"(?:CHNCXR|MCUCXR)_\d+_([01])", re.IGNORECASE)
_JSRT_NAME = re.compile(r"JPC([LN])N\d+", re.IGNORECASE)


def group_of(name: str) -> str | None:
    """'normal' or 'abnormal' from the name of a public set's image, else None."""
    if match := _NLM_NAME.fullmatch(name):
        return "normal" if match[1] == "0" else "abnormal"
    if match := _JSRT_NAME.fullmatch(name):
        return "normal" if match[1].upper() == "N" else "abnormal"
    return None


def find_folder(source: Path, *names: str) -> Path:
    """The highest folder with one of these names in `source`, or `source` itself; case-insensitive.

    Raises:
        DataError: there is none.
    """
    wanted = {name.lower() for name in names}
    found = [path for path in (source, *_below(source)) if path.name.lower() in wanted and path.is_dir()]
    if not found:
        raise DataError(
            f"No folder '{names[0]}' in {source}. Give the folder with the unpacked original files."
            + advice_for_pictures(source)
        )
    return min(found, key=lambda path: (len(path.parts), path))


def files_below(source: Path, suffix: str) -> list[Path]:
    """The files with this suffix in a folder at any depth, sorted; case-insensitive.

    Raises:
        DataError: there is none.
    """
    files = sorted(path for path in _below(source) if path.suffix.lower() == suffix and path.is_file())
    if not files:
        raise DataError(
            f"No {suffix} files in {source}. Give the folder with the unpacked original files."
            + advice_for_pictures(source)
        )
    return files


def advice_for_pictures(source: Path) -> str:
    """Advice for a public set in another layout, such as PNGs in one folder; empty without pictures."""
    pictures = Counter(
        path.parent for path in (source, *_below(source)) if path.name.lower().endswith(DATA_SETS)
    )
    masks = [folder for folder in pictures if _MASK_FOLDER.search(folder.name)]
    images = [folder for folder in pictures if folder not in masks]
    if not images:
        return ""
    most = max(images, key=lambda folder: (pictures[folder], folder))
    return (
        f" Prepare pictures in another layout, such as those in {most}, with `lungfield prepare folders "
        f"--images {shlex.quote(str(most))} --masks {shlex.quote(str(masks[0])) if masks else 'MASKS'} "
        "-o OUT`; for a folder of masks for each lung, use --right-masks and --left-masks."
    )


def _below(source: Path) -> list[Path]:
    """All paths in a folder, at any depth, except hidden ones (such as the metadata files of macOS)."""
    if not source.is_dir():
        raise DataError(f"No folder {source}.")
    return [one for one in source.rglob("*") if not one.name.startswith(".") and "__MACOSX" not in one.parts]


def files_in(folder: Path) -> list[Path]:
    """The picture files of a folder, sorted, without hidden files and other kinds.

    Raises:
        DataError: the folder does not exist or has no picture file.
    """
    if not folder.is_dir():
        raise DataError(f"No folder {folder}.")
    files = sorted(
        path
        for path in folder.iterdir()
        if path.is_file() and not path.name.startswith(".") and path.name.lower().endswith(DATA_SETS)
    )
    if not files:
        raise DataError(f"{folder} has no picture files ({', '.join(DATA_SETS)}).")
    return files


def match_masks(images: Iterable[Path], masks: Sequence[tuple[Iterable[Path], int]]) -> Cases:
    """Match images and masks by their names.

    A mask has the name of its image, or that name plus an ending such as `_mask` or `_label`. Masks come in
    groups, each with its label value; an image needs a mask of every group.

    Raises:
        DataError: two images, or two masks of a group, have the same name.
    """
    by_name: dict[str, Path] = {}
    for path in images:
        _insert(by_name, stem(path.name, DATA_SETS), path)
    groups = []
    without_image = []
    for paths, label in masks:
        group: dict[str, Path] = {}
        for path in paths:
            name = stem(path.name, DATA_SETS)
            if name not in by_name:
                name = _MASK_ENDING.sub("", name)
            if name in by_name:
                _insert(group, name, path)
            else:
                without_image.append(path.name)
        groups.append((group, label))
    complete = tuple(
        Case(name, path, tuple(MaskFile(group[name], label) for group, label in groups), group_of(name))
        for name, path in sorted(by_name.items())
        if all(name in group for group, _ in groups)
    )
    without_mask = sorted(set(by_name) - {case.id for case in complete})
    return Cases(complete, tuple(without_mask), tuple(sorted(without_image)))


def with_structures(cases: Cases, structures: Mapping[str, Iterable[Path]]) -> Cases:
    """Add the masks of further structures to their cases, by the structure's name.

    Raises:
        DataError: the name of a structure is invalid, or none of its masks belongs to an image.
    """
    found: dict[str, dict[str, Path]] = {}
    without_image = list(cases.masks_without_image)
    for name, files in structures.items():
        require_structure_name(name)
        matched = match_masks([case.image for case in cases.complete], [(files, UNKNOWN)])
        if not matched.complete:
            raise DataError(f"No mask of the structure '{name}' has the name of an image: check its folder.")
        found[name] = {case.id: case.masks[0].path for case in matched.complete}
        without_image += matched.masks_without_image
    complete = tuple(
        replace(case, structures={name: of[case.id] for name, of in found.items() if case.id in of})
        for case in cases.complete
    )
    return replace(cases, complete=complete, masks_without_image=tuple(without_image))


def _insert(files: dict[str, Path], name: str, path: Path) -> None:
    if name in files:
        raise DataError(f"{files[name]} and {path} have the same name '{name}': keep one of them.")
    files[name] = path
