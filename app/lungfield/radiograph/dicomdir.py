"""Read the list of files in a DICOMDIR (DICOM PS3.10, 8; PS3.3, F)."""

from __future__ import annotations

import warnings
from pathlib import Path, PureWindowsPath

from pydicom import dcmread

MAX_BYTES = 256 << 20
"""Size limit of a DICOMDIR; one with some hundred thousand files is smaller."""


def is_dicomdir(path: Path) -> bool:
    """Whether a file has the name DICOMDIR, which is mandatory (PS3.10, 8.6)."""
    return path.name.upper() == "DICOMDIR"


def read_dicomdir(path: Path) -> tuple[list[Path], int] | None:
    """Return the files that a DICOMDIR lists, and the number of invalid references.

    Each file is listed once, in the order of the DICOMDIR, also if it is missing on disk. An invalid
    reference does not name a file below the DICOMDIR's folder. The result is None if the file cannot be read
    as a DICOMDIR, or is larger than `MAX_BYTES`.
    """
    try:
        if not path.is_file() or path.stat().st_size > MAX_BYTES:
            return None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            records = dcmread(path, force=True).get("DirectoryRecordSequence") or ()
            values = [record.get("ReferencedFileID") for record in records]
            # ReferencedFileID: the components of a path.
            named = [
                (value,) if isinstance(value, str) else tuple(map(str, value)) for value in values if value
            ]
    except Exception:  # pydicom raises anything for a damaged file; reading the file then gives the error
        return None
    if not named:
        return None
    inside = [parts for parts in named if all(_is_name(part) for part in parts)]
    return [_on_disk(path.parent, parts) for parts in dict.fromkeys(inside)], len(named) - len(inside)


def _is_name(part: str) -> bool:
    """Whether a component is a plain name on any system: no '..', separator or drive."""
    return part not in ("", ".", "..") and "\0" not in part and PureWindowsPath(part).name == part


def _on_disk(folder: Path, parts: tuple[str, ...]) -> Path:
    """The path of a listed file; on a mounted or copied medium its name may be in lower case."""
    listed = folder.joinpath(*parts)
    small = folder.joinpath(*(part.lower() for part in parts))
    return small if not listed.exists() and small.exists() else listed
