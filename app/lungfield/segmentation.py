"""What is known of one segmented radiograph: what it measures, shows and saves."""

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
from scipy.special import expit

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
    agreement,
    assess,
    mean_density,
    measure,
    measure_heart,
    read_reference,
    with_structures,
)
from lungfield.radiograph.header import check_header
from lungfield.records import Radiograph


@dataclass(frozen=True)
class Segmentation:
    """The lung fields of one radiograph.

    Attributes:
        radiograph: what was segmented.
        label_map: (H, W) uint8 on the file's own pixels: 0 background, 1 the patient's right lung, 2 left.
        probability: (h, w) float32 in [0, 1], the probability of lung on the network's own grid, upright.
        bundle: what segmented it.
        probability_of_mirrored: as `probability`, from the mirrored radiograph and mirrored back, where that
            second opinion was asked for.
        structures: (H, W) bool on the file's own pixels of each structure beside the lungs that the network
            gives, by its name in `lungfield.labels`: 'heart', 'right_clavicle', 'left_clavicle'. Each is
            whole, also where it lies over a lung.
        logits: (h, w) float32 of each structure before cleaning, on a grid that covers the upright picture:
            'lungs', and 'heart' and 'clavicles' where the network gives them. `native_logits` enlarges them.
    """

    radiograph: Radiograph
    label_map: NDArray[np.uint8]
    probability: NDArray[np.float32]
    bundle: Bundle | Ensemble
    probability_of_mirrored: NDArray[np.float32] | None = None
    structures: Mapping[str, NDArray[np.bool_]] = field(default_factory=dict)
    logits: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)

    def __repr__(self) -> str:
        """One line: what was segmented, by what, and how sure it is."""
        total, quality = self.measurements.total, self.quality
        area = f"{total.area_px:,} px" if total.area_mm2 is None else f"{total.area_mm2 / 100:,.0f} cm²"
        told = (
            f"lungs {area}, confidence {quality.confidence:.2f}, flags: {', '.join(quality.flags) or 'none'}"
        )
        return f"<Segmentation of {self.radiograph.path.name}: {told}, by {self.bundle.name}>"

    def _repr_html_(self) -> str:
        """What notebooks show: the overlay, measurements, flags."""
        picture = export.render_overlay(
            self.radiograph,
            self.label_map,
            longest_side=export.notebook.LONGEST_SIDE_PX,
            **self._further,
        )
        facts = export.notebook.facts(self.radiograph, self.measurements, self.quality, self.heart)
        facts["Bundle"] = f"{self.bundle.name} {self.bundle.version}"
        return export.notebook.as_html(picture, self.radiograph.path.name, facts)

    def plot(self, axes: Any = None) -> Any:
        """Draw the upright radiograph with the contours of all structures by matplotlib.

        Args:
            axes: matplotlib's axes to draw on; None for the current ones. They come back.

        Raises:
            OutputError: matplotlib is not installed.
        """
        upright = self.upright_label_map
        masks = {label.name: upright == label.value for label in LUNGS}
        masks |= {name: self.radiograph.pose.upright(mask) for name, mask in self.structures.items()}
        return export.notebook.plot(self.radiograph, masks, axes)

    def to_dict(self) -> dict[str, Any]:
        """All that is measured, as JSON can hold it; called as the columns of results.csv are."""
        quality = self.quality
        return {
            "file": str(self.radiograph.path),
            "flags": [str(flag) for flag in quality.flags],
            "confidence": quality.confidence,
            "warnings": list(self.radiograph.warnings),
            **self.to_row(),
        }

    def to_row(self) -> dict[str, Any]:
        """What was read and measured, as columns of results.csv."""
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

        Interpolated bilinearly; above 0 where the label map is not 0, but for what cleaning changed.

        Raises:
            BundleError: the network gives no such structure.
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
        probability: NDArray[np.float32] = expit(self.native_logits(structure))
        return probability

    @cached_property
    def measurements(self) -> Measurements:
        """Areas, heights and widths, in pixels and where the spacing is known in mm."""
        return measure(self.upright_label_map, self.radiograph.spacing)

    @cached_property
    def density(self) -> Density:
        """Mean grey value of each lung as displayed, in [0, 1]."""
        return mean_density(self.radiograph, self.upright_label_map)

    @cached_property
    def heart(self) -> HeartMeasurements | None:
        """Heart and chest: widths, cardiothoracic ratio; None where the network gives no heart.

        Its rows and columns are those of the upright radiograph.
        """
        if HEART.name not in self.structures:
            return None
        radiograph = self.radiograph
        upright = {name: radiograph.pose.upright(mask) for name, mask in self.structures.items()}
        return measure_heart(
            self.upright_label_map,
            upright,
            radiograph.spacing,
            valid=radiograph.valid,
            frontal=radiograph.header is None or check_header(radiograph.header).frontal_chest,
        )

    @cached_property
    def quality(self) -> Quality:
        """Flags and a confidence: whether somebody should look at this mask."""
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

    @property
    def _further(self) -> dict[str, Any]:
        """What pictures show beside the lungs."""
        return {"structures": self.structures, "heart": self.heart}

    @property
    def algorithm(self) -> export.Algorithm:
        """What DICOM objects name as their maker."""
        bundle = self.bundle
        return export.Algorithm(f"lungfield {bundle.name}", bundle.version, bundle.weights_sha256)

    def agreement(self, reference: str | Path | NDArray[np.generic]) -> Agreement:
        """Compare with a reference mask: (H, W) as the file stores it, not 0 on lung; or the path of a file.

        Raises:
            DataError: the file cannot be read, or its size is another.
        """
        mask = reference if isinstance(reference, np.ndarray) else self.read_reference(reference)
        upright = self.radiograph.pose.upright
        return agreement(self.upright_label_map, upright(mask), spacing=self.radiograph.spacing)

    def read_reference(self, path: str | Path) -> NDArray[np.uint8]:
        """The reference mask in a file on the pixels of this radiograph's file; (H, W), not 0 on lung.

        Raises:
            DataError: the file cannot be read.
        """
        pose = self.radiograph.pose
        return pose.stored(read_reference(Path(path), pose))

    def masks_of(self, structures: Sequence[str] = ONLY_LUNGS) -> dict[str, NDArray[np.bool_]]:
        """The masks of `structures` beside the lungs, by the names of `lungfield.labels`.

        Args:
            structures: of 'lungs' (always there), 'heart' and 'clavicles'.

        Raises:
            BundleError: the network does not give one of them, or there is none of that name.
        """
        masks = {}
        for one in structures:
            for label in labels_beside_lungs(one):
                if label.name not in self.structures:
                    raise lacking_structure(self.bundle.name, one)
                masks[label.name] = self.structures[label.name]
        return masks

    def save_mask(self, path: str | Path, *, structures: Sequence[str] = ONLY_LUNGS) -> None:
        """Write the label map as an 8-bit PNG or as NIfTI, as the name says: .png, .nii or .nii.gz.

        Args:
            path: where to.
            structures: as for `masks_of`; those beside the lungs fill what is background without them, with
                the values of `lungfield.labels`. `save_structure` writes each whole.

        Raises:
            BundleError: the network does not give one of the structures.
            OutputError: the name has another suffix, or the file cannot be written.
        """
        export.save_label_map(
            with_structures(self.label_map, self.masks_of(structures)), Path(path), self.radiograph
        )

    def save_structure(self, name: str, path: str | Path) -> None:
        """Write one mask of `structures` whole, also where it lies over a lung: 0 and its value.

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

        `structures` are those of `masks_of`; each is a segment of its own, or one a side, and whole.
        """
        export.save_dicom_seg(
            self.radiograph,
            self.label_map,
            Path(path),
            algorithm=self.algorithm,
            structures=self.masks_of(structures),
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
            self.label_map,
            Path(path),
            algorithm=self.algorithm,
            created=created,
            **self._further,
        )

    def save_overlay(self, path: str | Path, *, longest_side: int = 768) -> None:
        """Write the radiograph with all contours, and the lines that the ratio comes from, as .png or .jpg.

        Raises:
            OutputError: the name has another suffix, or the file cannot be written.
        """
        export.save_overlay(
            self.radiograph, self.label_map, Path(path), longest_side=longest_side, **self._further
        )

    def save_preview(self, path: str | Path, *, reference: NDArray[np.generic] | None = None) -> None:
        """Write the radiograph and its contours as SVG in layers, as the report shows them.

        Args:
            path: where to.
            reference: (H, W) as the file stores it, not 0 on lung: a layer of its own.
        """
        export.save_preview(
            self.radiograph, self.label_map, Path(path), structures=self.structures, reference=reference
        )
