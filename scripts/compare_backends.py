"""Compare the speed of several backends on this CPU, with one thread each.

    python scripts/compare_backends.py --bundle unet

Two threads run one radiograph at a time, each on one core. The backends take turns, so that other load slows
all of them equally. The table has CPU and wall-clock time per radiograph (the minimum over all rounds), and
the differences of logits and masks from those of eager float32 on the sample radiographs. Backends in
bfloat16 are left out on a CPU that only emulates it.
"""

from __future__ import annotations

import copy
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch
import typer
from rich.progress import track
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from lungfield.bundles import find_bundle, shipped
from lungfield.bundles.backends import OnnxNetwork, OpenVINONetwork, quiet, to_openvino
from lungfield.bundles.device import best_precision
from lungfield.bundles.exporting import export_network
from lungfield.bundles.predictor import Predictor, input_shape, load_network
from lungfield.bundles.quantization import quantised, read_ranges
from lungfield.bundles.registry import Bundle
from lungfield.mask import agreement
from lungfield.radiograph import read_radiograph

Run = Callable[[Tensor], Tensor]
"""Gives the logits of an image, (1, 1, h, w) float32."""

THREADS = 2
IMAGES = 3
"""Radiographs for each thread in a round."""


def main(bundle: str = typer.Option("unet"), rounds: int = typer.Option(10)) -> None:
    """Print CPU time per radiograph, start-up time and agreement of each backend."""
    torch.set_num_threads(1)
    found = find_bundle(bundle)
    network = load_network(found).to(memory_format=torch.channels_last)
    predictor = Predictor(found, device="cpu", backend="torch")
    images = [
        predictor.network_input(read_radiograph(path)).to(memory_format=torch.channels_last)
        for path in sorted((shipped("sample_data") / "images").glob("0[1-7]*.dcm"))
    ]
    runs: dict[str, Run] = {}
    start_s: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, make in track(_makers(found, network, Path(folder)).items(), "Preparing"):
            begin = sum(os.times()[:4])  # CPU time, that of children such as compilers included
            with quiet():
                runs[name] = make()
                for _ in range(3):  # some choose algorithms during the first calls
                    _infer(runs[name], images[0])
            start_s[name] = sum(os.times()[:4]) - begin
    rounds_ms = [
        {name: _measure(run, images[:IMAGES]) for name, run in runs.items()}
        for _ in track(range(rounds), "Measuring")
    ]
    expected = [_infer(network, image) for image in images]
    print("| backend | CPU, ms | wall, ms | to start, s of CPU | Dice | logits differ by |")
    print("| --- | --- | --- | --- | --- | --- |")
    for name, run in runs.items():
        cpu_ms, wall_ms = (min(one[name][which] for one in rounds_ms) for which in (0, 1))
        pairs = [(_infer(run, image), logits) for image, logits in zip(images, expected, strict=True)]
        difference = max(float((one - other).abs().max()) for one, other in pairs)
        masks = [[(logits[0, 0] > 0).numpy() for logits in pair] for pair in pairs]
        dice = statistics.mean(agreement(*pair, spacing=None).dice for pair in masks)
        print(
            f"| {name} | {cpu_ms:.0f} | {wall_ms:.0f} | {start_s[name]:.1f} | {dice:.5f} | {difference:.2g} |"
        )


def _measure(run: Run, images: list[Tensor]) -> tuple[float, float]:
    """CPU and wall-clock time for a radiograph in ms, while each thread runs the same images."""

    def work(_: int) -> None:
        for image in images:
            _infer(run, image)

    cpu, wall = time.process_time(), time.perf_counter()
    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(work, range(THREADS)))
    each = 1000 / (THREADS * len(images))
    return (time.process_time() - cpu) * each, (time.perf_counter() - wall) * each


def _makers(bundle: Bundle, network: nn.Module, folder: Path) -> dict[str, Callable[[], Run]]:
    """The functions that prepare the backends, by name; those of torch use channels-last."""
    bfloat16, float32 = torch.bfloat16, torch.float32

    def frozen(dtype: torch.dtype) -> Run:
        example = torch.rand(input_shape(bundle)).to(dtype, memory_format=torch.channels_last)
        traced = torch.jit.trace(copy.deepcopy(network).to(dtype), example, check_trace=False)
        ready = torch.jit.optimize_for_inference(torch.jit.freeze(traced))
        return lambda image: ready(image.to(dtype)).float()

    def inductor() -> Run:
        # Weights in bfloat16: autocast would convert them at every call, and prevent freezing.
        torch._inductor.config.freezing = True
        ready = torch.compile(copy.deepcopy(network).bfloat16())
        return lambda image: ready(image.bfloat16()).float()

    def onnx() -> Run:
        export_network(bundle, folder / "network.onnx", "onnx")
        return OnnxNetwork(folder / "network.onnx")

    def openvino(dtype: torch.dtype) -> Run:
        return _in(dtype, OpenVINONetwork(to_openvino(load_network(bundle), input_shape(bundle))))

    def openvino_int8() -> Run:
        rounded = quantised(load_network(bundle), read_ranges(bundle))
        return _in(float32, OpenVINONetwork(to_openvino(rounded, input_shape(bundle))))

    makers: dict[str, Callable[[], Run]] = {
        "torch bfloat16, as `lungfield segment` runs it": (
            lambda: Predictor(bundle, device="cpu", backend="torch").logits
        ),
        "torch bfloat16, by itself": lambda: _in(bfloat16, network),
        "torch bfloat16, normalisation folded": lambda: _in(bfloat16, _folded(network)),
        "torch float32": lambda: _in(float32, network),
        "torch float32, normalisation folded": lambda: _in(float32, _folded(network)),
        "TorchScript frozen, bfloat16": lambda: frozen(bfloat16),
        "TorchScript frozen, float32": lambda: frozen(float32),
        "torch.compile (Inductor, freezing), bfloat16": inductor,
        "ONNX Runtime float32": onnx,
        "OpenVINO float32": lambda: openvino(float32),
        "OpenVINO bfloat16": lambda: openvino(bfloat16),
    }
    if read_ranges(bundle):
        makers["OpenVINO, largest convolutions in 8-bit integers"] = openvino_int8
    if best_precision(torch.device("cpu")) == "float32":  # emulated, it takes ten times as long
        makers = {name: make for name, make in makers.items() if "bfloat16" not in name}
    return makers


def _folded(network: nn.Module) -> nn.Module:
    """A copy with each batch normalisation folded into the convolution directly before it in a Sequential."""
    network = copy.deepcopy(network)
    for one in network.modules():
        if isinstance(one, nn.Sequential):
            for position in range(len(one) - 1):
                if isinstance(one[position], nn.Conv2d) and isinstance(one[position + 1], nn.BatchNorm2d):
                    one[position] = fuse_conv_bn_eval(one[position], one[position + 1])
                    one[position + 1] = nn.Identity()
    return network.to(memory_format=torch.channels_last)


def _in(dtype: torch.dtype, network: nn.Module) -> Run:
    cast = torch.autocast("cpu", dtype=dtype, enabled=dtype != torch.float32)
    return cast(lambda image: network(image).float())


def _infer(run: Run, image: Tensor) -> Tensor:
    with torch.inference_mode():
        return run(image)


if __name__ == "__main__":
    typer.run(main)
