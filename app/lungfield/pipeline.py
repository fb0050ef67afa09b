"""One radiograph, from its file to its results: the only file that joins the stages."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lungfield import export
from lungfield.errors import OutputError
from lungfield.inference import DEFAULT_BUNDLE, Bundle, find_bundle
from lungfield.inference.predictor import Predictor
from lungfield.mask import (
    Agreement,
    Density,
    Measurements,
    Quality,
    agreement,
    assess,
    mean_density,
    measure,
    read_mask,
)
from lungfield.radiograph import read_radiograph
from lungfield.records import Radiograph


@dataclass(frozen=True)
class Segmentation:
    """The lung fields of one radiograph.

    Attributes:
        radiograph: what was segmented.
        label_map: (H, W) uint8 on the file's own pixels: 0 background, 1 the patient's right lung, 2 left.
        probability: (h, w) float32 in [0, 1], the probability of lung on the network's own grid.
        bundle: what segmented it.
        probability_of_mirrored: as `probability`, from the mirrored radiograph and mirrored back, where that
            second opinion was asked for.
    """

    radiograph: Radiograph
    label_map: NDArray[np.uint8]
    probability: NDArray[np.float32]
    bundle: Bundle
    probability_of_mirrored: NDArray[np.float32] | None = None

    @cached_property
    def measurements(self) -> Measurements:
        """Areas, heights and widths, in pixels and where the spacing is known in mm."""
        return measure(self.label_map, self.radiograph.spacing)

    @cached_property
    def density(self) -> Density:
        """Mean grey value of each lung as displayed, in [0, 1]."""
        return mean_density(self.radiograph, self.label_map)

    @cached_property
    def quality(self) -> Quality:
        """Flags and a confidence: whether somebody should look at this mask."""
        return assess(self.label_map, self.probability, self.radiograph, flipped=self.probability_of_mirrored)

    @property
    def algorithm(self) -> export.Algorithm:
        """What DICOM objects name as their maker."""
        bundle = self.bundle
        return export.Algorithm(f"lungfield {bundle.name}", bundle.version, bundle.weights_sha256)

    def agreement(self, reference: str | Path | NDArray[np.generic]) -> Agreement:
        """Compare with a reference mask: (H, W) values that are not 0 on lung, or the path of a file.

        Raises:
            DataError: the file cannot be read, or its size is another.
        """
        mask = read_mask(Path(reference)) if isinstance(reference, (str, Path)) else reference
        return agreement(self.label_map, mask, spacing=self.radiograph.spacing)

    def save_mask(self, path: str | Path) -> None:
        """Write the label map as an 8-bit PNG or as NIfTI, as the name says: .png, .nii or .nii.gz.

        Raises:
            OutputError: the name has another suffix, or the file cannot be written.
        """
        name = str(path).lower()
        if name.endswith((".nii", ".nii.gz")):
            export.save_nifti(self.label_map, Path(path), self.radiograph.spacing)
        elif name.endswith(".png"):
            export.save_label_map_png(self.label_map, Path(path))
        else:
            raise OutputError(f"{path}: a mask is saved as .png, .nii or .nii.gz; for DICOM use save_seg.")

    def save_seg(
        self, path: str | Path, *, viewer_geometry: bool = False, created: datetime.datetime | None = None
    ) -> None:
        """Write a DICOM SEG that refers to the radiograph, which must have come from DICOM."""
        export.save_dicom_seg(
            self.radiograph,
            self.label_map,
            Path(path),
            algorithm=self.algorithm,
            viewer_geometry=viewer_geometry,
            created=created,
        )

    def save_report(
        self, path: str | Path, *, created: datetime.datetime | None = None, segmentation: Path | None = None
    ) -> None:
        """Write the measurements as a DICOM structured report (TID 1500) on a radiograph from DICOM.

        Args:
            path: where to.
            created: date and time that the report bears; None for now.
            segmentation: the file that `save_seg` wrote, for the report to refer to.
        """
        export.save_structured_report(
            self.radiograph,
            self.measurements,
            Path(path),
            density=self.density,
            algorithm=self.algorithm,
            created=created,
            segmentation=segmentation,
        )

    def save_secondary_capture(self, path: str | Path, *, created: datetime.datetime | None = None) -> None:
        """Write the overlay as a DICOM secondary capture in the study of a radiograph from DICOM."""
        export.save_secondary_capture(
            self.radiograph,
            self.label_map,
            Path(path),
            algorithm=self.algorithm,
            created=created,
        )

    def save_overlay(self, path: str | Path, *, longest_side: int = 768) -> None:
        """Write a JPEG of the radiograph with the contours of the lungs."""
        export.save_overlay(self.radiograph, self.label_map, Path(path), longest_side=longest_side)


class Segmenter:
    """Segments radiographs with one bundle, loaded once.

    Args:
        bundle: the name of a shipped bundle, or the folder of any other. A bundle's config can run code:
            load only those that you trust.
        device: 'auto' (CUDA where there is one), 'cpu', 'cuda', 'cuda:1', ...

    Raises:
        BundleError: there is no such bundle, it has no weights, or the device is not there.

    Examples:
        >>> segmenter = Segmenter("unet")
        >>> lungs = segmenter("chest.dcm")
        >>> lungs.measurements.total.area_mm2
        >>> lungs.save_mask("chest.png")
    """

    def __init__(self, bundle: str | Path = DEFAULT_BUNDLE, *, device: str = "auto") -> None:
        self.bundle = find_bundle(bundle)
        self._predictor = Predictor(self.bundle, device=device)

    def __call__(self, radiograph: str | Path | Radiograph) -> Segmentation:
        """Segment a file, or a radiograph that was read before.

        Raises:
            UnreadableError: the file cannot be read.
            NotFrontalChestError: it says that it is something else than a frontal chest radiograph.
        """
        if not isinstance(radiograph, Radiograph):
            radiograph = read_radiograph(Path(radiograph))
        return Segmentation(radiograph, *self._predictor(radiograph), self.bundle)
