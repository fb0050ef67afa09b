"""A bundle, loaded: radiographs in, label maps out, by the steps that its inference config names."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from monai.bundle import ConfigParser
from monai.data import MetaTensor
from monai.transforms import Compose, EnsureChannelFirst
from monai.utils import convert_to_numpy
from numpy.typing import NDArray

from lungfield.errors import BundleError
from lungfield.inference.registry import Bundle, all_bundles
from lungfield.inference.workflow import load_weights, require_file
from lungfield.records import Radiograph
from lungfield.transforms import as_monai


class Predictor:
    """Runs the network of a bundle on radiographs that are already in memory.

    Preprocessing, inferer and post-processing are those of the bundle's `inference.yaml`; only
    `LoadImaged` at the start and `SaveImaged` at the end are left out, as the caller reads and writes.

    Args:
        bundle: the bundle to load. Its config can run code: load only bundles that you trust.
        device: 'auto' (CUDA where there is one), 'cpu', 'cuda', 'cuda:1', ...

    Raises:
        BundleError: weights are missing or do not fit, the config lacks a part, or the device is not there.
    """

    def __init__(self, bundle: Bundle, *, device: str = "auto") -> None:
        self.bundle = bundle
        self.device = find_device(device)
        require_file(
            bundle.weights,
            what=f"The file of weights of the bundle {bundle.name!r}",
            advice=_how_to_get_weights(bundle),
        )
        parser = ConfigParser()
        try:
            parser.read_config(str(bundle.inference_config))
            parser["bundle_root"] = str(bundle.root)
            parser["device"] = self.device
            _drop_transforms(parser, "preprocessing", "LoadImage")
            _drop_transforms(parser, "postprocessing", "SaveImage")
            self._preprocessing: Compose = parser.get_parsed_content("preprocessing")
            self._postprocessing: Compose = parser.get_parsed_content("postprocessing")
            self._inferer: Any = parser.get_parsed_content("inferer")
            network: torch.nn.Module = parser.get_parsed_content("network_def")
        except Exception as error:  # a config can name anything, and fail in any way
            raise BundleError(f"{bundle.inference_config} cannot be used: {error}") from error
        load_weights(network, bundle.weights)
        self._network = network.to(self.device, memory_format=torch.channels_last).eval()

    def __call__(self, radiograph: Radiograph) -> NDArray[np.uint8]:
        """Segment one radiograph.

        Args:
            radiograph: as `read_radiograph` gives it.

        Returns:
            Label map (H, W) uint8 on the radiograph's own pixels: 0 background, 1 right lung, 2 left lung.

        Raises:
            BundleError: the bundle's post-processing does not end in a map of that size.
        """
        data = self._prepare(radiograph)
        data["pred"] = self.logits(data["image"][None])[0].cpu()
        label_map = convert_to_numpy(self._postprocessing(data)["pred"])
        if label_map.shape != (1, *radiograph.shape[::-1]):
            raise BundleError(
                f"The post-processing of {self.bundle.inference_config} gave {label_map.shape} instead of "
                f"{(1, *radiograph.shape[::-1])} (1, columns, rows)."
            )
        return np.ascontiguousarray(label_map[0].T.astype(np.uint8))

    def network_input(self, radiograph: Radiograph) -> torch.Tensor:
        """What the network is given: (1, C, h, w) float32, after the bundle's preprocessing."""
        return torch.as_tensor(self._prepare(radiograph)["image"][None])

    def logits(self, network_input: torch.Tensor) -> torch.Tensor:
        """The logits (N, C, h, w) of a batch, by the bundle's inferer, on the predictor's device."""
        batch = network_input.to(self.device, memory_format=torch.channels_last)
        with torch.inference_mode():
            return self._inferer(batch, self._network)

    def _prepare(self, radiograph: Radiograph) -> dict[str, Any]:
        array, metadata = as_monai(radiograph)
        image = EnsureChannelFirst()(MetaTensor.ensure_torch_and_prune_meta(array, metadata))
        return self._preprocessing({"image": image})


def _how_to_get_weights(bundle: Bundle) -> str:
    ready = ", ".join(one.name for one in all_bundles() if one.has_weights)
    train = bundle.root / "configs" / "train.yaml"
    return (
        f"Either choose a bundle that has weights, by --bundle: {ready}. Or train this one: python -m "
        f"monai.bundle run training --config_file {train} --dataset_dir DATA --output_dir RUN; then put "
        f"RUN/best_model.pt where the missing file belongs. {bundle.root / 'docs' / 'README.md'} says more."
    )


def _drop_transforms(parser: ConfigParser, section: str, name: str) -> None:
    """Leave the transforms called `name` or `named` out of a Compose in the config."""
    transforms = parser[section]["transforms"]
    kept = [
        one for one in transforms if not str(one.get("_target_")).split(".")[-1].rstrip("d").startswith(name)
    ]
    parser[section]["transforms"] = kept


def find_device(name: str) -> torch.device:
    """The device of a name; 'auto' is CUDA where there is one.

    Raises:
        BundleError: torch knows no such device, or it is not here.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise BundleError(f"The device {name!r} is not to be had here; use auto, cpu or cuda.") from error
    return device
