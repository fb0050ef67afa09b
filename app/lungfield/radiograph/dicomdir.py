"""The files that a DICOMDIR lists (DICOM PS3.10, 8; PS3.3, F)."""

from __future__ import annotations

import warnings
from pathlib import Path, PureWindowsPath

from pydicom import dcmread

MAX_BYTES = 256 << 20
"""Of a DICOMDIR: some hundreds of thousands of files need less."""


def is_dicomdir(path: Path) -> bool:
    """Tell whether a file is called DICOMDIR, as each is (PS3.10, 8.6)."""
    return path.name.upper() == "DICOMDIR"


def read_dicomdir(path: Path) -> tuple[list[Path], int] | None:
    """Return the files that a DICOMDIR lists, and how many references name no file below its folder.

    Each file is there once, in the order of the DICOMDIR; of one that is missing, where it should be. None
    where it cannot be read as a DICOMDIR, or is larger than `MAX_BYTES`.
    """
    try:
        if not path.is_file() or path.stat().st_size > MAX_BYTES:
            return None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            records = dcmread(path, force=True).get("DirectoryRecordSequence") or ()
            values = [record.get("ReferencedFileID") for record in records]
            # The components of a path: folders and the name of the file.
            named = [
                (value,) if isinstance(value, str) else tuple(map(str, value)) for value in values if value
            ]
    except Exception:  # whatever pydicom makes of a damaged file: who reads it says what is wrong
        return None
    if not named:
        return None
    inside = [parts for parts in named if all(_is_name(part) for part in parts)]
    return [_on_disk(path.parent, parts) for parts in dict.fromkeys(inside)], len(named) - len(inside)


def _is_name(part: str) -> bool:
    """Whether a component is one name, on any system: no way up, no separator, no drive."""
    return part not in ("", ".", "..") and "\0" not in part and PureWindowsPath(part).name == part


def _on_disk(folder: Path, parts: tuple[str, ...]) -> Path:
    """The path of a listed file; a medium that is mounted or copied may show its names in small letters."""
    listed = folder.joinpath(*parts)
    small = folder.joinpath(*(part.lower() for part in parts))
    return small if not listed.exists() and small.exists() else listed
