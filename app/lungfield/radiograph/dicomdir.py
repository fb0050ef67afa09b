"""The files that a DICOMDIR lists (DICOM PS3.10, 8; PS3.3, F)."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath
from typing import Any

from pydicom import dcmread

MAX_BYTES = 256 << 20
"""Of a DICOMDIR: some hundreds of thousands of files need less."""


@dataclass(frozen=True)
class Listed:
    """What a DICOMDIR lists.

    Attributes:
        files: the paths of the files below the folder of the DICOMDIR, in its order, each once; of a file
            that is missing, where it should be.
        refused: how many references name no file below that folder.
    """

    files: tuple[Path, ...]
    refused: int


def is_dicomdir(path: Path) -> bool:
    """Tell whether a file is called DICOMDIR, as each is (PS3.10, 8.6)."""
    return path.name.upper() == "DICOMDIR"


def read_dicomdir(path: Path) -> Listed | None:
    """Return what a DICOMDIR lists; None where it cannot be read as one, or is larger than `MAX_BYTES`."""
    try:
        if not path.is_file() or path.stat().st_size > MAX_BYTES:
            return None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            records = dcmread(path, force=True).get("DirectoryRecordSequence")
            references = [tuple(_components(record)) for record in records or ()]
    except Exception:  # whatever pydicom makes of a damaged file: who reads it says what is wrong
        return None
    named = [parts for parts in references if parts]
    inside = dict.fromkeys(parts for parts in named if all(_is_name(part) for part in parts))
    if not named:
        return None
    return Listed(
        tuple(_on_disk(path.parent, parts) for parts in inside),
        sum(not all(_is_name(part) for part in parts) for parts in named),
    )


def _components(record: Any) -> Iterator[str]:
    """The components of a record's ReferencedFileID: folders and the name of the file."""
    value = record.get("ReferencedFileID")
    if value:
        yield from ([str(value)] if isinstance(value, str) else map(str, value))


def _is_name(part: str) -> bool:
    """Whether a component is one name, on any system: no way up, no separator, no drive."""
    return part not in ("", ".", "..") and "\0" not in part and PureWindowsPath(part).name == part


def _on_disk(folder: Path, parts: tuple[str, ...]) -> Path:
    """The path of a listed file; a medium that is mounted or copied may show its names in small letters."""
    listed = folder.joinpath(*parts)
    small = folder.joinpath(*(part.lower() for part in parts))
    return small if not listed.exists() and small.exists() else listed
