"""The formats of files: the suffixes that they go by, and how DICOM begins."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

DICOM = (".dcm", ".dicom")
PICTURES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".gif", ".bmp")
"""Pictures that hold radiographs and masks alike."""
NIFTI = (".nii", ".nii.gz")
NIFTI_PAIR = (".hdr", ".img")
"""NIfTI-1 and Analyze in two files: the header is the input, the other belongs to it."""

RADIOGRAPHS = (*DICOM, ".dcm.gz", *PICTURES, ".webp", ".jp2", ".j2k", *NIFTI, NIFTI_PAIR[0])
"""Of the files that are taken for radiographs without a look at their content."""
MASKS = (*DICOM, *PICTURES, *NIFTI, NIFTI_PAIR[0])
"""Of the files that are taken for reference masks."""
DATA_SETS = (*DICOM, *PICTURES, *NIFTI, ".img")
"""Of images and masks in the folders that a data set is prepared from; JSRT's images are bare .img files."""

PREAMBLE_BYTES = 128
MAGIC = b"DICM"


def stem(name: str, suffixes: Sequence[str] = RADIOGRAPHS) -> str:
    """The name of a file without the suffix of its format: '1.2.840' has none, 'a.nii.gz' a double one."""
    lower = name.lower()
    found = (suffix for suffix in sorted(suffixes, key=len, reverse=True) if lower.endswith(suffix))
    suffix = next(found, "")
    return name[: len(name) - len(suffix)] or name


class _Openable(Protocol):
    def open(self, mode: Any = ...) -> Any:
        """A stream, as `Path.open` gives it."""


def has_preamble(path: _Openable) -> bool:
    """Tell whether a file has the preamble and the prefix of DICOM (PS3.10, 7.1), and so is DICOM."""
    with path.open("rb") as stream:
        stream.seek(PREAMBLE_BYTES)
        return stream.read(len(MAGIC)) == MAGIC
