"""Choose OpenVINO or torch on a CPU: cache the converted networks, and compare the masks of all."""

from __future__ import annotations

import importlib.util
import json
import logging
import platform
import shutil
import tempfile
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from lungfield.atomic import write_whole
from lungfield.bundles.backends import OPENVINO, OPENVINO_INT8, TORCH, openvino, to_openvino
from lungfield.bundles.device import best_precision
from lungfield.bundles.quantization import int8_file, quantised, read_ranges
from lungfield.bundles.registry import Bundle
from lungfield.cache import cache_folder, fingerprint
from lungfield.errors import BundleError, LungfieldError, OutputError

logger = logging.getLogger(__name__)

LEAST_DICE = 0.9995
"""OpenVINO is chosen if its masks of all samples reach this Dice with torch's float32 masks.

If torch itself does not reach it in the machine's fast precision (bfloat16), torch's lowest Dice counts.
"""

LEAST_DICE_INT8 = 0.99
"""The same for 8-bit integers. They move contours by fractions of a pixel, so that the Dice with a reference
mask does not change; this only refuses ranges that do not belong to the network."""

_ADVICE = "set LUNGFIELD_CACHE to a folder that can be written"
_NETWORK = "network.xml"
_FOLDERS = {False: "float", True: "int8"}
_AGREEMENT = "agreement.json"


@dataclass(frozen=True)
class BackendChoice:
    """What runs the network, and why.

    Attributes:
        backend: one of `lungfield.bundles.backends.BACKENDS`, not 'auto'.
        reason: why, for the user; empty if only one backend was available.
    """

    backend: str
    reason: str = ""

    @property
    def remark(self) -> str:
        """One line for the user; empty without a reason."""
        return f"The network ran on {self.backend} ({self.reason})" if self.reason else ""


def choose_backend(bundle: Bundle, device: torch.device) -> BackendChoice:
    """Choose the fastest backend for a bundle whose masks agree with those of torch in float32.

    That is OpenVINO in 8-bit integers if the bundle has ranges for its weights and the CPU has no bfloat16,
    else OpenVINO, else torch. The first call compares them on the sample radiographs, which takes seconds.
    The Dice and the converted networks are cached in `openvino_folder`. A device other than the CPU always
    gets torch. Nothing is raised: if the comparison fails, the choice is torch, with the reason.
    """
    if device.type != "cpu" or importlib.util.find_spec("openvino") is None:
        return BackendChoice(TORCH)
    try:
        record = openvino_folder(bundle) / _AGREEMENT
        if not record.is_file():
            _make_folder(record.parent.parent)
            logger.info("comparing OpenVINO with torch on the samples, once for %s", bundle.name)
            write_whole(record, json.dumps(_compare(bundle)).encode())
        lowest = {name: float(dice) for name, dice in json.loads(record.read_bytes()).items()}
        by_torch, by_openvino = lowest[TORCH], lowest[OPENVINO]
    except LungfieldError as error:
        return BackendChoice(TORCH, f"OpenVINO is not used: {error}")
    except Exception as error:  # a network that cannot be converted fails in any way
        return BackendChoice(TORCH, f"OpenVINO cannot run this network ({type(error).__name__})")
    if lowest.get(OPENVINO_INT8, 0.0) >= LEAST_DICE_INT8:
        return BackendChoice(OPENVINO_INT8, _agreement(lowest[OPENVINO_INT8], by_torch))
    agreement = _agreement(by_openvino, by_torch)
    if by_openvino < min(LEAST_DICE, by_torch):
        return BackendChoice(TORCH, f"OpenVINO is not used: {agreement}")
    return BackendChoice(OPENVINO, agreement)


def _agreement(dice: float, by_torch: float) -> str:
    return f"lowest Dice with float32 on the samples {dice:.4f}, torch {by_torch:.4f}"


def _uses_int8(bundle: Bundle) -> bool:
    """Whether integers are faster for a bundle on this CPU: it has their ranges, and the CPU no bfloat16."""
    return best_precision(torch.device("cpu")) == "float32" and bool(read_ranges(bundle))


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
    configs += [int8_file(bundle)] * int8_file(bundle).is_file()
    sources = sorted(Path(__file__).parents[1].joinpath("networks").glob("*.py"))
    return cache_folder() / "openvino" / f"{bundle.name}-{fingerprint(parts, (*configs, *sources))}"


def openvino_model(bundle: Bundle, *, int8: bool = False) -> Any:
    """A bundle's network as an `openvino.Model`, from the cache; if missing there, converted and stored.

    With `int8`, its largest convolutions are computed in 8-bit integers.

    Raises:
        BundleError: weights are missing or do not fit, OpenVINO is not installed, or the bundle has no ranges
            for integers.
    """
    library = openvino()
    try:
        path = openvino_folder(bundle) / _FOLDERS[int8] / _NETWORK
        if not path.is_file():
            _keep(_converted(bundle, int8), path)
    except OutputError as error:
        logger.info("the converted network is not cached: %s", error)
        return _converted(bundle, int8)
    try:
        return library.Core().read_model(path)
    except RuntimeError:
        logger.warning("the converted network in %s is damaged; it is converted again", path.parent)
        shutil.rmtree(path.parent, ignore_errors=True)
        return _converted(bundle, int8)


def _converted(bundle: Bundle, int8: bool) -> Any:
    # Imported on use: a cached network needs no import of timm.
    from lungfield.bundles.predictor import input_shape, load_network

    network = load_network(bundle)
    if int8:
        ranges = read_ranges(bundle)
        if not ranges:
            raise BundleError(
                f"The bundle {bundle.name!r} has no ranges for 8-bit integers that belong to its weights: "
                "measure them with scripts/calibrate_int8.py, or choose another backend."
            )
        network = quantised(network, ranges)
    return to_openvino(network, input_shape(bundle))


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

    names = [TORCH, OPENVINO] + [OPENVINO_INT8] * _uses_int8(bundle)
    predictors = {name: Predictor(bundle, device="cpu", backend=name) for name in names}
    exact, processing = predictors[TORCH].logits_in_float32, predictors[TORCH].processing
    lowest = dict.fromkeys(predictors, 1.0)
    for radiograph in sample_radiographs():
        prepared = processing.prepare(radiograph)
        image = prepared["image"][None]
        reference = processing.finish(prepared, exact(image)[0], radiograph).label_map
        for name, predictor in predictors.items():
            label_map = processing.finish(prepared, predictor.logits(image)[0], radiograph).label_map
            lowest[name] = min(lowest[name], agreement(label_map, reference, spacing=None).dice)
    return lowest
