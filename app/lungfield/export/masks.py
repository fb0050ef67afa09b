"""Write label maps as PNG and NIfTI."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from lungfield.atomic import write_whole
from lungfield.errors import OutputError
from lungfield.formats import NIFTI
from lungfield.nifti_pose import affine_of, geometry_of
from lungfield.records import Radiograph

# Filter type 2 of PNG (section 9.2), 'Up': differences from the row above.
_FILTER_UP = 2
# Level 1 of zlib-ng uses fixed codes, which gives files three times as large.
_LEVEL = 2
_GZIP_LEVEL = 6


def save_label_map(label_map: NDArray[np.uint8], path: Path, radiograph: Radiograph) -> None:
    """Write a label map as PNG or NIfTI, by the suffix of `path`: .png, .nii or .nii.gz.

    Args:
        label_map: (H, W) uint8 in the radiograph's stored pixels, with the values of `lungfield.labels`.
        path: the file to write.
        radiograph: that was segmented; its geometry is used for NIfTI.

    Raises:
        OutputError: `path` has another suffix, or the file could not be written.
    """
    name = str(path).lower()
    if name.endswith(NIFTI):
        save_nifti(label_map, path, radiograph)
    elif name.endswith(".png"):
        save_label_map_png(label_map, path)
    else:
        raise OutputError(f"{path}: a mask is saved as .png, .nii or .nii.gz; for DICOM use save_seg.")


def save_label_map_png(label_map: NDArray[np.uint8], path: Path) -> None:
    """Write a label map, (H, W) uint8 with the values of `lungfield.labels`, as an 8-bit grey PNG.

    It looks nearly black, as 1 and 2 are dark greys; for a picture use `save_overlay`.

    Raises:
        OutputError: the file could not be written.
    """
    write_whole(path, _to_png(label_map.astype(np.uint8, copy=False)))


def _to_png(pixels: NDArray[np.uint8]) -> bytes:
    """Encode (H, W) uint8 pixels as an 8-bit grey PNG (W3C PNG, sections 9 to 11).

    PNG libraries try several filters on every row and take about twenty times as long. Rows of a label map
    are similar to the row above, so the 'Up' filter alone compresses well.
    """
    height, width = pixels.shape
    rows = np.empty((height, 1 + width), dtype=np.uint8)
    rows[:, 0] = _FILTER_UP
    rows[0, 1:] = pixels[0]
    np.subtract(pixels[1:], pixels[:-1], out=rows[1:, 1:])
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)  # depth 8, grey, not interlaced
    packed = imagecodecs.zlibng_encode(rows.ravel(), level=_LEVEL)  # type: ignore[arg-type]  # any buffer will do
    chunks = {b"IHDR": header, b"IDAT": bytes(packed), b"IEND": b""}
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
        for name, content in chunks.items()
    )


def save_nifti(label_map: NDArray[np.uint8], path: Path, radiograph: Radiograph) -> None:
    """Write a label map, (H, W) uint8, as NIfTI-1 with an array (x, y), the axis order of ITK.

    For a radiograph from NIfTI, affine, codes, units and shape are copied, but no text fields. Any other
    radiograph has no position in the patient's coordinates: its affine gives the orientation only (down is
    posterior, and x of an upright picture is the patient's left), with the origin 0. Without a pixel spacing,
    zooms are 1 without a unit. The file is compressed if its name ends in `.gz`.

    Args:
        label_map: (H, W) uint8 in the radiograph's stored pixels.
        path: the file to write.
        radiograph: that was segmented.

    Raises:
        OutputError: the file could not be written.
    """
    # Imported on use: the import is slow, and few runs write NIfTI.
    import nibabel

    values = label_map.T  # a view: NIfTI stores the first axis fastest, as the label map lies in memory
    source = radiograph.nifti_header
    if source is not None:
        image = nibabel.Nifti1Image(values.reshape(source.get_data_shape()), None, geometry_of(source))
        image.header.set_data_dtype(np.uint8)
    else:
        spacing = radiograph.stored_spacing
        zooms = (1.0, 1.0) if spacing is None else (spacing.column_mm, spacing.row_mm)
        image = nibabel.Nifti1Image(values, affine_of(radiograph.pose, zooms))
        image.header.set_zooms(zooms)
        image.header.set_xyzt_units("unknown" if spacing is None else "mm")
    content = image.to_bytes()
    if str(path).endswith(".gz"):
        # libdeflate takes a third of zlib's time. It stores no date, so the same mask gives the same file.
        content = bytes(imagecodecs.gzip_encode(content, level=_GZIP_LEVEL))
    write_whole(path, content)
