"""A bundle, loaded: radiographs in, label maps out, by the steps that its inference config names."""

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
from lungfield.bundles.backends import AUTO, OpenVINONetwork
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
from lungfield.transforms.postprocessing import STRUCTURES, LungLabelMapd

Result = TypeVar("Result")
Answer = tuple[torch.Tensor, torch.Tensor | None]
"""Logits (C, h, w) float32 on the CPU, and those of the mirrored input, mirrored back, where asked for."""
Steps = Generator[Any, Any, Result]
"""Work that needs a network now and then: yields inputs (C, h, w) float32, and is sent an `Answer` to each.

Of an ensemble, it yields lists of inputs, one for each network, and is sent lists of answers.
"""
Prepared = dict[str, Any]
"""A radiograph after the preprocessing: MONAI's dictionary, with what the way back needs."""
LOGIT_NAMES = {LUNG_SIDE_UNKNOWN: "lungs", HEART.value: "heart", CLAVICLE_SIDE_UNKNOWN: "clavicles"}
"""What the logits of a channel are called, by the value that the channel stands for."""


class Finished(NamedTuple):
    """Masks on the file's own pixels.

    Attributes:
        label_map: (H, W) uint8, 0 background, 1 right lung, 2 left lung.
        structures: (H, W) bool of each structure beside the lungs that the network gives, by the names of
            `lungfield.labels`, each whole where structures overlap.
    """

    label_map: NDArray[np.uint8]
    structures: dict[str, NDArray[np.bool_]]


class Outcome(NamedTuple):
    """What a network, or several, made of a radiograph; `lungfield.Segmentation` describes it."""

    label_map: NDArray[np.uint8]
    probability: NDArray[np.float32]
    probability_of_mirrored: NDArray[np.float32] | None
    structures: dict[str, NDArray[np.bool_]]
    logits: dict[str, NDArray[np.float32]]


class Processing:
    """What comes before and after the network of a bundle. It needs neither weights nor a device.

    The steps are those of the bundle's `inference.yaml`; only `LoadImaged` at the start and `SaveImaged` at
    the end are left out, as the caller reads and writes.

    Args:
        bundle: its config can run code: load only bundles that you trust.

    Attributes:
        classes: what the channels of the network stand for.

    Raises:
        BundleError: the config cannot be used, or the metadata do not name the channels of the network.
    """

    def __init__(self, bundle: Bundle) -> None:
        self.bundle = bundle
        self.classes = output_classes(bundle.metadata)
        self._preprocessing, self._postprocessing = _parse(bundle, "cpu", "preprocessing", "postprocessing")
        self._restoring = LungLabelMapd("pred", classes=self.classes, transform=self._preprocessing)

    def prepare(self, radiograph: Radiograph) -> Prepared:
        """Preprocess a radiograph; under 'image' is what the network is given, (C, h, w) float32."""
        array, metadata = as_monai(radiograph)
        # As a view: MONAI's loader would bring the transposed pixels in order, the slowest step of all.
        image = MetaTensor(torch.from_numpy(array)[None], meta=metadata)
        image.affine = torch.as_tensor(metadata["affine"])
        prepared: Prepared = self._preprocessing({"image": image})
        return prepared

    def network_input(self, prepared: Prepared) -> torch.Tensor:
        """What the network is given of a prepared radiograph: (C, h, w) float32."""
        return plain(prepared["image"])

    def outcome(self, prepared: Prepared, answer: Answer, radiograph: Radiograph) -> Outcome:
        """Turn the network's answer to a prepared radiograph into what there is to know of it.

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
        """The logits (C, h, w) on a grid that covers all of the upright picture, coarser than it or not."""
        data: dict[Any, Any] = {**prepared, "pred": MetaTensor(logits, meta=prepared["image"].meta)}
        covering, *_ = self._restoring.upright(data, "pred", "image")
        return plain(covering)

    def finish(self, prepared: Prepared, logits: torch.Tensor, radiograph: Radiograph) -> Finished:
        """Turn the network's output for a radiograph, logits (C, h, w) float32 on the CPU, into masks.

        `prepared` is what `prepare` returned for it, and is left as it is.

        Raises:
            BundleError: the network gives other channels than the metadata name, or the bundle's
                post-processing does not end in a map of that size.
        """
        require_channels(len(logits), self.classes)
        # As a MetaTensor it says what MONAI's own workflow would say: how the image lies, and that it is one.
        prediction = MetaTensor(logits, meta=prepared["image"].meta)
        finished = self._postprocessing({**prepared, "pred": prediction})
        (label_map,) = self._planes(finished["pred"], 1, radiograph)
        further = structures_of(self.classes)
        if not further:
            return Finished(label_map, {})
        if f"pred{STRUCTURES}" not in finished:
            raise BundleError(
                f"The post-processing of {self.bundle.inference_config} gives no masks beside the lungs: "
                "hand the network's classes to LungLabelMapd."
            )
        masks = self._planes(finished[f"pred{STRUCTURES}"], len(further), radiograph)
        return Finished(
            label_map, {label.name: mask.view(bool) for label, mask in zip(further, masks, strict=True)}
        )

    def _planes(self, finished: Any, count: int, radiograph: Radiograph) -> list[NDArray[np.uint8]]:
        """What the post-processing ended in, (count, W, H), as arrays (H, W)."""
        # A plain tensor, as converting a MetaTensor brings the transposed map in order, and back.
        planes = finished.as_tensor() if isinstance(finished, MetaTensor) else torch.as_tensor(finished)
        expected = (count, *radiograph.stored_shape[::-1])
        if planes.shape != expected:
            raise BundleError(
                f"The post-processing of {self.bundle.inference_config} gave {tuple(planes.shape)} "
                f"instead of {expected} ({count}, columns, rows)."
            )
        return [np.ascontiguousarray(plane.T.numpy().astype(np.uint8, copy=False)) for plane in planes]


class Predictor:
    """A bundle's network with what comes before and after it.

    Args:
        bundle: the bundle to load. Its config can run code: load only bundles that you trust.
        device: 'auto' (CUDA where there is one), 'cpu', 'cuda', 'cuda:1', ...
        backend: what runs the network: 'torch', 'openvino' (on a CPU), or 'auto', as `choose_backend` says.
        check_mirrored: also run the mirrored input, as a second opinion; twice the work of the network.

    Raises:
        BundleError: weights are missing or do not fit, the config lacks a part, or the device or the backend
            is not there.
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
        if self.backend == "openvino":
            self._network: torch.nn.Module = OpenVINONetwork(openvino_model(bundle))
        else:
            self._network = load_network(bundle).to(self.device, memory_format=torch.channels_last)

    def drive(self, steps: Steps[Result]) -> Result:
        """Give a generator the answer to each network input that it yields, and return what it returns."""
        return drive(steps, self.answer)

    def answer(self, network_input: torch.Tensor) -> Answer:
        """What the network says to one input (C, h, w)."""
        logits, mirrored = self.answers(network_input[None])
        return logits[0], None if mirrored is None else mirrored[0]

    def answers(self, batch: torch.Tensor) -> Answer:
        """What the network says to a batch (N, C, h, w): logits (N, C, h, w), and those of the mirrored."""
        logits = self.logits(batch).cpu()
        return logits, self.logits(batch.flip(-1)).flip(-1).cpu() if self._check_mirrored else None

    def network_input(self, radiograph: Radiograph) -> torch.Tensor:
        """What the network is given: (1, C, h, w) float32, after the bundle's preprocessing."""
        return plain(self.processing.prepare(radiograph)["image"][None])

    def logits(self, network_input: torch.Tensor) -> torch.Tensor:
        """The logits (N, C, h, w) float32 of a batch, by the bundle's inferer, on the predictor's device."""
        return self._infer(self._inferer, network_input)

    def logits_in_float32(self, network_input: torch.Tensor) -> torch.Tensor:
        """As `logits`, in float32 whatever the inferer's own precision: what others are compared with."""
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
    """The radiographs of `sample_data`: what networks are compared on."""
    for file in sorted((shipped("sample_data") / "images").iterdir()):
        try:
            radiograph = read_radiograph(file)
        except NotFrontalChestError:  # two of the samples are there to be skipped
            continue
        yield radiograph


def plain(image: torch.Tensor) -> torch.Tensor:
    """The same tensor without MONAI's metadata, which would be handed on at every step of the network."""
    return image.as_subclass(torch.Tensor)


def lung_probability(logits: torch.Tensor, classes: Sequence[int] = LUNG_FIELD) -> NDArray[np.float32]:
    """The probability of lung, (h, w) float32 in [0, 1], for logits (C, h, w) of these classes.

    Raises:
        BundleError: the logits have not one channel for each class.
    """
    lung, _ = lung_logits(torch.as_tensor(logits), classes)
    return torch.sigmoid(lung).numpy()


def logits_by_name(logits: torch.Tensor, classes: Sequence[int]) -> dict[str, NDArray[np.float32]]:
    """The logits (h, w) float32 of each structure, called as in `lungfield.labels.STRUCTURES`."""
    lung, _ = lung_logits(logits.float(), classes)
    further = zip(classes, logits.float(), strict=True) if BACKGROUND not in classes else ()
    named = {LOGIT_NAMES[value]: channel.numpy() for value, channel in further if value in LOGIT_NAMES}
    return {"lungs": lung.numpy()} | named


def load_network(bundle: Bundle) -> torch.nn.Module:
    """A bundle's network with its weights, on the CPU, in evaluation.

    Raises:
        BundleError: weights are missing or do not fit, or the config cannot be used.
    """
    require_weights(bundle)
    network, preprocessing = _parse(bundle, "cpu", "network_def", "preprocessing")
    loaded: torch.nn.Module = load_weights(network, bundle.weights, preprocessing=preprocessing)
    return loaded.eval()


def input_shape(bundle: Bundle) -> tuple[int, int, int, int]:
    """(1, C, h, w) of the network's input by the bundle's metadata; `BundleError` where it is not there."""
    try:
        image = bundle.metadata["network_data_format"]["inputs"]["image"]
        height, width = image["spatial_shape"]
        return 1, int(image["num_channels"]), int(height), int(width)
    except (KeyError, TypeError, ValueError) as error:
        raise BundleError(
            f"{bundle.root / 'configs' / 'metadata.json'} does not say the shape of the network's input, "
            "under network_data_format, inputs, image: num_channels and spatial_shape."
        ) from error


def _parse(bundle: Bundle, device: str | torch.device, *sections: str) -> list[Any]:
    """Build the named parts of a bundle's inference config, reading and saving of files left out."""
    parser = ConfigParser()
    try:
        parser.read_config(str(bundle.inference_config))
        parser.read_meta(deepcopy(bundle.metadata))  # which resolving would change
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
