"""What passes between the stages: immutable records, free of torch and of file formats."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lungfield.pose import UPRIGHT, Pose


@dataclass(frozen=True)
class Spacing:
    """The distance between the centres of neighbouring pixels.

    Attributes:
        row_mm: between rows (down a column), in mm, positive and finite.
        column_mm: between columns (along a row), in mm, positive and finite.
        source: the attribute it was taken from: a DICOM keyword such as `PixelSpacing` or
            `ImagerPixelSpacing`, or `NIfTI header`.
        plane: where the distance holds: 'patient' (calibrated, or divided by the magnification), 'detector'
            (in the plane of the detector: lengths in the patient are smaller), or 'unknown'.
    """

    row_mm: float
    column_mm: float
    source: str
    plane: str = "patient"

    @property
    def pixel_area_mm2(self) -> float:
        """The area of one pixel, in mm²."""
        return self.row_mm * self.column_mm

    def transposed(self) -> Spacing:
        """The same with rows and columns in each other's place."""
        return replace(self, row_mm=self.column_mm, column_mm=self.row_mm)


@dataclass(frozen=True)
class Radiograph:
    """A frontal chest radiograph, decoded, brought upright, and ready for every later stage.

    Pixels, valid pixels, spacing and shape are those of the upright picture: head at the top, the patient's
    right on the left side. What is named stored is that of the file.

    Attributes:
        path: the file it came from; of what lay in memory, its name or what it was.
        pixels: (H, W) float32 in [0, 1]; upright; lungs dark.
        valid: (H, W) bool, False where the file says there is no image (padding, shutter), or None
            where all of it is image.
        spacing: distance of pixels, or None where the file gives none that can be believed.
        stored_aspect: height of a pixel by its width as the file stores it, where `spacing` is None.
        pose: how the picture lies in the file.
        pose_told: whether the file says how it lies; where it does not, `pose` is the usual one.
        corrections: what was done to the picture because its mask showed what the file does not tell, by the
            flags of `lungfield.mask.Flag`.
        polarity_told: whether the file says, without contradicting itself, which of its values are dark.
        file_format: 'DICOM', 'NIfTI' (or Analyze), 'PNG', 'JPEG', 'TIFF', 'JPEG 2000', 'WebP', 'BMP', 'GIF'.
        view: 'PA', 'AP' or 'frontal' where the file says so, else None.
        warnings: remarks for the user on what was odd and how it was resolved, free of identity.
        header: the DICOM data set without its pixels (`pydicom.Dataset`), else None; needed to
            reference the source image in a DICOM SEG.
        nifti_header: the header of a NIfTI file (nibabel), else None; masks take affine and shape from it.
    """

    path: Path
    pixels: NDArray[np.float32]
    valid: NDArray[np.bool_] | None = None
    spacing: Spacing | None = None
    stored_aspect: float = 1.0
    pose: Pose = UPRIGHT
    pose_told: bool = False
    polarity_told: bool = False
    corrections: tuple[str, ...] = ()
    file_format: str = "PNG"
    view: str | None = None
    warnings: tuple[str, ...] = ()
    header: Any = field(default=None, repr=False, compare=False)
    nifti_header: Any = field(default=None, repr=False, compare=False)

    def __repr__(self) -> str:
        """One line: the file, its format, size and spacing; no pixels."""
        rows, columns = self.stored_shape
        spacing = self.stored_spacing
        told = [f"{self.file_format}, {rows} x {columns} px"]
        told += [f"{spacing.row_mm:g} x {spacing.column_mm:g} mm"] if spacing else []
        told += [self.view] if self.view else []
        return f"<Radiograph {self.path.name}: {', '.join(told)}>"

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, columns) of the upright picture."""
        rows, columns = self.pixels.shape
        return rows, columns

    def in_pose(self, further: Pose) -> Radiograph:
        """The radiograph turned by a further pose, which then counts as upright."""
        if further.is_upright:
            return self
        return replace(
            self,
            pixels=np.ascontiguousarray(further.upright(self.pixels)),
            valid=None if self.valid is None else np.ascontiguousarray(further.upright(self.valid)),
            spacing=self.spacing.transposed() if self.spacing and further.transposed else self.spacing,
            pose=self.pose.then(further),
        )

    @property
    def pixel_aspect(self) -> float:
        """Height of a pixel by its width; 1 where nothing is known."""
        if self.spacing is not None:
            return self.spacing.row_mm / self.spacing.column_mm
        return 1 / self.stored_aspect if self.pose.transposed else self.stored_aspect

    @property
    def stored_shape(self) -> tuple[int, int]:
        """(rows, columns) of the picture as the file stores it."""
        return self.pose.stored_pair(self.shape)

    @property
    def stored_spacing(self) -> Spacing | None:
        """`spacing` with rows and columns as the file stores them."""
        if self.spacing is None or not self.pose.transposed:
            return self.spacing
        return self.spacing.transposed()
