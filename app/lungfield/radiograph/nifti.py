"""NIfTI files that hold one radiograph."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np
from nibabel.nifti1 import Nifti1Image
from nibabel.nifti2 import Nifti2Image

from lungfield.errors import NotFrontalChestError, Reason, UnreadableError
from lungfield.radiograph.contrast import to_unit
from lungfield.radiograph.limits import Limits
from lungfield.radiograph.spacing import believable
from lungfield.records import Radiograph, Spacing

GZIP_MAGIC = b"\x1f\x8b"
HEADER_BYTES = 352
NIFTI1_MAGIC = (344, b"n+1\0")
NIFTI2_MAGIC = (4, b"n+2\0")
UNITS_MM = {"meter": 1000.0, "mm": 1.0, "micron": 0.001, "unknown": 1.0}


def is_nifti(path: Path, head: bytes) -> bool:
    """Tell from the first `HEADER_BYTES` of a file whether it is NIfTI-1 or -2, gzipped or not."""
    if head.startswith(GZIP_MAGIC):
        with gzip.open(path) as stream:
            head = stream.read(HEADER_BYTES)
    return _has(head, NIFTI1_MAGIC) or _has(head, NIFTI2_MAGIC)


def read_nifti(path: Path, *, limits: Limits) -> Radiograph:
    """Return the radiograph in a NIfTI file with one plane.

    The file's axes are (column, row), as ITK and MONAI write a picture; the radiograph's are (row,
    column). The orientation in the header is left alone: a mask has to lie on the array as stored.

    Raises:
        NotFrontalChestError: a volume.
        UnreadableError: damaged, not of grey values, over a limit, or (nearly) uniform.
    """
    content = _content(path, limits)
    kind = Nifti2Image if _has(content, NIFTI2_MAGIC) else Nifti1Image
    image = kind.from_bytes(content)
    planar = [axis for axis, size in enumerate(image.shape) if size > 1]
    if len(planar) > 2:
        raise NotFrontalChestError(
            f"shape {image.shape} is not one plane; a radiograph has two axes", reason=Reason.SEVERAL_FRAMES
        )
    columns, rows = (*(image.shape[axis] for axis in planar), 1, 1)[:2]
    limits.check_shape(rows, columns)
    if rows * columns * image.get_data_dtype().itemsize > len(content):
        raise UnreadableError("the values are cut off", reason=Reason.DAMAGED)
    values = np.asanyarray(image.dataobj).reshape(columns, rows)
    if values.dtype.kind not in "iuf":
        raise UnreadableError(f"values of type {values.dtype} are not grey values", reason=Reason.UNSUPPORTED)
    values = np.ascontiguousarray(values.T)
    pixels, valid = to_unit(values)
    spacing, remarks = _spacing(image.header, planar)
    return Radiograph(
        path=path, pixels=pixels, valid=valid, spacing=spacing, file_format="NIfTI", warnings=remarks
    )


def _has(content: bytes, magic: tuple[int, bytes]) -> bool:
    offset, expected = magic
    return content[offset : offset + len(expected)] == expected


def _content(path: Path, limits: Limits) -> bytes:
    with path.open("rb") as raw:
        gzipped = raw.read(2) == GZIP_MAGIC
    with gzip.open(path) if gzipped else path.open("rb") as stream:
        content = stream.read(limits.max_inflated_bytes + 1)
    if len(content) > limits.max_inflated_bytes:
        raise UnreadableError(
            f"more than {limits.max_inflated_bytes:,} bytes after decompression", reason=Reason.OVER_LIMIT
        )
    return content


def _spacing(header: Any, planar: list[int]) -> tuple[Spacing | None, tuple[str, ...]]:
    scale = UNITS_MM.get(header.get_xyzt_units()[0], 1.0)
    column_mm, row_mm = (float(header.get_zooms()[axis]) * scale for axis in planar)
    if row_mm == column_mm == 1.0:
        return None, ()  # what every writer puts there when it knows nothing
    if not believable(row_mm, column_mm):
        return None, ("The pixel spacing in the NIfTI header cannot be right; lengths are in pixels.",)
    return Spacing(row_mm, column_mm, source="NIfTI header"), ()
