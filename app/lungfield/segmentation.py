"""The result for one segmented radiograph: its masks, measurements, pictures and files."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from lungfield import export
from lungfield.bundles import Bundle
from lungfield.bundles.classes import labels_beside_lungs, lacking_structure, structure_of_mask
from lungfield.bundles.ensemble import Ensemble
from lungfield.errors import BundleError
from lungfield.labels import HEART, LUNGS, ONLY_LUNGS
from lungfield.mask import (
    Agreement,
    Density,
    HeartMeasurements,
    Measurements,
    Quality,
    Regions,
    agreement,
    assess,
    mean_density,
    measure,
    measure_heart,
    read_reference,
    with_structures,
)
from lungfield.records import Radiograph


@dataclass(frozen=True)
class Segmentation:
    """The lung fields of one radiograph.

    Attributes:
        radiograph: the segmented radiograph.
        label_map: (H, W) uint8 on the file's own pixels: 0 background, 1 the patient's right lung, 2 left.
        probability: (h, w) float32 in [0, 1], the probability of lung on the network's own grid, upright.
        bundle: the bundle or ensemble that segmented it.
        probability_of_mirrored: as `probability`, for the mirrored radiograph, mirrored back; None without
            `check_mirrored`.
        structures: (H, W) bool in the file's pixels for each structure besides the lungs that the network
            segments, by its name in `lungfield.labels`: 'heart', 'right_clavicle', 'left_clavicle'. They may
            overlap each other and the lungs.
        logits: (h, w) float32 of each structure before cleaning, on a grid that covers the upright picture:
            'lungs', and 'heart' and 'clavicles' if the network segments them. `native_logits` enlarges them.
    """

    radiograph: Radiograph
    label_map: NDArray[np.uint8]
    probability: NDArray[np.float32]
    bundle: Bundle | Ensemble
    probability_of_mirrored: NDArray[np.float32] | None = None
    structures: Mapping[str, NDArray[np.bool_]] = field(default_factory=dict)
    logits: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)

    def __repr__(self) -> str:
        """One line: the radiograph, the areas, confidence, flags and bundle."""
        total, quality = self.measurements.total, self.quality
        area = f"{total.area_px:,} px" if total.area_mm2 is None else f"{total.area_mm2 / 100:,.0f} cm²"
        lungs = (
            f"lungs {area}, confidence {quality.confidence:.2f}, flags: {', '.join(quality.flags) or 'none'}"
        )
        return f"<Segmentation of {self.radiograph.path.name}: {lungs}, by {self.bundle.name}>"

    def _repr_html_(self) -> str:
        """HTML for notebooks: the overlay, measurements and flags."""
        side = export.notebook.LONGEST_SIDE_PX
        picture = export.render_overlay(self.radiograph, self._regions, longest_side=side, heart=self.heart)
        facts = export.notebook.facts(self.radiograph, self.measurements, self.quality, self.heart)
        facts["Bundle"] = f"{self.bundle.name} {self.bundle.version}"
        return export.notebook.as_html(picture, self.radiograph.path.name, facts)

    def plot(self, axes: Any = None) -> Any:
        """Draw the upright radiograph with the contours of all structures with matplotlib.

        Args:
            axes: matplotlib's axes to draw on; None for the current ones. They are returned.

        Raises:
            OutputError: matplotlib is not installed.
        """
        upright = self.upright_label_map
        masks = {label.name: upright == label.value for label in LUNGS}
        masks |= {name: self.radiograph.pose.upright(mask) for name, mask in self.structures.items()}
        return export.notebook.plot(self.radiograph, masks, axes)

    def to_dict(self) -> dict[str, Any]:
        """All measurements as JSON-serialisable values, by the names of the columns of results.csv."""
        quality = self.quality
        return {
            "file": str(self.radiograph.path),
            "flags": [str(flag) for flag in quality.flags],
            "confidence": quality.confidence,
            "warnings": list(self.radiograph.warnings),
            **self.to_row(),
        }

    def to_row(self) -> dict[str, Any]:
        """Properties and measurements, by the names of the columns of results.csv."""
        radiograph, heart = self.radiograph, self.heart
        rows, columns = radiograph.stored_shape
        spacing, pose, shape = radiograph.stored_spacing, radiograph.pose, radiograph.shape
        return {
            "format": radiograph.file_format,
            "rows": rows,
            "columns": columns,
            "view": radiograph.view or "",
            "row_spacing_mm": spacing.row_mm if spacing else None,
            "column_spacing_mm": spacing.column_mm if spacing else None,
            "spacing_source": spacing.source if spacing else None,
            **self.measurements.to_row(),
            **self.density.to_row(),
            **(heart.to_row(lambda point: pose.stored_point(point, shape)) if heart else {}),
            "bundle": self.bundle.name,
            "bundle_version": self.bundle.version,
        }

    def native_logits(self, structure: str = "lungs") -> NDArray[np.float32]:
        """The logits of a structure on the file's own pixels, before cleaning: (H, W) float32.

        Interpolated bilinearly; above 0 where the label map is not 0, except where cleaning changed the mask.

        Raises:
            BundleError: the network does not segment this structure.
        """
        if structure not in self.logits:
            raise BundleError(
                f"{self.bundle.name} gives no {structure!r}; choose from {', '.join(self.logits) or 'none'}."
            )
        rows, columns = self.radiograph.shape
        native = cv2.resize(self.logits[structure], (columns, rows), interpolation=cv2.INTER_LINEAR)
        return np.ascontiguousarray(self.radiograph.pose.stored(native))

    def native_probability(self, structure: str = "lungs") -> NDArray[np.float32]:
        """The probability of a structure on the file's own pixels: (H, W) float32 in [0, 1].

        That of the interpolated logits (`native_logits`).
        """
        # Imported on use: a run does not need it, and the import takes a tenth of a second.
        from scipy.special import expit

        probability: NDArray[np.float32] = expit(self.native_logits(structure))
        return probability

    @cached_property
    def measurements(self) -> Measurements:
        """Areas, heights and widths in pixels, and in mm if the spacing is known."""
        return measure(self._upright_regions, self.radiograph.spacing)

    @cached_property
    def density(self) -> Density:
        """Mean grey value of each lung as displayed, in [0, 1]."""
        return mean_density(self.radiograph, self._upright_regions)

    @cached_property
    def heart(self) -> HeartMeasurements | None:
        """Heart and chest: widths, cardiothoracic ratio; None if the network does not segment the heart.

        Its rows and columns are those of the upright radiograph.
        """
        if HEART.name not in self.structures:
            return None
        radiograph = self.radiograph
        return measure_heart(
            self._upright_regions,
            radiograph.spacing,
            valid=radiograph.valid,
            frontal=radiograph.frontal,
        )

    @cached_property
    def quality(self) -> Quality:
        """Quality flags and confidence of the mask."""
        return assess(
            self.upright_label_map,
            self.probability,
            self.radiograph,
            flipped=self.probability_of_mirrored,
            heart=self.heart,
        )

    @property
    def upright_label_map(self) -> NDArray[np.uint8]:
        """The label map on the pixels of the upright radiograph."""
        return self.radiograph.pose.upright(self.label_map)

    @cached_property
    def _reduced(self) -> export.Reduced:
        """The radiograph in the size of pictures to look at, shared by all of them."""
        return export.reduced_picture(self.radiograph)

    @cached_property
    def _regions(self) -> Regions:
        """The regions of lungs and structures on the file's own pixels."""
        return Regions(self.label_map, self.structures)

    @cached_property
    def _upright_regions(self) -> Regions:
        """The same on the pixels of the upright radiograph."""
        upright = self.radiograph.pose.upright
        if self.radiograph.pose.is_upright:
            return self._regions
        return Regions(upright(self.label_map), {name: upright(one) for name, one in self.structures.items()})

    @property
    def algorithm(self) -> export.Algorithm:
        """The algorithm that DICOM objects name."""
        bundle = self.bundle
        return export.Algorithm(f"lungfield {bundle.name}", bundle.version, bundle.weights_sha256)

    def agreement(self, reference: str | Path | NDArray[np.generic]) -> Agreement:
        """Compare with a reference mask, (H, W) in the file's pixels, non-zero on lung, or a file of one.

        Raises:
            DataError: the file cannot be read, or has another size.
        """
        mask = reference if isinstance(reference, np.ndarray) else self.read_reference(reference)
        upright = self.radiograph.pose.upright
        return agreement(self.upright_label_map, upright(mask), spacing=self.radiograph.spacing)

    def read_reference(self, path: str | Path) -> NDArray[np.uint8]:
        """Read a reference mask in the pixels of this radiograph's file: (H, W) uint8, non-zero on lung.

        Raises:
            DataError: the file cannot be read.
        """
        pose = self.radiograph.pose
        return pose.stored(read_reference(Path(path), pose))

    def masks_of(self, structures: Sequence[str] = ONLY_LUNGS) -> dict[str, NDArray[np.bool_]]:
        """The masks of `structures` besides the lungs, by the names of `lungfield.labels`.

        Args:
            structures: 'lungs' (always included), 'heart', 'clavicles'.

        Raises:
            BundleError: the network does not segment one of them, or there is none of that name.
        """
        masks = {}
        for one in structures:
            for label in labels_beside_lungs(one):
                if label.name not in self.structures:
                    raise lacking_structure(self.bundle.name, one)
                masks[label.name] = self.structures[label.name]
        return masks

    def save_mask(self, path: str | Path, *, structures: Sequence[str] = ONLY_LUNGS) -> None:
        """Write the label map as an 8-bit PNG or as NIfTI, by the suffix: .png, .nii or .nii.gz.

        Args:
            path: the file to write.
            structures: as for `masks_of`; those besides the lungs are drawn outside of the lungs, with
                the values of `lungfield.labels`. `save_structure` writes each without cuts.

        Raises:
            BundleError: the network does not segment one of the structures.
            OutputError: the name has another suffix, or the file cannot be written.
        """
        label_map = with_structures(self.label_map, self.masks_of(structures))
        export.save_label_map(label_map, Path(path), self.radiograph)

    def save_structure(self, name: str, path: str | Path) -> None:
        """Write one mask of `structures`, including its overlap with a lung: 0 and its label value.

        Args:
            name: 'heart', 'right_clavicle' or 'left_clavicle'.
            path: as for `save_mask`, and likewise the errors.
        """
        mask = self.masks_of([structure_of_mask(name)])[name]
        alone = with_structures(np.zeros_like(self.label_map), {name: mask})
        export.save_label_map(alone, Path(path), self.radiograph)

    def save_seg(
        self,
        path: str | Path,
        *,
        structures: Sequence[str] = ONLY_LUNGS,
        viewer_geometry: bool = False,
        created: datetime.datetime | None = None,
    ) -> None:
        """Write a DICOM SEG that refers to the radiograph, which must have come from DICOM.

        `structures` are as for `masks_of`; each is a segment, or one per side, and segments may overlap.
        """
        export.save_dicom_seg(
            self.radiograph,
            self.label_map,
            Path(path),
            algorithm=self.algorithm,
            structures=self.masks_of(structures),
            regions=self._regions,
            viewer_geometry=viewer_geometry,
            created=created,
        )

    def save_report(
        self, path: str | Path, *, created: datetime.datetime | None = None, segmentation: Path | None = None
    ) -> None:
        """Write the measurements as a DICOM structured report (TID 1500) on a radiograph from DICOM.

        Args:
            path: the file to write.
            created: date and time in the report; None for now.
            segmentation: the file that `save_seg` wrote, for the report to refer to.
        """
        export.save_structured_report(
            self.radiograph,
            self.measurements,
            Path(path),
            density=self.density,
            heart=self.heart,
            view=self.radiograph.view,
            algorithm=self.algorithm,
            created=created,
            segmentation=segmentation,
        )

    def save_secondary_capture(self, path: str | Path, *, created: datetime.datetime | None = None) -> None:
        """Write the overlay as a DICOM secondary capture in the study of a radiograph from DICOM."""
        export.save_secondary_capture(
            self.radiograph,
            self._regions,
            Path(path),
            algorithm=self.algorithm,
            heart=self.heart,
            created=created,
        )

    def save_overlay(self, path: str | Path, *, longest_side: int = export.LONGEST_SIDE_PX) -> None:
        """Write the radiograph with all contours, and the lines of the ratio, as .png or .jpg.

        Raises:
            OutputError: the name has another suffix, or the file cannot be written.
        """
        reduced = self._reduced if longest_side == export.LONGEST_SIDE_PX else None
        export.save_overlay(
            self.radiograph,
            self._regions,
            Path(path),
            longest_side=longest_side,
            heart=self.heart,
            reduced=reduced,
        )

    def save_preview(self, path: str | Path, *, reference: NDArray[np.generic] | None = None) -> None:
        """Write the radiograph and its contours as an SVG with layers, for the report.

        Args:
            path: the file to write.
            reference: a reference mask, (H, W) in the file's pixels, non-zero on lung, as a separate layer.
        """
        export.save_preview(
            self.radiograph, self._regions, Path(path), reference=reference, reduced=self._reduced
        )
