"""File formats: suffixes, and the start of DICOM files."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

DICOM = (".dcm", ".dicom")
PICTURES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".gif", ".bmp")
"""Pictures for both radiographs and masks."""
NIFTI = (".nii", ".nii.gz")
NIFTI_PAIR = (".hdr", ".img")
"""NIfTI-1 and Analyze in two files: the header is the input, and the image file is read with it."""

RADIOGRAPHS = (*DICOM, ".dcm.gz", *PICTURES, ".webp", ".jp2", ".j2k", *NIFTI, NIFTI_PAIR[0])
"""Suffixes of radiographs, which are accepted without a check of the content."""
MASKS = (*DICOM, *PICTURES, *NIFTI, NIFTI_PAIR[0])
"""Suffixes of reference masks."""
DATA_SETS = (*DICOM, *PICTURES, *NIFTI, ".img")
"""Suffixes of images and masks in the folders for a data set; JSRT's images are raw .img files."""

PREAMBLE_BYTES = 128
MAGIC = b"DICM"


def stem(name: str, suffixes: Sequence[str] = RADIOGRAPHS) -> str:
    """The name of a file without the suffix of its format; '1.2.840' has none, 'a.nii.gz' a double one."""
    lower = name.lower()
    found = (suffix for suffix in sorted(suffixes, key=len, reverse=True) if lower.endswith(suffix))
    suffix = next(found, "")
    return name[: len(name) - len(suffix)] or name


class _Openable(Protocol):
    def open(self, mode: Any = ...) -> Any:
        """A stream, as from `Path.open`."""


def has_preamble(path: _Openable) -> bool:
    """Whether a file has the DICOM preamble and prefix (PS3.10, 7.1)."""
    with path.open("rb") as stream:
        stream.seek(PREAMBLE_BYTES)
        return stream.read(len(MAGIC)) == MAGIC
