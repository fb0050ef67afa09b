"""What runs the network fastest on this CPU? Measures several backends on one thread each.

    python scripts/compare_backends.py --bundle unet -o backends.md

As in `lungfield segment` two threads run one radiograph at a time, each on one core. The backends take turns,
round by round, so that what else the machine does strikes all alike. Printed are the time of the processor
and that on the clock for a radiograph, the least of all rounds as other work can only add to it; and how the
logits and masks compare with those of eager float32 on the sample radiographs.
"""

from __future__ import annotations

import copy
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import torch
import typer
from onnxruntime.quantization import quantize_dynamic
from rich.progress import track
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from lungfield.bundles import find_bundle, shipped
from lungfield.bundles.backends import OnnxNetwork, OpenVINONetwork, quiet, to_openvino
from lungfield.bundles.exporting import export_network
from lungfield.bundles.predictor import Predictor, input_shape, load_network
from lungfield.bundles.registry import Bundle
from lungfield.errors import NotFrontalChestError
from lungfield.mask import agreement
from lungfield.radiograph import read_radiograph

Run = Callable[[Tensor], Tensor]

THREADS = 2
IMAGES = 3
"""Radiographs for each thread in a round."""


@dataclass
class Backend:
    """A way to run the network: `run` gives the logits of an image, (1, 1, h, w) float32.

    `start_s` is the processor's time to get ready in seconds; `cpu_ms` and `wall_ms` are for one radiograph,
    with both threads at work, of the processor and on the clock, a value a round.
    """

    run: Run
    start_s: float
    cpu_ms: list[float] = field(default_factory=list)
    wall_ms: list[float] = field(default_factory=list)


def main(
    bundle: str = typer.Option("unet"),
    rounds: int = typer.Option(10),
    without: list[str] = typer.Option([], help="Leave out the backends whose names hold this; repeatable."),
    output: Path | None = typer.Option(None, "-o", help="Write the table here as Markdown."),
) -> None:
    """Print processor time per radiograph, start-up time and agreement of each backend."""
    torch.set_num_threads(1)
    found = find_bundle(bundle)
    network = load_network(found).to(memory_format=torch.channels_last)
    images = _images(found)
    backends: dict[str, Backend] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, make in track(_makers(found, network, Path(folder)).items(), "Preparing"):
            if not any(word in name for word in without):
                backends[name] = _started(make, images[0])
    for _ in track(range(rounds), "Measuring"):
        for backend in backends.values():
            _measure(backend, images)
    table = _table(backends, images, expected=[_infer(network, image) for image in images])
    print(table)
    if output:
        output.write_text(table + "\n")


def _started(make: Callable[[], Run], image: Tensor) -> Backend:
    begin = _cpu_s()
    with quiet():
        run = make()
        for _ in range(3):  # some make up their minds during the first calls
            _infer(run, image)
    return Backend(run, _cpu_s() - begin)


def _cpu_s() -> float:
    """Processor time of this process and of those that it called, compilers say, seconds."""
    return sum(os.times()[:4])


def _measure(backend: Backend, images: list[Tensor]) -> None:
    """Add a round: each thread runs the same few images."""

    def work(_: int) -> None:
        for image in images[:IMAGES]:
            _infer(backend.run, image)

    cpu, wall = time.process_time(), time.perf_counter()
    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(work, range(THREADS)))
    each = 1000 / (THREADS * IMAGES)
    backend.cpu_ms.append((time.process_time() - cpu) * each)
    backend.wall_ms.append((time.perf_counter() - wall) * each)


def _table(backends: dict[str, Backend], images: list[Tensor], expected: list[Tensor]) -> str:
    lines = [
        "| backend | CPU, ms | wall, ms | to start, s of CPU | Dice | logits differ by |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for name, backend in backends.items():
        made = [_infer(backend.run, image) for image in images]
        pairs = list(zip(made, expected, strict=True))
        difference = max(float((one - other).abs().max()) for one, other in pairs)
        masks = [[(logits[0, 0] > 0).numpy() for logits in pair] for pair in pairs]
        dice = statistics.mean(agreement(*pair, spacing=None).dice for pair in masks)
        lines.append(
            f"| {name} | {min(backend.cpu_ms):.0f} | {min(backend.wall_ms):.0f} "
            f"| {backend.start_s:.1f} | {dice:.5f} | {difference:.2g} |"
        )
    return "\n".join(lines)


def _makers(bundle: Bundle, network: nn.Module, folder: Path) -> dict[str, Callable[[], Run]]:
    """By name, what prepares a backend; channels-last throughout in torch."""
    bfloat16, float32 = torch.bfloat16, torch.float32

    def folded() -> nn.Module:
        return _folded(copy.deepcopy(network)).to(memory_format=torch.channels_last)

    def frozen(dtype: torch.dtype) -> Run:
        example = torch.rand(input_shape(bundle)).to(dtype, memory_format=torch.channels_last)
        traced = torch.jit.trace(copy.deepcopy(network).to(dtype), example, check_trace=False)
        ready = torch.jit.optimize_for_inference(torch.jit.freeze(traced))
        return lambda image: ready(image.to(dtype)).float()

    def inductor() -> Run:
        # Weights in bfloat16 for good: autocast would convert them at every call, and hinder freezing.
        torch._inductor.config.freezing = True
        ready = torch.compile(copy.deepcopy(network).bfloat16())
        return lambda image: ready(image.bfloat16()).float()

    def onnx(*, int8: bool = False) -> Run:
        path = folder / "network.onnx"
        if not path.is_file():
            export_network(bundle, path, "onnx")
        if int8:
            quantize_dynamic(path, folder / "int8.onnx")
            path = folder / "int8.onnx"
        return OnnxNetwork(path)

    def openvino(dtype: torch.dtype) -> Run:
        return _in(dtype, OpenVINONetwork(to_openvino(load_network(bundle), input_shape(bundle))))

    return {
        "torch bfloat16, as `lungfield segment` runs it": (
            lambda: Predictor(bundle, device="cpu", backend="torch").logits
        ),
        "torch bfloat16, by itself": lambda: _in(bfloat16, network),
        "torch bfloat16, normalisation folded": lambda: _in(bfloat16, folded()),
        "torch float32": lambda: _in(float32, network),
        "torch float32, normalisation folded": lambda: _in(float32, folded()),
        "TorchScript frozen, bfloat16": lambda: frozen(bfloat16),
        "TorchScript frozen, float32": lambda: frozen(float32),
        "torch.compile (Inductor, freezing), bfloat16": inductor,
        "ONNX Runtime float32": onnx,
        "ONNX Runtime int8 (dynamic)": lambda: onnx(int8=True),
        "OpenVINO float32": lambda: openvino(float32),
        "OpenVINO bfloat16": lambda: openvino(bfloat16),
    }


def _folded(module: nn.Module) -> nn.Module:
    """Fold each batch normalisation that directly follows a convolution in a Sequential into it."""
    for one in module.modules():
        if isinstance(one, nn.Sequential):
            for position in range(len(one) - 1):
                if isinstance(one[position], nn.Conv2d) and isinstance(one[position + 1], nn.BatchNorm2d):
                    one[position] = fuse_conv_bn_eval(one[position], one[position + 1])
                    one[position + 1] = nn.Identity()
    return module


def _in(dtype: torch.dtype, network: nn.Module) -> Run:
    cast = torch.autocast("cpu", dtype=dtype, enabled=dtype != torch.float32)
    return cast(lambda image: network(image).float())


def _infer(run: Run, image: Tensor) -> Tensor:
    with torch.inference_mode():
        return run(image)


def _images(bundle: Bundle) -> list[Tensor]:
    """The sample radiographs as the network is given them, (1, C, h, w) each."""
    predictor = Predictor(bundle, device="cpu", backend="torch")
    images = []
    for path in sorted((shipped("sample_data") / "images").iterdir()):
        try:
            image = predictor.network_input(read_radiograph(path))
        except NotFrontalChestError:
            continue
        images.append(image.to(memory_format=torch.channels_last))
    return images


if __name__ == "__main__":
    typer.run(main)
