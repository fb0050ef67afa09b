"""What one core does for a radiograph beside the network, stage by stage."""

from __future__ import annotations

import datetime
import statistics
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePath

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


@dataclass(frozen=True)
class Stage:
    """What a stage takes, the median over the files.

    Attributes:
        name: of the stage.
        cpu_ms: time of the processor.
        wall_ms: time that passed; what is above `cpu_ms` was spent waiting, mostly for the disk.
        by_default: whether it is done unless asked for otherwise.
        percent: of the processor's time of all stages that are done by default; None for others.
    """

    name: str
    cpu_ms: float
    wall_ms: float
    by_default: bool
    percent: float | None


class _Stopwatch:
    def __init__(self) -> None:
        self.cpu_ms: dict[str, list[float]] = defaultdict(list)
        self.wall_ms: dict[str, list[float]] = defaultdict(list)

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        wall, cpu = time.perf_counter(), time.process_time()
        yield
        self.cpu_ms[stage].append(1000 * (time.process_time() - cpu))
        self.wall_ms[stage].append(1000 * (time.perf_counter() - wall))


def stage_costs(files: Sequence[Path], bundle: Bundle, output: Path) -> list[Stage]:
    """Take files through the stages of a worker, one by one, in a process that is started as those are.

    Args:
        files: all of one kind.
        bundle: what segments them, on the CPU; the network's own time is left out.
        output: folder to write to.
    """
    with ProcessPoolExecutor(1, mp_context=start_forkserver()) as one_process:
        return one_process.submit(_stage_costs, files, bundle, output).result()


def _stage_costs(files: Sequence[Path], bundle: Bundle, output: Path) -> list[Stage]:
    compute_in_one_thread()
    predictor = Predictor(bundle, device="cpu")
    _segment(files[0], predictor, output, _Stopwatch())  # imports and first allocations are not the stages'
    stopwatch = _Stopwatch()
    for file in files:
        _segment(file, predictor, output, stopwatch)
    cpu_ms = {name: statistics.median(times) for name, times in stopwatch.cpu_ms.items()}
    optional = {_writing(one) for one in FORMATS if one not in DEFAULT_FORMATS}
    total = sum(one for name, one in cpu_ms.items() if name not in optional)
    return [
        Stage(
            name,
            cpu_ms[name],
            statistics.median(stopwatch.wall_ms[name]),
            name not in optional,
            None if name in optional else 100 * cpu_ms[name] / total,
        )
        for name in sorted(cpu_ms, key=optional.__contains__)
    ]


def _segment(file: Path, predictor: Predictor, output: Path, stage: _Stopwatch) -> None:
    processing = predictor.processing
    with stage("read"):
        radiograph = read_radiograph(file)
    with stage("prepare"):
        prepared = processing.prepare(radiograph)
        network_input = np.asarray(prepared["image"], dtype=np.float32)
    logits = predictor.logits(torch.from_numpy(network_input)[None])[0].cpu()
    with stage("post-process"):
        label_map = processing.finish(prepared, logits, radiograph)
        probability = lung_probability(logits, processing.classes)
    lungs = Segmentation(radiograph, label_map, probability, predictor.bundle)
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
