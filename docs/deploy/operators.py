"""Operators of the example application: lungfield's reader and writer around MONAI Deploy's bundle operator.

Deploy's own operators are made for volumes. The one that reads DICOM applies no VOI LUT and knows no shutter,
padding or view, so that the network would see other pixels than in training, and it fails on a series of
several radiographs. The one that writes takes a series for one image, and needs complete headers.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from monai.deploy.core import AppContext, Fragment, Image, IOType, Operator, OperatorSpec
from monai.deploy.core.domain.dicom_series_selection import StudySelectedSeries
from monai.deploy.operators.monai_bundle_inference_operator import IOMapping, MonaiBundleInferenceOperator
from numpy.typing import NDArray

from lungfield import LungfieldError, Radiograph, read_radiograph
from lungfield.errors import DataError, NotFrontalChestError
from lungfield.export import Algorithm, save_dicom_seg
from lungfield.transforms import as_monai

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Segmented:
    """A radiograph and its lung fields.

    Attributes:
        radiograph: as lungfield read it.
        label_map: (H, W) uint8 on its own pixels: 0 background, 1 the patient's right lung, 2 the left.
        algorithm: name and version from the bundle's metadata, and the hash of the exported file.
    """

    radiograph: Radiograph
    label_map: NDArray[np.uint8]
    algorithm: Algorithm


class RadiographReaderOperator(Operator):
    """Reads the frontal chest radiographs among selected series; what is none is skipped with a warning.

    Named input:
        study_selected_series_list: what `DICOMSeriesSelectorOperator` gives.

    Named output:
        radiographs: list of `Radiograph`, at least one.
    """

    def setup(self, spec: OperatorSpec) -> None:
        """Name the ports."""
        spec.input("study_selected_series_list")
        spec.output("radiographs")

    def compute(self, op_input: Any, op_output: Any, context: Any) -> None:  # noqa: ARG002
        """Read every file.

        Raises:
            DataError: there is not one frontal chest radiograph.
        """
        radiographs = []
        skipped = failed = 0
        for path in _files(op_input.receive("study_selected_series_list")):
            try:
                radiographs.append(read_radiograph(path))
            except NotFrontalChestError as error:
                skipped += 1
                _log.warning("skipped: %s", error)
            except LungfieldError as error:
                failed += 1
                _log.warning("failed: %s", error)
        if not radiographs:
            raise DataError(
                f"No frontal chest radiograph in the selected series ({skipped} skipped, {failed} failed). "
                "Give a folder with a CR or DX series of the chest, PA or AP."
            )
        op_output.emit(radiographs, "radiographs")


class LungFieldsOperator(MonaiBundleInferenceOperator):
    """Runs a lungfield bundle, exported to TorchScript, on each of several radiographs.

    The steps before and after the network are those of the inference config in the exported file.

    Args:
        bundle_path: the exported file.

    Named input:
        image: list of `Radiograph`.

    Named output:
        pred: list of `Segmented`.
    """

    def __init__(
        self, fragment: Fragment, *args: Any, app_context: AppContext, bundle_path: str | Path, **kwargs: Any
    ) -> None:
        with Path(bundle_path).open("rb") as file:
            self._sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        super().__init__(
            fragment,
            *args,
            app_context=app_context,
            bundle_path=bundle_path,
            input_mapping=[IOMapping("image", Image, IOType.IN_MEMORY)],
            output_mapping=[IOMapping("pred", Image, IOType.IN_MEMORY)],
            **kwargs,
        )

    def compute(self, op_input: Any, op_output: Any, context: Any) -> None:
        """Segment the radiographs, one after the other."""
        segmented = []
        for radiograph in op_input.receive("image"):
            port = _OneImage(radiograph)
            super().compute(port, port, context)
            metadata = self.parser["_meta_"]
            algorithm = Algorithm(metadata["name"], metadata["version"], self._sha256)
            segmented.append(Segmented(radiograph, port.label_map(), algorithm))
        op_output.emit(segmented, "pred")


class SegmentationWriterOperator(Operator):
    """Writes DICOM SEG: one file a radiograph, numbered, each referring to its radiograph.

    Args:
        output_folder: where to; it is made where it is missing.
        viewer_geometry: see `lungfield.export.save_dicom_seg`.

    Named input:
        segmented: list of `Segmented`.
    """

    def __init__(
        self,
        fragment: Fragment,
        *args: Any,
        output_folder: Path,
        viewer_geometry: bool = False,
        **kwargs: Any,
    ) -> None:
        self._output_folder = output_folder
        self._viewer_geometry = viewer_geometry
        super().__init__(fragment, *args, **kwargs)

    def setup(self, spec: OperatorSpec) -> None:
        """Name the port."""
        spec.input("segmented")

    def compute(self, op_input: Any, op_output: Any, context: Any) -> None:  # noqa: ARG002
        """Write the files."""
        for number, one in enumerate(op_input.receive("segmented"), start=1):
            save_dicom_seg(
                one.radiograph,
                one.label_map,
                self._output_folder / f"lung_fields_{number}.dcm",
                algorithm=one.algorithm,
                viewer_geometry=self._viewer_geometry,
            )


def _files(studies: list[StudySelectedSeries]) -> Iterator[Path]:
    for study in studies:
        for selected in study.selected_series:
            for instance in selected.series.get_sop_instances():
                yield Path(instance.get_native_sop_instance().filename)


class _OneImage:
    """What `MonaiBundleInferenceOperator` receives from and emits to: one radiograph, and its label map."""

    def __init__(self, radiograph: Radiograph) -> None:
        array, metadata = as_monai(radiograph)
        # Without Deploy's own keys in the metadata, it hands an image to the bundle's transforms as it is.
        self._image = Image(array[None], metadata)
        self._prediction: Image | None = None

    def receive(self, name: str) -> Image:  # noqa: ARG002
        """The radiograph as `LoadImaged` would give it: (1, W, H) float32 in [0, 1]."""
        return self._image

    def emit(self, value: Image, name: str) -> None:  # noqa: ARG002
        """Take the prediction (W, H)."""
        self._prediction = value

    def label_map(self) -> NDArray[np.uint8]:
        """The prediction as (H, W)."""
        return np.ascontiguousarray(self._prediction.asnumpy().T)
