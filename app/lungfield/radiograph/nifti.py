"""NIfTI files that hold one radiograph."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np
from nibabel.nifti1 import Nifti1Image
from nibabel.nifti2 import Nifti2Image

from lungfield.errors import NotFrontalChestError, Reason, UnreadableError
from lungfield.nifti_pose import is_placed, pose_of
from lungfield.pose import UPRIGHT
from lungfield.radiograph.colour import luminance
from lungfield.radiograph.contrast import to_unit
from lungfield.radiograph.limits import Limits
from lungfield.radiograph.spacing import believable
from lungfield.records import Radiograph, Spacing

GZIP_MAGIC = b"\x1f\x8b"
HEADER_BYTES = 352
NIFTI1_MAGIC = (344, b"n+1\0")
NIFTI1_PAIR_MAGIC = (344, b"ni1\0")
NIFTI2_MAGIC = (4, b"n+2\0")
HEADER_SIZES = ((348).to_bytes(4, "little"), (348).to_bytes(4, "big"))
UNITS_MM = {"meter": 1000.0, "mm": 1.0, "micron": 0.001, "unknown": 1.0}


def is_nifti(path: Path, head: bytes) -> bool:
    """Tell from the first `HEADER_BYTES` of a file whether it is NIfTI-1 or -2, gzipped or not, or a pair."""
    if head.startswith(GZIP_MAGIC):
        with gzip.open(path) as stream:
            head = stream.read(HEADER_BYTES)
    return _has(head, NIFTI1_MAGIC) or _has(head, NIFTI2_MAGIC) or _is_pair(head)


def read_nifti(path: Path, *, limits: Limits) -> Radiograph:
    """Return the radiograph in a NIfTI file with one plane, or in a pair of .hdr and .img (Analyze too).

    The file's axes are (column, row), as ITK and MONAI write a picture; the radiograph's are (row,
    column), upright by the affine (`Pose.of_affine`) where qform_code or sform_code says that it holds.

    Raises:
        NotFrontalChestError: a volume.
        UnreadableError: damaged, not of grey values, over a limit, or (nearly) uniform.
    """
    image, size = _opened(path, limits)
    planar = [axis for axis, length in enumerate(image.shape) if length > 1]
    if len(planar) > 2:
        raise NotFrontalChestError(
            f"shape {image.shape} is not one plane; a radiograph has two axes", reason=Reason.SEVERAL_FRAMES
        )
    columns, rows = (*(image.shape[axis] for axis in planar), 1, 1)[:2]
    limits.check_shape(rows, columns)
    if rows * columns * image.get_data_dtype().itemsize > size:
        raise UnreadableError("the values are cut off", reason=Reason.DAMAGED)
    values = np.asanyarray(image.dataobj).reshape(columns, rows).T
    if values.dtype.names is not None:  # RGB24 and RGBA32
        values = luminance(np.stack([values[name] for name in values.dtype.names[:3]], axis=-1))
    if values.dtype.kind not in "iuf":
        raise UnreadableError(f"values of type {values.dtype} are not grey values", reason=Reason.UNSUPPORTED)
    spacing, remarks = _spacing(image.header, planar)
    pose = pose_of(image, (planar[0], planar[1]))
    if max(planar) > 2 or _is_sagittal(image, planar):
        remarks += ("The affine places the picture in no frontal plane; it is taken as it is stored.",)
    upright = pose or UPRIGHT
    pixels, valid = to_unit(np.ascontiguousarray(upright.upright(values)))
    return Radiograph(
        path=path,
        pixels=pixels,
        valid=valid,
        spacing=spacing.transposed() if spacing and upright.transposed else spacing,
        pose=upright,
        pose_told=pose is not None,
        file_format="NIfTI",
        warnings=remarks,
        nifti_header=image.header,
    )


def _is_sagittal(image: Any, planar: list[int]) -> bool:
    return is_placed(image) and 0 not in np.abs(image.affine[:3, planar]).argmax(axis=0)


def _is_pair(head: bytes) -> bool:
    """Whether bytes start as the header of a pair does, with its own size."""
    return len(head) >= HEADER_BYTES - 4 and head.startswith(HEADER_SIZES)


def _opened(path: Path, limits: Limits) -> tuple[Any, int]:
    """The image, not yet decoded, and how many bytes there are of it."""
    with path.open("rb") as stream:
        head = stream.read(HEADER_BYTES)
    if not head.startswith(GZIP_MAGIC) and not _has(head, NIFTI1_MAGIC) and not _has(head, NIFTI2_MAGIC):
        return _opened_pair(path, limits)
    content = _content(path, limits)
    kind = Nifti2Image if _has(content, NIFTI2_MAGIC) else Nifti1Image
    return kind.from_bytes(content), len(content)


def _opened_pair(path: Path, limits: Limits) -> tuple[Any, int]:
    import nibabel

    pixels = next(
        (one for one in (path.with_suffix(".img"), path.with_suffix(".IMG")) if one.is_file()), None
    )
    if pixels is None:
        raise UnreadableError("the .img file beside this .hdr file is missing", reason=Reason.DAMAGED)
    size = pixels.stat().st_size
    limits.check_file_bytes(size)
    kind = nibabel.Nifti1Pair if _has(path.read_bytes(), NIFTI1_PAIR_MAGIC) else nibabel.AnalyzeImage
    return kind.from_filename(str(path)), size


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
    units = header.get_xyzt_units()[0] if hasattr(header, "get_xyzt_units") else "unknown"  # not in Analyze
    scale = UNITS_MM.get(units, 1.0)
    column_mm, row_mm = (float(header.get_zooms()[axis]) * scale for axis in planar)
    if row_mm == column_mm == 1.0:
        return None, ()  # what every writer puts there when it knows nothing
    if not believable(row_mm, column_mm):
        return None, ("The pixel spacing in the NIfTI header cannot be right; lengths are in pixels.",)
    return Spacing(row_mm, column_mm, source="NIfTI header"), ()
