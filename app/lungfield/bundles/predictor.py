"""Load a bundle and run it: radiographs in, label maps out, by the steps of its inference config."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from copy import deepcopy
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from monai.bundle import ConfigParser
from monai.data import MetaTensor
from numpy.typing import NDArray

from lungfield.bundles.backend_choice import choose_backend, openvino_model
from lungfield.bundles.backends import AUTO, OPENVINO_INT8, TORCH, OpenVINONetwork
from lungfield.bundles.classes import output_classes
from lungfield.bundles.device import find_device
from lungfield.bundles.precision import PrecisionInferer
from lungfield.bundles.registry import Bundle, require_weights, shipped
from lungfield.bundles.weights import load_weights
from lungfield.errors import BundleError, NotFrontalChestError
from lungfield.labels import (
    BACKGROUND,
    CLAVICLE_SIDE_UNKNOWN,
    HEART,
    LUNG_FIELD,
    LUNG_SIDE_UNKNOWN,
    structures_of,
)
from lungfield.radiograph import read_radiograph
from lungfield.records import Radiograph
from lungfield.transforms import as_monai, lung_logits, require_channels
from lungfield.transforms.postprocessing import LungLabelMapd, structure_key

Result = TypeVar("Result")
Answer = tuple[torch.Tensor, torch.Tensor | None]
"""Logits (C, h, w) float32 on the CPU, and those of the mirrored input, mirrored back, or None."""
Steps = Generator[Any, Any, Result]
"""A generator that yields network inputs (C, h, w) float32, and receives an `Answer` to each by `send`.

For an ensemble it yields lists of inputs, one for each network, and receives lists of answers.
"""
Prepared = dict[str, Any]
"""A radiograph after preprocessing: MONAI's dictionary, with what the inverse transforms need."""
LOGIT_NAMES = {LUNG_SIDE_UNKNOWN: "lungs", HEART.value: "heart", CLAVICLE_SIDE_UNKNOWN: "clavicles"}
"""The names of logits in `Outcome.logits`, by the label value of their channel."""


class Finished(NamedTuple):
    """Masks on the file's own pixels.

    Attributes:
        label_map: (H, W) uint8, 0 background, 1 right lung, 2 left lung.
        structures: (H, W) bool of each structure besides the lungs that the network segments, by the names of
            `lungfield.labels`; they may overlap each other and the lungs.
    """

    label_map: NDArray[np.uint8]
    structures: dict[str, NDArray[np.bool_]]


class Outcome(NamedTuple):
    """The result of a network or an ensemble for a radiograph; fields as in `lungfield.Segmentation`."""

    label_map: NDArray[np.uint8]
    probability: NDArray[np.float32]
    probability_of_mirrored: NDArray[np.float32] | None
    structures: dict[str, NDArray[np.bool_]]
    logits: dict[str, NDArray[np.float32]]


class Processing:
    """Pre- and post-processing of a bundle. It needs neither weights nor a device.

    The steps are those of the bundle's `inference.yaml`; only `LoadImaged` at the start and `SaveImaged` at
    the end are left out, as the caller reads and writes.

    Args:
        bundle: its config can run code: load only bundles that you trust.

    Attributes:
        classes: the label value of each output channel, from `output_classes`.

    Raises:
        BundleError: the config cannot be used, or the metadata do not name the channels of the network.
    """

    def __init__(self, bundle: Bundle) -> None:
        self.bundle = bundle
        self.classes = output_classes(bundle.metadata)
        self._preprocessing, self._postprocessing = _parse(bundle, "cpu", "preprocessing", "postprocessing")
        self._restoring = LungLabelMapd("pred", classes=self.classes, transform=self._preprocessing)

    def prepare(self, radiograph: Radiograph) -> Prepared:
        """Preprocess a radiograph; the network's input, (C, h, w) float32, is under 'image'."""
        array, metadata = as_monai(radiograph)
        # As a view: MONAI's loader would copy the transposed pixels into memory order, the slowest step.
        image = MetaTensor(torch.from_numpy(array)[None], meta=metadata)
        image.affine = torch.as_tensor(metadata["affine"])
        prepared: Prepared = self._preprocessing({"image": image})
        return prepared

    def network_input(self, prepared: Prepared) -> torch.Tensor:
        """The network's input for a prepared radiograph: (C, h, w) float32."""
        return plain(prepared["image"])

    def outcome(self, prepared: Prepared, answer: Answer, radiograph: Radiograph) -> Outcome:
        """Convert the network's answer for a prepared radiograph to label map, probabilities and masks.

        Raises:
            BundleError: as `finish`.
        """
        logits, mirrored = answer
        finished = self.finish(prepared, logits, radiograph)
        return Outcome(
            finished.label_map,
            lung_probability(logits, self.classes),
            None if mirrored is None else lung_probability(mirrored, self.classes),
            finished.structures,
            logits_by_name(self.over_picture(prepared, logits), self.classes),
        )

    def over_picture(self, prepared: Prepared, logits: torch.Tensor) -> torch.Tensor:
        """The logits (C, h, w) on a grid that covers the whole upright picture, at any resolution."""
        if self._restoring.covers(prepared["image"]):
            return logits
        data: dict[Any, Any] = {**prepared, "pred": MetaTensor(logits, meta=prepared["image"].meta)}
        covering, *_ = self._restoring.upright(data, "pred", "image")
        return plain(covering)

    def finish(self, prepared: Prepared, logits: torch.Tensor, radiograph: Radiograph) -> Finished:
        """Convert the network's output, logits (C, h, w) float32 on the CPU, to masks in the file's pixels.

        `prepared` is what `prepare` returned for the radiograph; it is not changed.

        Raises:
            BundleError: the network's output channels do not match the metadata, or the bundle's
                post-processing does not return a map of the radiograph's size.
        """
        require_channels(len(logits), self.classes)
        # MONAI's own workflow would pass a MetaTensor with the image's affine, so pass one here too.
        prediction = MetaTensor(logits, meta=prepared["image"].meta)
        finished = self._postprocessing({**prepared, "pred": prediction})
        structures = {}
        for label in structures_of(self.classes):
            key = structure_key("pred", label.name)
            if key not in finished:
                raise BundleError(
                    f"The post-processing of {self.bundle.inference_config} gives no mask of "
                    f"{label.name}: pass the network's classes to LungLabelMapd."
                )
            structures[label.name] = self._plane(finished[key], radiograph).view(bool)
        return Finished(self._plane(finished["pred"], radiograph), structures)

    def _plane(self, finished: Any, radiograph: Radiograph) -> NDArray[np.uint8]:
        """A map of the post-processing, (1, W, H), as (H, W)."""
        # A plain tensor: converting a MetaTensor would copy the transposed map twice.
        planes = finished.as_tensor() if isinstance(finished, MetaTensor) else torch.as_tensor(finished)
        expected = (1, *radiograph.stored_shape[::-1])
        if planes.shape != expected:
            raise BundleError(
                f"The post-processing of {self.bundle.inference_config} gave {tuple(planes.shape)} "
                f"instead of {expected} (1, columns, rows)."
            )
        return np.ascontiguousarray(planes[0].T.numpy().astype(np.uint8, copy=False))


class Predictor:
    """A bundle's network with its pre- and post-processing.

    Args:
        bundle: the bundle to load. Its config can run code: load only bundles that you trust.
        device: 'auto' (CUDA where there is one), 'cpu', 'cuda', 'cuda:1', ...
        backend: one of `lungfield.bundles.backends.BACKENDS`; 'auto' for the choice of `choose_backend`.
        check_mirrored: also run the network on the mirrored input, for the quality flags; twice the work.

    Raises:
        BundleError: weights are missing or do not fit, the config lacks a part, or the device or the backend
            is not available.
    """

    def __init__(
        self, bundle: Bundle, *, device: str = AUTO, backend: str = AUTO, check_mirrored: bool = False
    ) -> None:
        require_weights(bundle)
        self.bundle = bundle
        self.device = find_device(device, backend)
        self.backend = choose_backend(bundle, self.device).backend if backend == AUTO else backend
        self.processing = Processing(bundle)
        self._check_mirrored = check_mirrored
        (self._inferer,) = _parse(bundle, self.device, "inferer")
        if self.backend == TORCH:
            self._network = load_network(bundle).to(self.device, memory_format=torch.channels_last)
        else:
            self._network = OpenVINONetwork(openvino_model(bundle, int8=self.backend == OPENVINO_INT8))

    def drive(self, steps: Steps[Result]) -> Result:
        """Give a generator the answer to each network input that it yields, and return what it returns."""
        return drive(steps, self.answer)

    def answer(self, network_input: torch.Tensor) -> Answer:
        """Run the network on one input (C, h, w) float32."""
        logits, mirrored = self.answers(network_input[None])
        return logits[0], None if mirrored is None else mirrored[0]

    def answers(self, batch: torch.Tensor) -> Answer:
        """Run the network on a batch (N, C, h, w): logits (N, C, h, w), and those of the mirrored batch."""
        logits = self.logits(batch).cpu()
        return logits, self.logits(batch.flip(-1)).flip(-1).cpu() if self._check_mirrored else None

    def network_input(self, radiograph: Radiograph) -> torch.Tensor:
        """A radiograph's network input: (1, C, h, w) float32, after the bundle's preprocessing."""
        return plain(self.processing.prepare(radiograph)["image"][None])

    def logits(self, network_input: torch.Tensor) -> torch.Tensor:
        """The logits (N, C, h, w) float32 of a batch, by the bundle's inferer, on the predictor's device."""
        return self._infer(self._inferer, network_input)

    def logits_in_float32(self, network_input: torch.Tensor) -> torch.Tensor:
        """As `logits`, but always computed in float32: the reference for comparisons of backends."""
        inferer = self._inferer
        exact = inferer.inferer if isinstance(inferer, PrecisionInferer) else inferer
        return self._infer(exact, network_input)

    def _infer(self, inferer: Any, network_input: torch.Tensor) -> torch.Tensor:
        batch = plain(network_input).to(self.device, memory_format=torch.channels_last, non_blocking=True)
        with torch.inference_mode():
            logits: torch.Tensor = inferer(batch, self._network)
        return logits


def drive(steps: Steps[Result], answer: Callable[[Any], Any]) -> Result:
    """Send a generator the answer to each network input (C, h, w) that it yields; return what it returns."""
    try:
        network_input = next(steps)
        while True:
            network_input = steps.send(answer(network_input))
    except StopIteration as end:
        result: Result = end.value
        return result


def sample_radiographs() -> Iterator[Radiograph]:
    """The frontal radiographs of `sample_data`, on which backends and exports are compared."""
    for file in sorted((shipped("sample_data") / "images").iterdir()):
        try:
            radiograph = read_radiograph(file)
        except NotFrontalChestError:  # two of the samples are there to be skipped
            continue
        yield radiograph


def plain(image: torch.Tensor) -> torch.Tensor:
    """The same tensor without MONAI's metadata, which every layer of the network would copy."""
    return image.as_subclass(torch.Tensor)


def lung_probability(logits: torch.Tensor, classes: Sequence[int] = LUNG_FIELD) -> NDArray[np.float32]:
    """The probability of lung, (h, w) float32 in [0, 1], for logits (C, h, w) of these classes.

    Raises:
        BundleError: the number of channels is not that of the classes.
    """
    lung, _ = lung_logits(torch.as_tensor(logits), classes)
    return torch.sigmoid(lung).numpy()


def logits_by_name(logits: torch.Tensor, classes: Sequence[int]) -> dict[str, NDArray[np.float32]]:
    """The logits (h, w) float32 of each structure, by the names of `lungfield.labels.STRUCTURES`."""
    lung, _ = lung_logits(logits.float(), classes)
    further = zip(classes, logits.float(), strict=True) if BACKGROUND not in classes else ()
    named = {LOGIT_NAMES[value]: channel.numpy() for value, channel in further if value in LOGIT_NAMES}
    return {"lungs": lung.numpy()} | named


def load_network(bundle: Bundle) -> torch.nn.Module:
    """A bundle's network with its weights, on the CPU, in evaluation mode.

    Raises:
        BundleError: weights are missing or do not fit, or the config cannot be used.
    """
    require_weights(bundle)
    network, preprocessing = _parse(bundle, "cpu", "network_def", "preprocessing")
    loaded: torch.nn.Module = load_weights(network, bundle.weights, preprocessing=preprocessing)
    return loaded.eval()


def input_shape(bundle: Bundle) -> tuple[int, int, int, int]:
    """(1, C, h, w) of the network's input in the bundle's metadata; `BundleError` if it is missing."""
    try:
        image = bundle.metadata["network_data_format"]["inputs"]["image"]
        height, width = image["spatial_shape"]
        return 1, int(image["num_channels"]), int(height), int(width)
    except (KeyError, TypeError, ValueError) as error:
        raise BundleError(
            f"{bundle.root / 'configs' / 'metadata.json'} lacks the shape of the network's input: give "
            "num_channels and spatial_shape under network_data_format, inputs, image."
        ) from error


def _parse(bundle: Bundle, device: str | torch.device, *sections: str) -> list[Any]:
    """Build sections of a bundle's inference config, without the transforms that read and write files."""
    parser = ConfigParser()
    try:
        parser.read_config(str(bundle.inference_config))
        parser.read_meta(deepcopy(bundle.metadata))  # the parser changes what it is given
        parser["bundle_root"] = str(bundle.root)
        parser["device"] = device
        for section, left_out in (("preprocessing", "LoadImage"), ("postprocessing", "SaveImage")):
            transforms = parser[section]["transforms"]
            names = [str(one.get("_target_")).split(".")[-1].rstrip("d") for one in transforms]
            kept = [one for one, name in zip(transforms, names, strict=True) if not name.startswith(left_out)]
            parser[section]["transforms"] = kept
        return [parser.get_parsed_content(section) for section in sections]
    except Exception as error:  # a config can name anything, and fail in any way
        raise BundleError(f"{bundle.inference_config} cannot be used: {error}") from error
