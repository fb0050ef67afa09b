"""Convolutions of a network in 8-bit integers, which CPUs without bfloat16 compute faster than float32.

The largest convolutions take most of the time, and lie in the decoders, where rounding only moves a contour
by a fraction of a pixel; all others stay in float32. Inputs are asymmetric in 8 bits with one scale a layer,
weights symmetric with one scale a channel (Nagel et al. 2021, arXiv:2106.08295, sections 2.2 and 3).
"""

from __future__ import annotations

import copy
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from lungfield.atomic import write_whole
from lungfield.bundles.registry import Bundle
from lungfield.errors import BundleError

Ranges = Mapping[str, tuple[float, float]]
"""The least and the greatest input of each convolution, by the name of its module."""

LEAST_SHARE = 0.02
"""The default least share of the network's multiplications of a convolution that is computed in integers."""

_INPUT_STEPS = 255
# Seven bits: AVX2 adds two products in 16 bits, which eight bits would overflow.
_GREATEST_WEIGHT = 63


def int8_file(bundle: Bundle) -> Path:
    """The file with the ranges of a bundle; it may be missing."""
    return bundle.root / "models" / "int8.json"


def read_ranges(bundle: Bundle) -> Ranges:
    """The ranges that were measured for a bundle's present weights; empty if there are none.

    Raises:
        BundleError: the file cannot be read.
    """
    file = int8_file(bundle)
    if not file.is_file():
        return {}
    try:
        content = json.loads(file.read_bytes())
        if content["weights_sha256"] != bundle.weights_sha256:
            return {}
        return {str(name): (float(low), float(high)) for name, (low, high) in content["inputs"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise BundleError(
            f"{file} cannot be used ({type(error).__name__}): measure it again with "
            "scripts/calibrate_int8.py, or remove it."
        ) from error


def write_ranges(bundle: Bundle, ranges: Ranges) -> None:
    """Store ranges with the bundle; they hold until its weights change.

    Raises:
        OutputError: the file could not be written.
    """
    content = {"weights_sha256": bundle.weights_sha256, "inputs": ranges}
    write_whole(int8_file(bundle), (json.dumps(content, indent=2) + "\n").encode())


def measure_ranges(
    network: nn.Module, images: Iterable[Tensor], *, least_share: float = LEAST_SHARE
) -> dict[str, tuple[float, float]]:
    """Measure the inputs of a network's largest convolutions.

    Args:
        network: on the CPU, in evaluation mode.
        images: network inputs (N, C, H, W) float32 of real radiographs, of one size.
        least_share: least share of the network's multiplications of a convolution, in [0, 1].

    Returns:
        The means over the batches of the least and the greatest value.
    """
    multiplications: dict[str, int] = {}
    found: dict[str, list[tuple[float, float]]] = defaultdict(list)

    def keep(name: str, layer: nn.Conv2d, x: Tensor, y: Tensor) -> None:
        multiplications[name] = layer.weight[0].numel() * y[0].numel()
        found[name].append((float(x.min()), float(x.max())))

    hooks = [
        layer.register_forward_hook(lambda layer, x, y, name=name: keep(name, layer, x[0], y))
        for name, layer in network.named_modules()
        if isinstance(layer, nn.Conv2d)
    ]
    try:
        with torch.inference_mode():
            for image in images:
                network(image)
    finally:
        for hook in hooks:
            hook.remove()
    least = least_share * sum(multiplications.values())
    return {
        name: (sum(low for low, _ in some) / len(some), sum(high for _, high in some) / len(some))
        for name, some in found.items()
        if multiplications[name] >= least
    }


def quantised(network: nn.Module, ranges: Ranges) -> nn.Module:
    """A copy of a network that rounds inputs and weights of these convolutions to 8-bit integers.

    torch computes it in float32, with the same result as in integers. OpenVINO recognises the rounding, and
    computes these convolutions in integers.

    Raises:
        BundleError: the network has no such convolution.
    """
    rounded = copy.deepcopy(network)
    for name, (low, high) in ranges.items():
        parent, _, child = name.rpartition(".")
        try:
            layer = rounded.get_submodule(name)
        except AttributeError:
            layer = None
        if not isinstance(layer, nn.Conv2d):
            raise BundleError(f"The network has no convolution {name!r}, which its int8.json names.")
        setattr(rounded.get_submodule(parent), child, _QuantisedConvolution(layer, low, high))
    return rounded


class _QuantisedConvolution(nn.Module):
    """A convolution that rounds its input to 256 values from `low` to `high`, and its weights to 7 bits."""

    def __init__(self, convolution: nn.Conv2d, low: float, high: float) -> None:
        super().__init__()
        self.convolution = convolution
        # Zero, with which the edge is padded, has to be one of the steps.
        low, high = min(low, 0.0), max(high, 0.0)
        self._step = (high - low) / _INPUT_STEPS or 1.0
        self._zero = round(-low / self._step)
        greatest = convolution.weight.detach().abs().amax(dim=(1, 2, 3)).clamp(min=1e-12)
        self.register_buffer("steps", greatest / _GREATEST_WEIGHT)
        self.register_buffer("zeros", torch.zeros(len(greatest), dtype=torch.int32))

    def forward(self, x: Tensor) -> Tensor:
        """Return the convolution of the rounded input."""
        convolution = self.convolution
        x = torch.fake_quantize_per_tensor_affine(x, self._step, self._zero, 0, _INPUT_STEPS)
        weight = torch.fake_quantize_per_channel_affine(
            convolution.weight, self.steps, self.zeros, 0, -_GREATEST_WEIGHT - 1, _GREATEST_WEIGHT
        )
        return functional.conv2d(
            x,
            weight,
            convolution.bias,
            convolution.stride,
            convolution.padding,
            convolution.dilation,
            convolution.groups,
        )
