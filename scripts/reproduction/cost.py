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
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from monai.bundle import ConfigParser
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from lungfield.bundles.predictor import find_device
from lungfield.export import write_results_json
from lungfield.networks.ag_minaspp_gsconv_unet import GraphAttentionGate
from lungfield.networks.gsconv import GraphConvolution
from reproduction.plan import CostSettings, Plan, PlanError, Variant
from reproduction.results import cost_file, read_costs
from reproduction.runs import stage_settings

_NEIGHBOURS = 9
_OPERATIONS_A_MULTIPLY_ADD = 2
_UNTRAINED = {"pretrained": "false"}


def missing_costs(plan: Plan, output: Path, *, device: str) -> bool:
    """Whether a variant's figures or its times on this device are not there yet."""
    costs = read_costs(output)
    timed = costs["timings"].get(device_name(find_device(device)), {}).get("ms", {})
    return any(name not in costs["networks"] or name not in timed for name in plan.variants)


def measure_costs(
    plan: Plan,
    settings: CostSettings,
    output: Path,
    *,
    device: str = "auto",
    threads: int | None = None,
    tell: Callable[[str], None],
) -> None:
    """Measure all variants in one go, and write cost.json; other devices' times are kept.

    Raises:
        PlanError: a network cannot be built.
    """
    costs = read_costs(output)
    networks = {}
    for name, variant in plan.variants.items():
        network = build_network(variant)
        size = paper_size(plan, variant) or settings.common_size
        costs["networks"][name] = {
            "parameters": sum(parameter.numel() for parameter in network.parameters()),
            "gflops": {_times(side): count_gflops(network, side) for side in {size, settings.common_size}},
            "paper_size": _times(size),
        }
        networks[name] = network
        tell(f"cost: {name} counted")
    where = find_device(device)
    if threads:
        torch.set_num_threads(threads)
    tell(f"cost: timing {len(networks)} networks in turn, {settings.repeats} times, on {device_name(where)}")
    costs["timings"][device_name(where)] = {
        "device": where.type,
        "threads": torch.get_num_threads() if where.type == "cpu" else None,
        "size": _times(settings.common_size),
        "repeats": settings.repeats,
        "torch": torch.__version__,
        **time_networks(networks, settings, where),
    }
    write_results_json(costs, cost_file(output))


def build_network(variant: Variant) -> nn.Module:
    """The network of a variant with random weights, as its bundle's train.yaml defines it.

    Raises:
        PlanError: the config does not define one.
    """
    parser = ConfigParser()
    try:
        parser.read_config(str(variant.configs / "train.yaml"))
        for key, value in {**variant.overrides, **(_UNTRAINED if variant.encoder else {})}.items():
            parser[key] = value
        network: nn.Module = parser.get_parsed_content("network_def")
    except Exception as error:  # a config can name anything, and fail in any way
        raise PlanError(f"{variant.configs / 'train.yaml'}, for {variant.name}: {error}") from error
    return network.eval()


def paper_size(plan: Plan, variant: Variant) -> tuple[int, int] | None:
    """The input size of the paper's recipe, or None where that is not declared."""
    if not variant.input_of:
        return None
    rows, columns = stage_settings(plan.recipes[variant.input_of], variant, 1)["image_size"]
    return rows, columns


def count_gflops(network: nn.Module, size: tuple[int, int]) -> float:
    """Operations in 10^9 for one image of `size` (rows, columns); see the module's docstring."""
    neighbourhood = 0

    def convolution(module: GraphConvolution, _: Any, output: Tensor) -> None:
        nonlocal neighbourhood
        channels = module.query.out_channels + output.shape[1]
        neighbourhood += _NEIGHBOURS * channels * output.shape[-2] * output.shape[-1]

    def gate(module: GraphAttentionGate, _: Any, output: Tensor) -> None:
        nonlocal neighbourhood
        channels = 2 * module.nodes.out_channels  # similarity and aggregate work on the same nodes
        neighbourhood += _NEIGHBOURS * channels * output.shape[-2] * output.shape[-1]

    # Nothing is computed on this device, only shapes are followed.
    shapes = copy.deepcopy(network).to("meta")
    for module in shapes.modules():
        if isinstance(module, GraphConvolution):
            module.register_forward_hook(convolution)
        elif isinstance(module, GraphAttentionGate):
            module.register_forward_hook(gate)
    counter = FlopCounterMode(display=False)
    with torch.inference_mode(), counter:
        shapes(torch.zeros(1, 1, *size, device="meta"))
    return (counter.get_total_flops() + _OPERATIONS_A_MULTIPLY_ADD * neighbourhood) / 1e9


def time_networks(
    networks: Mapping[str, nn.Module], settings: CostSettings, device: torch.device
) -> dict[str, dict[str, float]]:
    """Milliseconds for one image, all networks in turn so that whatever else goes on slows all alike.

    Returns:
        `ms`: the median by network; `ratio`: the median of the times relative to the first network's in the
        same turn.
    """
    image = torch.rand(1, 1, *settings.common_size, device=device)
    image = image.contiguous(memory_format=torch.channels_last)
    placed = {
        name: network.to(device, memory_format=torch.channels_last) for name, network in networks.items()
    }
    taken: dict[str, list[float]] = {name: [] for name in networks}
    with torch.inference_mode():
        for turn in range(settings.warmups + settings.repeats):
            for name, network in placed.items():
                start = _now(device)
                network(image)
                if turn >= settings.warmups:
                    taken[name].append(1000 * (_now(device) - start))
    first = next(iter(taken.values()))
    return {
        "ms": {name: statistics.median(times) for name, times in taken.items()},
        "ratio": {
            name: statistics.median(one / base for one, base in zip(times, first, strict=True))
            for name, times in taken.items()
        },
    }


def device_name(device: torch.device) -> str:
    """What the device is called."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _now(device: torch.device) -> float:
    """Seconds on a clock, after all work given to the device is done."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def _times(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"
