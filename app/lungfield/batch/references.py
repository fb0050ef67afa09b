"""Match reference masks to radiographs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath

from lungfield.errors import DataError
from lungfield.formats import DICOM, MASKS, stem
from lungfield.mask import referenced_sop_instance_uids
from lungfield.names import shown

BY_UID, BY_PATH, BY_NAME = "uid", "path", "name"
"""How a reference was found; the values of the column `reference_match`."""


@dataclass(frozen=True)
class References:
    """The reference masks below a folder.

    Attributes:
        by_uid: DICOM SEG files by the SOP Instance UID of each image that they refer to.
        by_place: masks by their path below the folder, without the suffix.
        by_name: masks by their file name without the suffix. Empty if a mask lies in a sub-folder; otherwise
            only names that a single radiograph of the run has.
        referred: the SOP Instance UIDs that each DICOM SEG refers to.
        shared_places: relative paths, without the suffix, that several radiographs of the run share.
    """

    by_uid: Mapping[str, tuple[Path, ...]]
    by_place: Mapping[PurePath, tuple[Path, ...]]
    by_name: Mapping[str, tuple[Path, ...]]
    referred: Mapping[Path, frozenset[str]]
    shared_places: frozenset[PurePath]

    def match(self, relative: PurePath, sop_instance_uid: str | None) -> tuple[Path, str]:
        """Find the reference of a radiograph.

        The order is: a DICOM SEG that refers to its SOP Instance UID; the mask with the same relative path;
        the mask with the same file name. The mask's name is the radiograph's name without its suffix or with
        it (`a.dcm.png`); the latter distinguishes the masks of `a.dcm` and `a.png`.

        Args:
            relative: the radiograph's path below the input folder.
            sop_instance_uid: None if it has none.

        Returns:
            The path of the reference, and how it was found: `BY_UID`, `BY_PATH` or `BY_NAME`.

        Raises:
            DataError: there is no reference or more than one, or it is a DICOM SEG of another image.
        """
        if found := self.by_uid.get(sop_instance_uid or ""):
            return _only(found, "that refer to its SOP Instance UID"), BY_UID
        place = relative.with_name(stem(relative.name))
        for how, found in (
            (BY_PATH, self.by_place.get(relative)),
            (BY_PATH, () if place in self.shared_places else self.by_place.get(place)),
            (BY_NAME, self.by_name.get(place.name)),
        ):
            if found:
                path = _only(found, f"named {shown(place.name)}")
                if sop_instance_uid is not None and self.referred.get(path):
                    raise DataError(f"the reference mask {shown(path.name)} refers to another image")
                return path, how
        if place in self.shared_places and place in self.by_place:
            raise DataError(
                f"several radiographs are named {shown(place.name)}: name the reference mask "
                f"{shown(relative.name)} plus its own suffix"
            )
        raise DataError(f"no reference mask named {shown(place.as_posix())}")


def _only(found: tuple[Path, ...], which: str) -> Path:
    if len(found) > 1:
        raise DataError(f"{len(found)} reference masks {which}")
    return found[0]


def find_references(folder: Path, radiographs: Iterable[PurePath]) -> References:
    """Find the reference masks below a folder.

    Args:
        folder: of the masks.
        radiographs: the relative paths of all radiographs of the run, as for `References.match`.

    Raises:
        DataError: the folder does not exist, or holds no mask.
    """
    if not folder.is_dir():
        raise DataError(f"The folder of reference masks {folder} does not exist.")
    by_place: dict[PurePath, tuple[Path, ...]] = {}
    by_uid: dict[str, tuple[Path, ...]] = {}
    referred: dict[Path, frozenset[str]] = {}
    for path in sorted(folder.rglob("*")):
        if not (path.name.lower().endswith(MASKS) and path.is_file()):
            continue
        place = path.relative_to(folder).with_name(stem(path.name, MASKS))
        by_place[place] = (*by_place.get(place, ()), path)
        if path.name.lower().endswith(DICOM):
            referred[path] = frozenset(referenced_sop_instance_uids(path))
            for uid in referred[path]:
                by_uid[uid] = (*by_uid.get(uid, ()), path)
    if not by_place:
        raise DataError(f"No reference mask (PNG, NIfTI, DICOM SEG, TIFF, GIF, BMP) below {folder}.")
    places = Counter(radiograph.with_name(stem(radiograph.name)) for radiograph in radiographs)
    names = Counter(place.name for place in places.elements())
    is_flat = all(len(place.parts) == 1 for place in by_place)
    by_name = {place.name: paths for place, paths in by_place.items() if is_flat and names[place.name] == 1}
    shared = frozenset(place for place, count in places.items() if count > 1)
    return References(by_uid, by_place, by_name, referred, shared)
