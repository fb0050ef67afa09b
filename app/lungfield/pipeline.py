"""Segment one radiograph, from its file to its results: this module combines the stages."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, overload

from lungfield import correction
from lungfield.bundles import DEFAULT_BUNDLE, find_bundle
from lungfield.bundles.backends import AUTO
from lungfield.bundles.ensemble import EnsemblePredictor, EnsembleProcessing
from lungfield.bundles.predictor import Predictor, Processing, Steps
from lungfield.mask import is_mirrored
from lungfield.radiograph import read_radiograph
from lungfield.records import Radiograph
from lungfield.segmentation import Segmentation

__all__ = ["Segmentation", "Segmenter", "segmenting"]


class Segmenter:
    """Segments radiographs with one bundle, loaded once.

    Args:
        bundle: the name of a shipped bundle, or the folder of any other. A bundle's config can run code:
            load only those that you trust. A list of several is an ensemble (`Ensemble`), with the mean of
            their probabilities.
        device: 'auto' (CUDA where there is one), 'cpu', 'cuda', 'cuda:1', ...
        backend: 'torch', 'openvino' or 'openvino-int8' (on a CPU), or 'auto' for the fastest whose masks
            agree with torch's.
        check_mirrored: also run the network on the mirrored radiograph, for the quality flags.

    Raises:
        BundleError: the bundle does not exist or has no weights, or device or backend is not available.

    Examples:
        >>> segmenter = Segmenter()
        >>> lungs = segmenter("chest.dcm")
        >>> lungs.measurements.total.area_mm2
        >>> lungs.save_mask("chest.png")
    """

    def __init__(
        self,
        bundle: str | Path | Sequence[str | Path] = DEFAULT_BUNDLE,
        *,
        device: str = AUTO,
        backend: str = AUTO,
        check_mirrored: bool = False,
    ) -> None:
        bundles = [bundle] if isinstance(bundle, (str, Path)) else list(bundle)
        found = [find_bundle(one) for one in bundles]
        how: dict[str, Any] = {"device": device, "backend": backend, "check_mirrored": check_mirrored}
        self._predictor = Predictor(found[0], **how) if len(found) == 1 else EnsemblePredictor(found, **how)
        self.bundle = self._predictor.processing.bundle

    def __repr__(self) -> str:
        """The bundle, the device and the backend."""
        predictor = self._predictor
        return f"<Segmenter {self.bundle.name} on {predictor.device}, by {predictor.backend}>"

    @overload
    def __call__(self, radiograph: list[Any] | tuple[Any, ...], **reading: Any) -> list[Segmentation]: ...
    @overload
    def __call__(self, radiograph: Any, **reading: Any) -> Segmentation: ...
    def __call__(self, radiograph: Any, **reading: Any) -> Segmentation | list[Segmentation]:
        """Segment a radiograph, or a list of them one after the other.

        Args:
            radiograph: the path of a file, or any other source of `read_radiograph`: an array, a tensor, a
                Pillow image, a DICOM data set, an open file, bytes; or a `Radiograph`. A list or a
                tuple of these gives a list.
            **reading: the options of `read_radiograph`, for all of them: `spacing_mm`, `orientation`,
                `inverted`, `require_frontal`, `limits`.

        Raises:
            UnreadableError: the radiograph cannot be read.
            NotFrontalChestError: its header names something else than a frontal chest radiograph.
        """
        if isinstance(radiograph, (list, tuple)):
            return [self._segment(one, reading) for one in radiograph]
        return self._segment(radiograph, reading)

    def _segment(self, source: Any, reading: dict[str, Any]) -> Segmentation:
        radiograph = read_radiograph(source, **reading)
        return self._predictor.drive(segmenting(radiograph, self._predictor.processing))


def segmenting(
    radiograph: Radiograph, processing: Processing | EnsembleProcessing, *, correct: bool = True
) -> Steps[Segmentation]:
    """Segment a radiograph with a generator that leaves running the network to its caller.

    If the file does not give orientation or polarity, and the first mask does
    not look like lungs, the other poses and the opposite polarity are tried on a small copy
    (`lungfield.correction`).

    Args:
        radiograph: from `read_radiograph`.
        processing: of the bundle or the ensemble.
        correct: False to keep the orientation and polarity of the file.

    Yields:
        The network's input: (C, h, w) float32; for an ensemble, a list of inputs.

    Returns:
        The segmentation.

    Raises:
        BundleError: the bundle's post-processing does not return a map of the radiograph's size.
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


def _segmenting_as_it_is(
    radiograph: Radiograph, processing: Processing | EnsembleProcessing
) -> Steps[Segmentation]:
    prepared: Any = processing.prepare(radiograph)
    answer = yield processing.network_input(prepared)
    outcome = processing.outcome(prepared, answer, radiograph)
    return Segmentation(radiograph, bundle=processing.bundle, **outcome._asdict())
