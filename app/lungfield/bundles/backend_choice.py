"""Choose OpenVINO or torch on a CPU: cache the converted network, and compare the masks of both."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import logging
import os
import platform
import shutil
import tempfile
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import platformdirs
import torch

from lungfield.atomic import write_whole
from lungfield.bundles.backends import openvino, to_openvino
from lungfield.bundles.device import best_precision
from lungfield.bundles.registry import Bundle
from lungfield.errors import LungfieldError, OutputError

logger = logging.getLogger(__name__)

LEAST_DICE = 0.9995
"""OpenVINO is chosen if its masks of all samples reach this Dice with torch's float32 masks.

If torch itself does not reach it in the machine's fast precision (bfloat16), torch's lowest Dice counts.
"""

_ADVICE = "set LUNGFIELD_CACHE to a folder that can be written"
_NETWORK, _AGREEMENT = "network.xml", "agreement.json"


@dataclass(frozen=True)
class BackendChoice:
    """What runs the network, and why.

    Attributes:
        backend: 'torch' or 'openvino'.
        reason: why, for the user; empty if only one backend was available.
    """

    backend: str
    reason: str = ""

    @property
    def remark(self) -> str:
        """One line for the user; empty without a reason."""
        return f"The network ran on {self.backend} ({self.reason})" if self.reason else ""


def choose_backend(bundle: Bundle, device: torch.device) -> BackendChoice:
    """Choose the faster backend for a bundle: OpenVINO if it is installed and its masks agree, else torch.

    The first call compares both backends with torch in float32 on the sample radiographs, which takes
    seconds. The Dice and the converted network are cached in `openvino_folder`. A device other than the CPU
    always gets torch. Nothing is raised: if the comparison fails, the choice is torch, with the reason.
    """
    if device.type != "cpu" or importlib.util.find_spec("openvino") is None:
        return BackendChoice("torch")
    try:
        record = openvino_folder(bundle) / _AGREEMENT
        if not record.is_file():
            _make_folder(record.parent.parent)
            logger.info("comparing OpenVINO with torch on the samples, once for %s", bundle.name)
            write_whole(record, json.dumps(_compare(bundle)).encode())
        lowest = json.loads(record.read_bytes())
        by_torch, by_openvino = float(lowest["torch"]), float(lowest["openvino"])
    except LungfieldError as error:
        return BackendChoice("torch", f"OpenVINO is not used: {error}")
    except Exception as error:  # a network that cannot be converted fails in any way
        return BackendChoice("torch", f"OpenVINO cannot run this network ({type(error).__name__})")
    agreement = f"lowest Dice with float32 on the samples {by_openvino:.4f}, torch {by_torch:.4f}"
    if by_openvino < min(LEAST_DICE, by_torch):
        return BackendChoice("torch", f"OpenVINO is not used: {agreement}")
    return BackendChoice("openvino", agreement)


def openvino_folder(bundle: Bundle) -> Path:
    """The cache folder of a bundle's converted network.

    Its name holds a hash of the weights, the configs, the network code, the machine and the versions.

    Raises:
        BundleError: the bundle has no readable weights.
        OutputError: the user has no home folder, and LUNGFIELD_CACHE is not set.
    """
    parts = [
        bundle.weights_sha256,
        platform.machine(),
        best_precision(torch.device("cpu")),
        *(version(package) for package in ("lungfield", "openvino", "torch")),
    ]
    configs = [bundle.inference_config, bundle.root / "configs" / "metadata.json"]
    sources = sorted(Path(__file__).parents[1].joinpath("networks").glob("*.py"))
    digest = hashlib.sha256("\n".join(parts).encode())
    for file in (*configs, *sources):
        digest.update(file.read_bytes())
    return _cache_folder() / "openvino" / f"{bundle.name}-{digest.hexdigest()[:16]}"


def _cache_folder() -> Path:
    """The folder `$LUNGFIELD_CACHE`, or else lungfield's folder in the user's cache. It need not exist.

    Raises:
        OutputError: the user has no home folder, and the variable is not set.
    """
    if folder := os.environ.get("LUNGFIELD_CACHE"):
        return Path(folder)
    try:
        return platformdirs.user_cache_path("lungfield")
    except RuntimeError as error:
        raise OutputError("this user has no home folder; set LUNGFIELD_CACHE to a folder") from error


def openvino_model(bundle: Bundle) -> Any:
    """A bundle's network as an `openvino.Model`, from the cache; if missing there, converted and stored.

    Raises:
        BundleError: weights are missing or do not fit, or OpenVINO is not installed.
    """
    library = openvino()
    try:
        path = openvino_folder(bundle) / _NETWORK
        if not path.is_file():
            _keep(_converted(bundle), path)
    except OutputError as error:
        logger.info("the converted network is not cached: %s", error)
        return _converted(bundle)
    try:
        return library.Core().read_model(path)
    except RuntimeError:
        logger.warning("the converted network in %s is damaged; it is converted again", path.parent)
        shutil.rmtree(path.parent, ignore_errors=True)
        return _converted(bundle)


def _converted(bundle: Bundle) -> Any:
    # Imported on use: a cached network needs no import of timm.
    from lungfield.bundles.predictor import input_shape, load_network

    return to_openvino(load_network(bundle), input_shape(bundle))


def _keep(model: Any, path: Path) -> None:
    """Save a model's two files atomically: write them into a temporary folder, then rename the folder."""
    folder = path.parent
    _make_folder(folder.parent)
    try:
        with tempfile.TemporaryDirectory(dir=folder.parent) as temporary:
            place = Path(temporary) / folder.name
            place.mkdir()
            openvino().save_model(model, place / path.name, compress_to_fp16=False)
            try:
                place.rename(folder)
            except OSError:
                if not path.is_file():  # if it exists, another process has written the same
                    raise
    except (OSError, RuntimeError) as error:
        raise OutputError(f"{folder.parent} cannot be written; {_ADVICE}") from error


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder} cannot be made ({error.strerror}); {_ADVICE}") from error


def _compare(bundle: Bundle) -> dict[str, float]:
    """For each backend, the lowest Dice of its masks with torch's float32 masks of the sample radiographs."""
    from lungfield.bundles.predictor import Predictor, sample_radiographs
    from lungfield.mask import agreement

    predictors = {name: Predictor(bundle, device="cpu", backend=name) for name in ("torch", "openvino")}
    exact, processing = predictors["torch"].logits_in_float32, predictors["torch"].processing
    lowest = dict.fromkeys(predictors, 1.0)
    for radiograph in sample_radiographs():
        prepared = processing.prepare(radiograph)
        image = prepared["image"][None]
        reference = processing.finish(prepared, exact(image)[0], radiograph).label_map
        for name, predictor in predictors.items():
            label_map = processing.finish(prepared, predictor.logits(image)[0], radiograph).label_map
            lowest[name] = min(lowest[name], agreement(label_map, reference, spacing=None).dice)
    return lowest
