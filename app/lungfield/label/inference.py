"""Segmentation for MONAI Label: the same steps as `lungfield segment`, one task per bundle."""

from __future__ import annotations

import logging
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from monailabel.interfaces.datastore import Datastore
from monailabel.interfaces.tasks.batch_infer import BatchInferTask
from monailabel.interfaces.tasks.infer_v2 import InferTask, InferType
from monailabel.utils.others.generic import device_list, name_to_device

from lungfield.bundles import Bundle
from lungfield.bundles.classes import output_classes
from lungfield.bundles.predictor import Predictor
from lungfield.errors import BundleError, DataError, LungfieldError
from lungfield.label.masks import require_known, save_mask
from lungfield.label.weights import WEIGHTS_NAME, WeightStore
from lungfield.labels import LUNGS, Label, structures_of
from lungfield.pipeline import Segmentation, segmenting
from lungfield.radiograph import find_files, read_radiograph
from lungfield.transforms.itk_geometry import default_suffix

logger = logging.getLogger(__name__)


def labels_of(bundle: Bundle) -> tuple[Label, ...]:
    """The structures that a bundle segments: the lungs, and heart and clavicles if its network does."""
    return (*LUNGS, *structures_of(output_classes(bundle.metadata)))


class LungInferTask(InferTask):
    """Segments the structures of one bundle with its newest weights.

    The network is loaded for the first radiograph, and again when there are newer weights.

    Args:
        weights: the bundle and its retrained weights.
        device: the default device of requests: 'auto', 'cpu', 'cuda', ...
    """

    def __init__(self, weights: WeightStore, *, device: str = "auto") -> None:
        super().__init__(
            type=InferType.SEGMENTATION,
            labels={label.title.lower(): label.value for label in labels_of(weights.bundle)},
            dimension=2,
            description=str(weights.bundle.metadata.get("description", "")),
            config={"device": device_list()},
        )
        self.weights = weights
        self.device = device
        self._loading = threading.Lock()
        self._loaded: tuple[Path, int, str] | None = None
        self._predictor: Predictor | None = None

    @property
    def bundle(self) -> Bundle:
        """The bundle with its current weights."""
        return self.weights.current()

    def info(self) -> dict[str, Any]:
        """The base class's information for clients, with the version, which identifies the weights."""
        return super().info() | {"version": self.bundle.version}

    def is_valid(self) -> bool:
        """Whether the bundle has weights."""
        return self.bundle.has_weights

    def get_path(self, validate: bool = True) -> str | None:
        """The file of weights that clients may download, delete or replace; never the shipped one.

        With `validate` False, the path for weights that a client uploads.
        """
        if not validate:
            return str(self.weights.new_folder() / WEIGHTS_NAME)
        latest = self.weights.latest()
        return str(latest) if latest else None

    def segment(self, image: str | Path, *, device: str | None = None) -> Segmentation:
        """Segment a radiograph: its file, or a folder with nothing but that file.

        `device` is 'auto', 'cpu', 'cuda', ..., or a name of `device_list`; None for the task's own.

        Raises:
            LungfieldError: the file cannot be segmented, or the weights cannot be used.
        """
        radiograph = read_radiograph(_the_file(Path(image)))
        predictor = self._load(device or self.device)
        return predictor.drive(segmenting(radiograph, predictor.processing))

    def __call__(self, request: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        """Segment the radiograph of a request of the server: `image`, a path; `result_extension`; `device`.

        Returns:
            The file of the mask, which the caller has to remove, and further data for the client.

        Raises:
            LungfieldError: as `segment`, or the mask cannot be written in that format.
        """
        started = time.monotonic()
        image = request.get("image")
        if not isinstance(image, str) or not image:
            raise DataError("There is no such image here; GET /datastore/?output=all lists the images.")
        device = request.get("device")
        lungs = self.segment(image, device=name_to_device(device) if device else None)
        segmented = time.monotonic()
        suffix = str(request.get("result_extension") or default_suffix(lungs.radiograph.path))
        require_known(suffix)  # before it becomes part of a path
        with tempfile.NamedTemporaryFile(prefix="lungs-", suffix=suffix, delete=False) as file:
            path = Path(file.name)
        try:
            save_mask(lungs, path)
        except Exception:
            path.unlink()
            raise
        return str(path), {
            "label_names": self.labels,
            "bundle": lungs.bundle.name,
            "version": lungs.bundle.version,
            "weights_sha256": lungs.bundle.weights_sha256,
            "flags": [str(flag) for flag in lungs.quality.flags],
            **({"cardiothoracic_ratio": lungs.heart.to_row()["cardiothoracic_ratio"]} if lungs.heart else {}),
            "confidence": round(float(lungs.quality.confidence), 3),
            "latencies": {
                "infer": round(segmented - started, 2),
                "write": round(time.monotonic() - segmented, 2),
                "total": round(time.monotonic() - started, 2),
            },
        }

    def _load(self, device: str) -> Predictor:
        """The predictor of the newest weights."""
        bundle = self.bundle
        if not bundle.has_weights:
            raise BundleError(f"The bundle {bundle.name!r} has no weights.")
        wanted = (bundle.weights, bundle.weights.stat().st_mtime_ns, device)
        with self._loading:
            if self._predictor is None or self._loaded != wanted:
                # Compute the hash now: the file may be deleted or replaced while the weights are in use.
                logger.info("%s: loading the weights %s", bundle.name, bundle.weights_sha256)
                self._predictor = Predictor(bundle, device=device)
                self._loaded = wanted
            return self._predictor


class LungBatchInferTask(BatchInferTask):
    """Segments many images; one that fails gets an `error`, and the others are still segmented."""

    def __call__(
        self, request: dict[str, Any], datastore: Datastore, infer: Callable[..., dict[str, Any]]
    ) -> dict[str, Any]:
        """Segment the images of a request, and store the masks in the datastore.

        `images` of the request is 'all', 'labeled', 'unlabeled' or a list of names.

        Returns:
            The result of `infer` or an `error`, by the image's name.
        """

        def infer_or_tell(one: dict[str, Any], store: Datastore) -> dict[str, Any]:
            try:
                return infer(one, store)
            except LungfieldError as error:
                logger.warning("not segmented: %s", error)
                return {"error": str(error)}

        # The base class distributes images over GPUs, and divides by zero without any.
        several = torch.cuda.is_available() and request.get("multi_gpu", True)
        result: dict[str, Any] = super().__call__(request | {"multi_gpu": several}, datastore, infer_or_tell)
        return result


def _the_file(path: Path) -> Path:
    """`path`, or the only file in that folder; `DataError` if there is not exactly one file."""
    if not path.is_dir():
        return path
    files = find_files([path])
    if len(files) != 1:
        raise DataError(f"{path}: the folder has {len(files)} files; a radiograph is one file.")
    return files[0].path
