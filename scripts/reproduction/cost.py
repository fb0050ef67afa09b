"""The cost of the networks: parameters, operations, and milliseconds per image, stored in cost.csv.

Operations are counted from the shapes, two for each multiply-add: `torch.utils.flop_counter` counts
convolutions and transposed convolutions; the sums over 3x3 neighbourhoods, which it does not count, are
added. With H x W pixels, a similarity of E channels takes 9 E H W multiply-adds (nine dot products per
pixel), and an aggregate of C channels 9 C H W. Normalisation, activations, softmax and pooling are not
counted.
"""

from __future__ import annotations

import copy
import platform
import re
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

import torch
from monai.bundle import ConfigParser
from torch import Tensor, nn
from torch.utils.benchmark import Timer
from torch.utils.flop_counter import FlopCounterMode

from lungfield.bundles.predictor import find_device
from lungfield.export import write_results_csv
from lungfield.networks.ag_minaspp_gsconv_unet import GraphAttentionGate
from lungfield.networks.gsconv import GraphConvolution
from reproduction.plan import Plan, Variant, read_table

SIZE = (256, 256)
"""Rows and columns that all networks are compared at."""
REPEATS = 15


def measure_costs(plan: Plan, output: Path, device_wanted: str) -> Path:
    """Measure all variants, and replace the rows of the same device in cost.csv."""
    device = find_device(device_wanted)
    networks = {name: build_network(variant) for name, variant in plan.variants.items()}
    name_of_device, path = device_name(device), output / "cost.csv"
    rows: list[dict[str, Any]] = [row for row in read_table(path) if row["device"] != name_of_device]
    for name, variant in plan.variants.items():
        recipe = plan.recipes.get(variant.input_of)
        own = recipe.settings(variant, 1)["image_size"] if recipe else SIZE
        rows.append(
            {
                "network": variant.label,
                "parameters": sum(parameter.numel() for parameter in networks[name].parameters()),
                "paper's input": "x".join(map(str, own)),
                "GFLOPs there": round(count_gflops(networks[name], own), 1),
                f"GFLOPs, {'x'.join(map(str, SIZE))}": round(count_gflops(networks[name], SIZE), 1),
                "device": name_of_device,
                "threads": torch.get_num_threads() if device.type == "cpu" else None,
                "torch": torch.__version__,
            }
        )
    # In turn, so that other load slows all of them equally.
    image = torch.rand(1, 1, *SIZE, device=device).contiguous(memory_format=torch.channels_last)
    timers = [
        Timer(
            "network(image)",
            globals={"network": one.to(device, memory_format=torch.channels_last), "image": image},
            num_threads=torch.get_num_threads(),
        )
        for one in networks.values()
    ]
    with torch.inference_mode():
        turns = [[1000 * timer.timeit(1).median for timer in timers] for _ in range(REPEATS)]
    for row, times in zip(rows[-len(networks) :], zip(*turns, strict=True), strict=True):
        row["ms"] = round(median(times), 1)
        row["relative"] = round(median(ms / turn[0] for ms, turn in zip(times, turns, strict=True)), 2)
    write_results_csv(rows, path, columns=list(rows[-1]))
    return path


def build_network(variant: Variant) -> nn.Module:
    """The network of a variant with random weights, as its bundle's train.yaml defines it."""
    parser = ConfigParser()
    parser.read_config(str(variant.configs / "train.yaml"))
    for key, value in {**variant.overrides, **({"pretrained": "false"} if variant.encoder else {})}.items():
        parser[key] = value
    return parser.get_parsed_content("network_def").eval()


def count_gflops(network: nn.Module, size: Sequence[int]) -> float:
    """Operations in 10^9 for one image of `size` (rows, columns); only shapes are followed."""
    multiply_adds = 0

    def count(module: nn.Module, _: Any, output: Tensor) -> None:
        nonlocal multiply_adds
        if isinstance(module, GraphConvolution):
            channels = module.query.out_channels + output.shape[1]
        else:
            channels = 2 * module.nodes.out_channels  # similarity and aggregate work on the same nodes
        multiply_adds += 9 * channels * output.shape[-2] * output.shape[-1]

    shapes = copy.deepcopy(network).to("meta")
    for module in shapes.modules():
        if isinstance(module, (GraphConvolution, GraphAttentionGate)):
            module.register_forward_hook(count)
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        shapes(torch.zeros(1, 1, *size, device="meta"))
    return (counter.get_total_flops() + 2 * multiply_adds) / 1e9


def device_name(device: torch.device) -> str:
    """The name of the GPU, or of the processor."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    info = Path("/proc/cpuinfo")
    name = re.search(r"^model name\s*: (.+)$", info.read_text() if info.is_file() else "", re.MULTILINE)
    return name[1] if name else platform.processor() or platform.machine()
