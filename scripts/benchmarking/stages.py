"""The time of one core for a radiograph without the network, by stage."""

from __future__ import annotations

import datetime
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path, PurePath
from typing import Any

import numpy as np
import torch

from lungfield.batch import DEFAULT_FORMATS, FORMATS
from lungfield.batch.outputs import SaveOptions
from lungfield.batch.processes import start_forkserver
from lungfield.batch.worker import compute_in_one_thread
from lungfield.bundles import Bundle
from lungfield.bundles.predictor import Predictor, lung_probability
from lungfield.pipeline import Segmentation
from lungfield.radiograph import read_radiograph


def stage_costs(files: Sequence[Path], bundle: Bundle, output: Path) -> list[dict[str, Any]]:
    """Time the stages of a worker for files of one kind, on the CPU, in a process started like a worker.

    The time of the network is left out.

    Returns:
        For each stage its `name` and the medians over the files: `cpu_ms`, CPU time; `wall_ms`, wall-clock
        time, including waits for the disk; `by_default`, whether it is done by default; `percent` of the CPU
        time of all default stages.
    """
    with ProcessPoolExecutor(1, mp_context=start_forkserver()) as one_process:
        return one_process.submit(_stage_costs, files, bundle, output).result()


def _stage_costs(files: Sequence[Path], bundle: Bundle, output: Path) -> list[dict[str, Any]]:
    compute_in_one_thread()
    predictor = Predictor(bundle, device="cpu")
    times: dict[str, list[tuple[float, float]]] = defaultdict(list)

    @contextmanager
    def stage(name: str) -> Iterator[None]:
        cpu, wall = time.process_time(), time.perf_counter()
        yield
        times[name].append((1000 * (time.process_time() - cpu), 1000 * (time.perf_counter() - wall)))

    _segment(files[0], predictor, output, stage)
    times.clear()  # imports and first allocations do not count
    for file in files:
        _segment(file, predictor, output, stage)
    medians = {name: np.median(some, axis=0).tolist() for name, some in times.items()}
    optional = {_writing(one) for one in FORMATS if one not in DEFAULT_FORMATS}
    total = sum(cpu_ms for name, (cpu_ms, _) in medians.items() if name not in optional)
    return [
        {
            "name": name,
            "cpu_ms": cpu_ms,
            "wall_ms": wall_ms,
            "by_default": name not in optional,
            "percent": None if name in optional else 100 * cpu_ms / total,
        }
        for name, (cpu_ms, wall_ms) in sorted(medians.items(), key=lambda one: one[0] in optional)
    ]


def _segment(
    file: Path, predictor: Predictor, output: Path, stage: Callable[[str], AbstractContextManager]
) -> None:
    processing = predictor.processing
    with stage("read"):
        radiograph = read_radiograph(file)
    with stage("prepare"):
        prepared = processing.prepare(radiograph)
        network_input = np.asarray(prepared["image"], dtype=np.float32)
    logits = predictor.logits(torch.from_numpy(network_input)[None])[0].cpu()
    with stage("post-process"):
        label_map, structures = processing.finish(prepared, logits, radiograph)
        probability = lung_probability(logits, processing.classes)
    lungs = Segmentation(radiograph, label_map, probability, predictor.bundle, structures=structures)
    with stage("quality"):
        _ = lungs.quality
    with stage("measure"):
        _ = lungs.measurements, lungs.density
    how = SaveOptions(datetime.datetime.now(datetime.UTC))
    for name, kind in FORMATS.items():
        with stage(_writing(name)):
            kind.save(lungs, output / kind.place(PurePath(file.stem)), how)


def _writing(name: str) -> str:
    return f"write {name}"
