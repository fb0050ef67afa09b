"""The position of a radiograph's pixels in viewers that use ITK, such as 3D Slicer."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lungfield.records import Spacing

PICTURES = (".png", ".jpg", ".jpeg", ".tif", ".tiff")


@dataclass(frozen=True)
class Geometry:
    """The position of an image file's pixels in the patient, in DICOM's axes: left, posterior, superior.

    Attributes:
        spacing: pixel spacing along each axis, columns first, in mm.
        origin: position of the first pixel, in mm.
        direction: the matrix with the axes' unit vectors as columns, in row-major order.
    """

    spacing: tuple[float, ...]
    origin: tuple[float, ...]
    direction: tuple[float, ...]

    @property
    def axes(self) -> int:
        """Number of axes: 2 for a picture, 3 for DICOM."""
        return len(self.spacing)

    @property
    def affine(self) -> NDArray[np.float64]:
        """(4, 4) from (column, row, slice) to mm in NIfTI's axes: right, anterior, superior."""
        matrix = np.eye(4)
        axes = self.axes
        matrix[:axes, :axes] = np.reshape(self.direction, (axes, axes)) * self.spacing
        matrix[:axes, 3] = self.origin
        return np.diag([-1.0, -1.0, 1.0, 1.0]) @ matrix

    def as_volume(self) -> Geometry:
        """The same with a third axis of 1 mm if there are two."""
        direction = np.eye(3)
        direction[:2, :2] = np.reshape(self.direction, (2, 2))
        return Geometry((*self.spacing, 1.0), (*self.origin, 0.0), tuple(direction.ravel()))


def geometry_of(path: Path, spacing: Spacing | None = None) -> Geometry:
    """The geometry of an image file in ITK; if ITK cannot read the file, the first pixel is at 0.

    `spacing` is used if ITK cannot read the file; None for 1 mm.
    """
    import SimpleITK as sitk  # noqa: N813 - as everybody calls it; comes with MONAI Label

    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
    except RuntimeError:
        column_mm, row_mm = (spacing.column_mm, spacing.row_mm) if spacing else (1.0, 1.0)
        return Geometry((column_mm, row_mm, 1.0), (0.0,) * 3, tuple(np.eye(3).ravel()))
    size = reader.GetDimension()
    kept = min(size, 3)  # NIfTI may have a fourth axis (time)
    direction = np.reshape(reader.GetDirection(), (size, size))[:kept, :kept]
    return Geometry(reader.GetSpacing()[:kept], reader.GetOrigin()[:kept], tuple(direction.ravel()))


def is_picture(suffix: str) -> bool:
    """Whether files with that suffix are pictures, which have no patient coordinates."""
    return suffix.lower() in PICTURES


def default_suffix(path: Path) -> str:
    """The default format of a mask: PNG for pictures, NIfTI for other files."""
    return ".png" if is_picture(path.suffix) else ".nii.gz"
