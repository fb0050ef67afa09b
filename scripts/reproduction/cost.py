"""What the networks cost: parameters, operations, and milliseconds an image, kept in cost.json.

Operations are counted from the shapes alone, two for each multiply-add: `torch.utils.flop_counter` counts
convolutions and transposed convolutions; the sums over 3x3 neighbourhoods, which it does not know, are added.
With H x W pixels, a similarity of E channels takes 9 E H W multiply-adds (nine dot products a pixel), and an
aggregate of C channels 9 C H W. Normalisation, activations, softmax and pooling are left out for all alike.
"""

from __future__ import annotations

import copy
import platform
import statistics
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from monai.bundle import ConfigParser
from torch import Tensor, nn
from torch.utils.benchmark import Timer
from torch.utils.flop_counter import FlopCounterMode

from lungfield.export import write_results_json
from lungfield.networks.ag_minaspp_gsconv_unet import GraphAttentionGate
from lungfield.networks.gsconv import GraphConvolution
from reproduction.plan import Plan, Variant
from reproduction.results import read_costs

_NEIGHBOURS = 9


def measure_costs(plan: Plan, output: Path, device: torch.device, tell: Callable[[str], None]) -> None:
    """Measure all variants in turn and write cost.json, unless it has them on this device already."""
    costs, settings, name_of_device = read_costs(output), plan.cost or {}, device_name(device)
    common = tuple(settings["common_size"])
    if costs["timings"].get(name_of_device, {}).get("ms", {}).keys() >= plan.variants.keys():
        return
    tell(f"cost: counting and timing {len(plan.variants)} networks on {name_of_device}")
    networks = {name: build_network(variant) for name, variant in plan.variants.items()}
    for name, variant in plan.variants.items():
        recipe = plan.recipes.get(variant.input_of)
        size = tuple(recipe.settings(variant, 1)["image_size"]) if recipe else common
        costs["networks"][name] = {
            "parameters": sum(parameter.numel() for parameter in networks[name].parameters()),
            "gflops": {_times(side): count_gflops(networks[name], side) for side in {size, common}},
            "paper_size": _times(size),
        }
    costs["timings"][name_of_device] = {
        "threads": torch.get_num_threads() if device.type == "cpu" else None,
        "size": _times(common),
        "repeats": settings["repeats"],
        "torch": torch.__version__,
        **time_networks(networks, common, settings["repeats"], device),
    }
    write_results_json(costs, output / "cost.json")


def build_network(variant: Variant) -> nn.Module:
    """The network of a variant with random weights, as its bundle's train.yaml defines it."""
    parser = ConfigParser()
    parser.read_config(str(variant.configs / "train.yaml"))
    for key, value in {**variant.overrides, **({"pretrained": "false"} if variant.encoder else {})}.items():
        parser[key] = value
    return parser.get_parsed_content("network_def").eval()


def count_gflops(network: nn.Module, size: tuple[int, ...]) -> float:
    """Operations in 10^9 for one image of `size` (rows, columns); see the module's docstring."""
    neighbourhood = 0

    def count(module: nn.Module, _: Any, output: Tensor) -> None:
        nonlocal neighbourhood
        if isinstance(module, GraphConvolution):
            channels = module.query.out_channels + output.shape[1]
        else:
            channels = 2 * module.nodes.out_channels  # similarity and aggregate work on the same nodes
        neighbourhood += _NEIGHBOURS * channels * output.shape[-2] * output.shape[-1]

    # Nothing is computed on this device, only shapes are followed.
    shapes = copy.deepcopy(network).to("meta")
    for module in shapes.modules():
        if isinstance(module, (GraphConvolution, GraphAttentionGate)):
            module.register_forward_hook(count)
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        shapes(torch.zeros(1, 1, *size, device="meta"))
    return (counter.get_total_flops() + 2 * neighbourhood) / 1e9


def time_networks(
    networks: Mapping[str, nn.Module], size: tuple[int, ...], repeats: int, device: torch.device
) -> dict[str, dict[str, float]]:
    """Milliseconds for one image, all networks in turn so that whatever else goes on slows all alike.

    Returns:
        `ms`: the median by network; `ratio`: the median of the times relative to the first network's in the
        same turn.
    """
    layout = torch.channels_last
    image = torch.rand(1, 1, *size, device=device).contiguous(memory_format=layout)
    timers = [
        Timer(
            "network(image)",
            globals={"network": network.to(device, memory_format=layout), "image": image},
            num_threads=torch.get_num_threads(),
        )
        for network in networks.values()
    ]
    with torch.inference_mode():
        turns = [[1000 * timer.timeit(1).median for timer in timers] for _ in range(repeats)]
    ratios = [[one / turn[0] for one in turn] for turn in turns]
    return {
        key: dict(zip(networks, map(statistics.median, zip(*values, strict=True)), strict=True))
        for key, values in (("ms", turns), ("ratio", ratios))
    }


def device_name(device: torch.device) -> str:
    """What the device is called."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _times(size: tuple[int, ...]) -> str:
    return f"{size[0]}x{size[1]}"
