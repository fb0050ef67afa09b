"""Read NIfTI files with one radiograph."""

from __future__ import annotations

import gzip
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from lungfield.errors import NotFrontalChestError, Reason, UnreadableError
from lungfield.nifti_pose import is_frontal, pose_of
from lungfield.pose import UPRIGHT
from lungfield.radiograph.content import File, InMemory, path_of
from lungfield.radiograph.contrast import luminance, to_unit
from lungfield.radiograph.limits import Limits
from lungfield.radiograph.spacing import is_plausible_spacing
from lungfield.records import Radiograph, Spacing

GZIP_MAGIC = b"\x1f\x8b"
HEADER_BYTES = 352
KINDS = {
    (344, b"n+1\0"): "Nifti1Image",
    (4, b"n+2\0"): "Nifti2Image",
    (344, b"ni1\0"): "Nifti1Pair",
    (4, b"ni2\0"): "Nifti2Pair",
    (0, (348).to_bytes(4, "little")): "AnalyzeImage",
    (0, (348).to_bytes(4, "big")): "AnalyzeImage",
}
"""nibabel's classes by magic bytes: NIfTI-1 and -2, files and pairs; Analyze has only its header's size."""
PAIRS = ("Nifti1Pair", "Nifti2Pair", "AnalyzeImage")
UNITS_MM = {"meter": 1000.0, "mm": 1.0, "micron": 0.001, "unknown": 1.0}


def is_nifti(file: File, head: bytes) -> bool:
    """Whether a file, with the first `HEADER_BYTES` in `head`, is NIfTI or Analyze, gzipped or not."""
    if head.startswith(GZIP_MAGIC):
        with file.open("rb") as packed, gzip.open(packed) as stream:
            head = stream.read(HEADER_BYTES)
    return _kind(head) is not None


def read_nifti(file: File, *, limits: Limits) -> Radiograph:
    """Read the radiograph in a NIfTI file with one plane, or in a pair of files (NIfTI or Analyze).

    For a pair, `file` is the .hdr file; the .img file is beside it. The file's axes are (column, row), as ITK
    and MONAI write pictures. The radiograph's axes are (row, column), upright by the affine
    (`nifti_pose.pose_of`) if that describes a frontal plane.

    Raises:
        NotFrontalChestError: the file is a volume or a label map.
        UnreadableError: the file is damaged, has no grey values, is over a limit, or (nearly) uniform.
    """
    image, size = _opened(file, limits)
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
    axes = (planar[0], planar[1])
    pose = pose_of(image, axes)
    if not is_frontal(image, axes):
        remarks += ("The affine gives no frontal plane; the picture is read as stored.",)
    upright = pose or UPRIGHT
    pixels, valid = to_unit(np.ascontiguousarray(upright.upright(values)))
    return Radiograph(
        path=path_of(file),
        pixels=pixels,
        valid=valid,
        spacing=spacing.transposed() if spacing and upright.transposed else spacing,
        pose=upright,
        pose_is_known=pose is not None,
        file_format="NIfTI",
        warnings=remarks,
        nifti_header=image.header,
    )


def _kind(head: bytes) -> str | None:
    """The name of nibabel's class for the start of a file, or None."""
    if len(head) < HEADER_BYTES - 4:
        return None
    found = (kind for (start, magic), kind in KINDS.items() if head[start : start + len(magic)] == magic)
    return next(found, None)


def _opened(file: File, limits: Limits) -> tuple[Any, int]:
    """The image, not yet decoded, and its size in bytes."""
    content = _content(file, limits)
    # Imported on use: the import is slow, and few radiographs are NIfTI.
    import nibabel

    name = _kind(content[:HEADER_BYTES]) or ""
    kind: Any = getattr(nibabel, name)
    if name not in PAIRS:
        return kind.from_bytes(content), len(content)
    values = _content(_beside(file), limits)
    files = {"header": BytesIO(content), "image": BytesIO(values)}
    return kind.from_file_map(kind.make_file_map(files)), len(values)


def _beside(header: File) -> Path:
    """The .img file of a pair."""
    if isinstance(header, InMemory):
        raise UnreadableError(
            "this is the header of a pair without its values; give the path of the .hdr file, with the .img "
            "file beside it",
            reason=Reason.UNSUPPORTED,
        )
    stem = header.with_suffix("") if header.suffix.lower() == ".gz" else header
    for suffix in (".img", ".IMG", ".img.gz"):
        if (values := stem.with_suffix(suffix)).is_file():
            return values
    raise UnreadableError("the .img file beside this .hdr file is missing", reason=Reason.DAMAGED)


def _content(file: File, limits: Limits) -> bytes:
    with file.open("rb") as raw:
        gzipped = raw.read(2) == GZIP_MAGIC
        raw.seek(0)
        stream: Any = gzip.open(raw) if gzipped else raw  # noqa: SIM115 - closed with what it reads
        content = stream.read(limits.max_inflated_bytes + 1)
    if len(content) > limits.max_inflated_bytes:
        raise UnreadableError(
            f"more than {limits.max_inflated_bytes:,} bytes after decompression", reason=Reason.OVER_LIMIT
        )
    return content


def _spacing(header: Any, planar: list[int]) -> tuple[Spacing | None, tuple[str, ...]]:
    try:
        scale = UNITS_MM.get(str(header.get_xyzt_units()[0]), 1.0)
    except (AttributeError, KeyError):  # Analyze has no units; or the code is unknown
        scale = 1.0
    column_mm, row_mm = (float(header.get_zooms()[axis]) * scale for axis in planar)
    if row_mm == column_mm == 1.0:
        return None, ()  # the default of writers that do not know the spacing
    if not is_plausible_spacing(row_mm, column_mm):
        return None, ("The pixel spacing in the NIfTI header is implausible; lengths are in pixels.",)
    return Spacing(row_mm, column_mm, source="NIfTI header"), ()
