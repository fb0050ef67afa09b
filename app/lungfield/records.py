"""What passes between the stages: immutable records, free of torch and of file formats."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Spacing:
    """The distance between the centres of neighbouring pixels.

    Attributes:
        row_mm: between rows (down a column), in mm, positive and finite.
        column_mm: between columns (along a row), in mm, positive and finite.
        source: the attribute it was taken from: a DICOM keyword such as `PixelSpacing` or
            `ImagerPixelSpacing`, or `NIfTI header`.
        plane: where the distance holds: 'patient' (calibrated, or divided by the magnification) or
            'detector' (in the plane of the detector: lengths in the patient are smaller).
    """

    row_mm: float
    column_mm: float
    source: str
    plane: str = "patient"

    @property
    def pixel_area_mm2(self) -> float:
        """The area of one pixel, in mm²."""
        return self.row_mm * self.column_mm


@dataclass(frozen=True)
class Radiograph:
    """A frontal chest radiograph, decoded and ready for every later stage.

    Attributes:
        path: the file it came from.
        pixels: (H, W) float32 in [0, 1]; rows and columns as stored in the file; lungs dark.
        valid: (H, W) bool, False where the file says there is no image (padding, shutter), or None
            where all of it is image.
        spacing: distance of pixels, or None where the file gives none that can be believed.
        file_format: 'DICOM', 'PNG', 'JPEG', 'TIFF' or 'NIfTI'.
        mirrored: True where the file says that the patient's right is on the right side of the image.
        view: 'PA', 'AP' or 'frontal' where the file says so, else None.
        warnings: remarks for the user on what was odd and how it was resolved, free of identity.
        header: the DICOM data set without its pixels (`pydicom.Dataset`), else None; needed to
            reference the source image in a DICOM SEG.
    """

    path: Path
    pixels: NDArray[np.float32]
    valid: NDArray[np.bool_] | None = None
    spacing: Spacing | None = None
    file_format: str = "PNG"
    mirrored: bool = False
    view: str | None = None
    warnings: tuple[str, ...] = ()
    header: Any = field(default=None, repr=False, compare=False)

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, columns) of the stored image."""
        rows, columns = self.pixels.shape
        return rows, columns
