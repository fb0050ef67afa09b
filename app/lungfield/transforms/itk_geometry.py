"""Where viewers place the pixels of a radiograph's file: by ITK, as 3D Slicer does."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lungfield.records import Spacing

PICTURES = (".png", ".jpg", ".jpeg", ".tif", ".tiff")


@dataclass(frozen=True)
class Geometry:
    """How the pixels of an image file lie in the patient, in DICOM's axes: to the left, back and head.

    Attributes:
        spacing: distance along each axis, column first, in mm.
        origin: position of the first pixel, in mm.
        direction: the axes' unit vectors, as columns of a matrix, row by row.
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
        """(4, 4), from (column, row, slice) to mm in NIfTI's axes: to the right, front and head."""
        matrix = np.eye(4)
        axes = self.axes
        matrix[:axes, :axes] = np.reshape(self.direction, (axes, axes)) * self.spacing
        matrix[:axes, 3] = self.origin
        return np.diag([-1.0, -1.0, 1.0, 1.0]) @ matrix

    def as_volume(self) -> Geometry:
        """The same with a third axis of 1 mm, where there are two."""
        direction = np.eye(3)
        direction[:2, :2] = np.reshape(self.direction, (2, 2))
        return Geometry((*self.spacing, 1.0), (*self.origin, 0.0), tuple(direction.ravel()))


def geometry_of(path: Path, spacing: Spacing | None = None) -> Geometry:
    """Where ITK places an image file; where it cannot read one, the first pixel is at 0.

    `spacing` is taken where ITK cannot read it; None for 1 mm.
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
    kept = min(size, 3)  # NIfTI may have a fourth axis, of time
    direction = np.reshape(reader.GetDirection(), (size, size))[:kept, :kept]
    return Geometry(reader.GetSpacing()[:kept], reader.GetOrigin()[:kept], tuple(direction.ravel()))


def is_picture(suffix: str) -> bool:
    """Whether files with that suffix are pictures, which have no place in the patient."""
    return suffix.lower() in PICTURES


def default_suffix(path: Path) -> str:
    """The format of a mask unless another is asked for: PNG for pictures, NIfTI for all else."""
    return ".png" if is_picture(path.suffix) else ".nii.gz"
