"""One radiograph, from its file to its results: the only file that joins the stages."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lungfield import correction, export
from lungfield.bundles import DEFAULT_BUNDLE, Bundle, find_bundle
from lungfield.bundles.backends import AUTO
from lungfield.bundles.classes import lacking_structure
from lungfield.bundles.predictor import Predictor, Processing, Steps, lung_probability, plain
from lungfield.errors import OutputError
from lungfield.labels import HEART, ONLY_LUNGS, STRUCTURES
from lungfield.mask import (
    Agreement,
    Density,
    HeartMeasurements,
    Measurements,
    Quality,
    agreement,
    assess,
    is_mirrored,
    mean_density,
    measure,
    measure_heart,
    read_reference,
    with_structures,
)
from lungfield.radiograph import read_radiograph
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
    """

    radiograph: Radiograph
    label_map: NDArray[np.uint8]
    probability: NDArray[np.float32]
    bundle: Bundle
    probability_of_mirrored: NDArray[np.float32] | None = None
    structures: Mapping[str, NDArray[np.bool_]] = field(default_factory=dict)

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
    def algorithm(self) -> export.Algorithm:
        """What DICOM objects name as their maker."""
        bundle = self.bundle
        return export.Algorithm(f"lungfield {bundle.name}", bundle.version, bundle.weights_sha256)

    def agreement(self, reference: str | Path | NDArray[np.generic]) -> Agreement:
        """Compare with a reference mask: (H, W) as the file stores it, not 0 on lung; or the path of a file.

        Raises:
            DataError: the file cannot be read, or its size is another.
        """
        pose = self.radiograph.pose
        mask: NDArray[Any]
        if isinstance(reference, (str, Path)):
            mask = read_reference(Path(reference), pose)
        else:
            mask = pose.upright(reference)
        return agreement(self.upright_label_map, mask, spacing=self.radiograph.spacing)

    def masks_of(self, structures: Sequence[str] = ONLY_LUNGS) -> dict[str, NDArray[np.bool_]]:
        """The masks of `structures` beside the lungs, by the names of `lungfield.labels`.

        Args:
            structures: of 'lungs' (always there), 'heart' and 'clavicles'.

        Raises:
            BundleError: the network does not give one of them.
        """
        masks = {}
        for one in structures:
            for label in STRUCTURES[one] if one not in ONLY_LUNGS else ():
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
        self._save_label_map(with_structures(self.label_map, self.masks_of(structures)), path)

    def save_structure(self, name: str, path: str | Path) -> None:
        """Write one mask of `structures` whole, also where it lies over a lung: 0 and its value.

        Args:
            name: 'heart', 'right_clavicle' or 'left_clavicle'.
            path: as for `save_mask`, and likewise the errors.
        """
        (structure,) = (key for key, labels in STRUCTURES.items() if name in {one.name for one in labels})
        nothing = np.zeros_like(self.label_map)
        self._save_label_map(with_structures(nothing, {name: self.masks_of([structure])[name]}), path)

    def _save_label_map(self, label_map: NDArray[np.uint8], path: str | Path) -> None:
        name = str(path).lower()
        if name.endswith((".nii", ".nii.gz")):
            export.save_nifti(label_map, Path(path), self.radiograph)
        elif name.endswith(".png"):
            export.save_label_map_png(label_map, Path(path))
        else:
            raise OutputError(f"{path}: a mask is saved as .png, .nii or .nii.gz; for DICOM use save_seg.")

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
            structures=self.structures,
            heart=self.heart,
            created=created,
        )

    def save_overlay(self, path: str | Path, *, longest_side: int = 768) -> None:
        """Write a JPEG of the radiograph with all contours, and the lines that the ratio comes from."""
        export.save_overlay(
            self.radiograph,
            self.label_map,
            Path(path),
            longest_side=longest_side,
            structures=self.structures,
            heart=self.heart,
        )


class Segmenter:
    """Segments radiographs with one bundle, loaded once.

    Args:
        bundle: the name of a shipped bundle, or the folder of any other. A bundle's config can run code:
            load only those that you trust.
        device: 'auto' (CUDA where there is one), 'cpu', 'cuda', 'cuda:1', ...
        backend: what runs the network: 'torch', 'openvino' (on a CPU), or 'auto' for the faster one.
        check_mirrored: also segment the mirrored radiograph, as a second opinion for the quality flags.

    Raises:
        BundleError: there is no such bundle, it has no weights, or the device or the backend is not there.

    Examples:
        >>> segmenter = Segmenter()
        >>> lungs = segmenter("chest.dcm")
        >>> lungs.measurements.total.area_mm2
        >>> lungs.save_mask("chest.png")
    """

    def __init__(
        self,
        bundle: str | Path = DEFAULT_BUNDLE,
        *,
        device: str = AUTO,
        backend: str = AUTO,
        check_mirrored: bool = False,
    ) -> None:
        self.bundle = find_bundle(bundle)
        self._predictor = Predictor(
            self.bundle, device=device, backend=backend, check_mirrored=check_mirrored
        )

    def __call__(self, radiograph: str | Path | Radiograph) -> Segmentation:
        """Segment a file, or a radiograph that was read before.

        Raises:
            UnreadableError: the file cannot be read.
            NotFrontalChestError: it says that it is something else than a frontal chest radiograph.
        """
        if not isinstance(radiograph, Radiograph):
            radiograph = read_radiograph(Path(radiograph))
        return self._predictor.drive(segmenting(radiograph, self._predictor.processing))


def segmenting(
    radiograph: Radiograph, processing: Processing, *, correct: bool = True
) -> Steps[Segmentation]:
    """Segment a radiograph in steps, whoever runs the network: the one place where a result is put together.

    Where the file does not say how the picture lies, or which of its values are dark, and the first mask is
    not that of lungs, the other poses and the opposite polarity are tried on a small copy
    (`lungfield.correction`).

    Args:
        radiograph: as `read_radiograph` gives it.
        processing: of the bundle.
        correct: False to leave the radiograph as its file says.

    Yields:
        What the network is to be given: (C, h, w) float32.

    Returns:
        The segmentation.

    Raises:
        BundleError: the bundle's post-processing does not end in a map of the radiograph's size.
    """
    lungs = yield from _segmenting_as_it_is(radiograph, processing)
    changes = correction.possible_changes(radiograph, lungs.quality) if correct else []
    if not changes:
        return lungs
    small = correction.reduced(radiograph)
    tried = []
    for change in changes:
        trial = yield from _segmenting_as_it_is(change.applied_to(small), processing)
        tried.append((change, trial.quality, trial))
    best = correction.best_change(lungs.quality, tried)
    if best is None:
        return lungs
    change, trial = best
    if not change.pose.is_upright and is_mirrored(trial.upright_label_map > 0):
        change = change.mirrored()
    return (yield from _segmenting_as_it_is(change.applied_to(radiograph), processing))


def _segmenting_as_it_is(radiograph: Radiograph, processing: Processing) -> Steps[Segmentation]:
    prepared = processing.prepare(radiograph)
    logits, mirrored = yield plain(prepared["image"])
    label_map, structures = processing.finish(prepared, logits, radiograph)
    return Segmentation(
        radiograph,
        label_map,
        lung_probability(logits, processing.classes),
        processing.bundle,
        None if mirrored is None else lung_probability(mirrored, processing.classes),
        structures,
    )
