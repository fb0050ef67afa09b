"""Immutable records that the stages exchange, independent of torch and of file formats."""

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
        source: the attribute that it was read from: a DICOM keyword such as `PixelSpacing` or
            `ImagerPixelSpacing`, or `NIfTI header`.
        plane: the plane of the distance: 'patient' (calibrated, or divided by the magnification), 'detector'
            (lengths in the patient are smaller), or 'unknown'.
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
        """The same with rows and columns exchanged."""
        return replace(self, row_mm=self.column_mm, column_mm=self.row_mm)


@dataclass(frozen=True)
class Radiograph:
    """A frontal chest radiograph, decoded and upright.

    Pixels, valid pixels, spacing and shape are those of the upright picture: head at the top, the patient's
    right on the left side. Attributes named 'stored' are those of the file.

    Attributes:
        path: of the file; for a source in memory, its name or kind.
        pixels: (H, W) float32 in [0, 1]; upright; lungs are dark.
        valid: (H, W) bool, False on pixel padding and outside of shutters, or None if all pixels are valid.
        spacing: pixel spacing, or None if the file gives no plausible one.
        stored_aspect: height / width of a pixel as stored, used if `spacing` is None.
        pose: of the picture in the file.
        pose_is_known: whether the file gives the pose; otherwise `pose` is the default.
        corrections: changes of pose or polarity that were derived from the mask, as values of
            `lungfield.mask.Flag`.
        polarity_is_known: whether the file gives the polarity without a contradiction.
        file_format: 'DICOM', 'NIfTI' (or Analyze), 'PNG', 'JPEG', 'TIFF', 'JPEG 2000', 'WebP', 'BMP', 'GIF'.
        view: 'PA', 'AP' or 'frontal' if the file names it, else None.
        frontal: False if the file names another view or body part than a frontal chest.
        warnings: remarks for the user on unusual properties of the file; without identities.
        header: the DICOM data set without its pixels (`pydicom.Dataset`), else None; derived DICOM objects
            need it.
        nifti_header: the header of a NIfTI file (nibabel), else None; masks get affine and shape from it.
    """

    path: Path
    pixels: NDArray[np.float32]
    valid: NDArray[np.bool_] | None = None
    spacing: Spacing | None = None
    stored_aspect: float = 1.0
    pose: Pose = UPRIGHT
    pose_is_known: bool = False
    polarity_is_known: bool = False
    corrections: tuple[str, ...] = ()
    file_format: str = "PNG"
    view: str | None = None
    frontal: bool = True
    warnings: tuple[str, ...] = ()
    header: Any = field(default=None, repr=False, compare=False)
    nifti_header: Any = field(default=None, repr=False, compare=False)

    def __repr__(self) -> str:
        """One line: the file, its format, size and spacing; no pixels."""
        rows, columns = self.stored_shape
        spacing = self.stored_spacing
        shown = [f"{self.file_format}, {rows} x {columns} px"]
        shown += [f"{spacing.row_mm:g} x {spacing.column_mm:g} mm"] if spacing else []
        shown += [self.view] if self.view else []
        return f"<Radiograph {self.path.name}: {', '.join(shown)}>"

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, columns) of the upright picture."""
        rows, columns = self.pixels.shape
        return rows, columns

    def in_pose(self, further: Pose) -> Radiograph:
        """The radiograph after a further pose is applied, as the new upright picture."""
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
        """Height / width of a pixel; 1 if not known."""
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
