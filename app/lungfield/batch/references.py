"""Reference masks: which one belongs to which radiograph."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath

from lungfield.errors import DataError
from lungfield.mask import referenced_sop_instance_uids
from lungfield.radiograph import stem

SUFFIXES = (".nii.gz", ".nii", ".png", ".dcm", ".dicom", ".tif", ".tiff", ".gif", ".jpg", ".jpeg")


@dataclass(frozen=True)
class References:
    """The reference masks below a folder.

    Attributes:
        by_place: masks by their place in the folder, without the suffix.
        by_uid: DICOM SEG files by the SOP Instance UID of each image that they refer to.
    """

    by_place: Mapping[PurePath, tuple[Path, ...]]
    by_uid: Mapping[str, tuple[Path, ...]]

    def match(self, relative: PurePath, sop_instance_uid: str | None) -> Path:
        """The reference of a radiograph.

        First comes a DICOM SEG that refers to its SOP Instance UID, then the mask in the same place, then the
        only one of the same name in any place.

        Args:
            relative: the radiograph's place below the folder that was named.
            sop_instance_uid: of the radiograph, where it is DICOM and has one.

        Raises:
            DataError: there is none, or there are several.
        """
        place = relative.with_name(stem(relative.name))
        found = self.by_uid.get(sop_instance_uid or "") or self.by_place.get(place)
        if found is None:
            found = tuple(
                path for other, paths in self.by_place.items() if other.name == place.name for path in paths
            )
        if len(found) != 1:
            raise DataError(f"{len(found) or 'no'} reference mask{'s' * (len(found) > 1)} named {place.name}")
        return found[0]


def find_references(folder: Path) -> References:
    """Find the reference masks below a folder.

    Raises:
        DataError: there is no such folder, or no mask in it.
    """
    if not folder.is_dir():
        raise DataError(f"The folder of reference masks {folder} does not exist.")
    by_place: dict[PurePath, tuple[Path, ...]] = {}
    by_uid: dict[str, tuple[Path, ...]] = {}
    for path in sorted(folder.rglob("*")):
        if not (path.name.lower().endswith(SUFFIXES) and path.is_file()):
            continue
        place = path.relative_to(folder).with_name(stem(path.name, SUFFIXES))
        by_place[place] = (*by_place.get(place, ()), path)
        if path.name.lower().endswith((".dcm", ".dicom")):
            for uid in referenced_sop_instance_uids(path):
                by_uid[uid] = (*by_uid.get(uid, ()), path)
    if not by_place:
        raise DataError(f"No reference mask (PNG, NIfTI, DICOM SEG, TIFF, GIF) below {folder}.")
    return References(by_place, by_uid)
