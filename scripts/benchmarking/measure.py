"""All measurements of a benchmark, in turn, so that other load on the machine slows all of them equally."""

from __future__ import annotations

import os
import platform
import tempfile
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch

from benchmarking.end_to_end import Call, EndToEnd, run_apart
from benchmarking.files import Kind, make_files
from benchmarking.limits import Engine, network_rate, reading_rate
from benchmarking.others import torchxrayvision_rate
from benchmarking.stages import stage_costs
from benchmarking.stock import stock_seconds
from benchmarking.summary import rate_between, ratios, spent
from lungfield.bundles import find_bundle, shipped
from lungfield.bundles.device import best_precision
from lungfield.bundles.predictor import Predictor
from lungfield.radiograph import read_radiograph
from reproduction.cost import device_name

_MORE = 4
"""Factor of the number of files for the measurement of memory growth."""
_STAGE_FILES = 12


@dataclass(frozen=True)
class Settings:
    """The options of scripts/benchmark.py.

    All `kinds` are segmented and read; the other measurements use the first. With None, the engine chooses
    the number of `workers`.
    """

    bundle: str
    count: int
    kinds: Sequence[Kind]
    device: str = "auto"
    workers: int | None = None
    repeat: int = 3
    stock_files: int = 8


def measure(settings: Settings, folder: Path, tell: Callable[[str], None]) -> dict[str, Any]:
    """Make the files, and measure.

    Args:
        settings: what to measure.
        folder: takes the files; results are removed again.
        tell: shows progress.

    Returns:
        The parts of the JSON file, as docs/benchmark.md describes them.

    Raises:
        LungfieldError: the bundle cannot be used, or something did not do its work.
    """
    bundle = find_bundle(settings.bundle)
    predictor = Predictor(bundle, device=settings.device)
    engine = Engine.of(predictor, settings.workers)
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    tell(f"making {settings.count} files of each of {len(settings.kinds)} kinds")
    first, count = settings.kinds[0], settings.count
    counts = {**dict.fromkeys(settings.kinds, count), first: _MORE * count}
    files = make_files(folder, counts, processes=engine.cores)
    some = files[first][:count]
    few, many = 1, min(settings.stock_files, count)
    inputs = [
        np.asarray(predictor.processing.prepare(read_radiograph(file))["image"], dtype=np.float32)
        for file in some[:4]
    ]
    with tempfile.TemporaryDirectory(prefix=".results-", dir=folder) as results:
        segment = partial(_segment, settings, Path(results))
        network = ("network alone",), partial(network_rate, predictor, inputs, engine, count=count)
        stock = partial(stock_seconds, bundle, folder=Path(results), device=settings.device)
        steps = [
            network,
            (("end to end", first, ""), partial(segment, some)),
            (("end to end", first, "with report"), partial(segment, some, report=True)),
            *(
                (("monai.bundle run, seconds", number), partial(stock, some[:number]))
                for number in (few, many)
            ),
            network,
            *(
                (("end to end", kind, ""), partial(segment, files[kind][:count]))
                for kind in settings.kinds[1:]
            ),
            *(
                (("reading", kind), partial(reading_rate, files[kind][:count], workers=engine.workers))
                for kind in settings.kinds
            ),
        ]
        found: dict[tuple[Any, ...], list[Any]] = defaultdict(list)
        for turn in range(settings.repeat):
            for key, step in steps:
                found[key].append(value := step())
                name = ", ".join(filter(None, map(str, key)))
                tell(f"{turn + 1} of {settings.repeat}: {name}: {getattr(value, 'images_per_s', value):.1f}")
        tell("memory")
        memory = [segment(some, with_memory=True), segment(files[first], with_memory=True)]
        tell("stages")
        stages = stage_costs(some[:_STAGE_FILES], bundle, Path(results) / "stages")
    seconds = [median(found["monai.bundle run, seconds", number]) for number in (few, many)]
    rate = rate_between(few, seconds[0], many, seconds[1])
    parts: dict[str, Any] = {
        "network": {"images_per_s": median(found["network alone",]), "each": found["network alone",]},
        "end_to_end": [
            {
                "kind": str(key[1]),
                "report": bool(key[2]),
                **{
                    name: median(getattr(run, name) for run in runs)
                    for name in ("images_per_s", "start_up_s", "first_file_s", "closing_s")
                },
                "each": [run.images_per_s for run in runs],
            }
            for key, runs in found.items()
            if key[0] == "end to end"
        ],
        "reading": [
            {"kind": str(key[1]), "images_per_s": median(rates), "each": rates}
            for key, rates in found.items()
            if key[0] == "reading"
        ],
        "stages": stages,
        "stock": {
            "images_per_s": rate,
            "start_up_s": None if rate is None else max(0.0, seconds[0] - few / rate),
            "files": [few, many],
            "seconds": seconds,
        },
        "others": [torchxrayvision_rate(some[:many], device=predictor.device.type, threads=engine.cores)],
        "memory": [{"files": run.files, "peak_bytes": run.peak_bytes} for run in memory],
    }
    return {
        "settings": {**vars(settings), "kinds": [str(kind) for kind in settings.kinds]},
        "machine": {
            "cpu": device_name(torch.device("cpu")),
            **asdict(engine),
            "device": device_name(predictor.device),
            "precision": best_precision(predictor.device),
            "load_before": load,
            "platform": f"{platform.system()} {platform.machine()}",
            "python": platform.python_version(),
            **{package: version(package) for package in ("lungfield", "torch", "monai")},
        },
        **parts,
        "spent": spent(parts, engine),
        "ratios": ratios(parts),
    }


def _segment(
    settings: Settings,
    results: Path,
    files: Sequence[Path],
    *,
    report: bool = False,
    with_memory: bool = False,
) -> EndToEnd:
    refused = shipped("sample_data") / "images" / "09_ct.dcm"
    with tempfile.TemporaryDirectory(dir=results) as output:
        call = Call(files, refused, Path(output), settings.bundle, settings.device, settings.workers, report)
        return run_apart(call, with_memory=with_memory)
