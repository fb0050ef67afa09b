"""All measurements in one go, in turn, so that whatever else the machine does slows all of them alike."""

from __future__ import annotations

import os
import platform
import shutil
import tempfile
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarking.end_to_end import Call, EndToEnd, run_apart
from benchmarking.files import Kind, make_files
from benchmarking.limits import network_rate, reading_rate
from benchmarking.others import other_tools
from benchmarking.stages import stage_costs
from benchmarking.stock import stock_seconds
from benchmarking.summary import rate_between, ratios, spent
from lungfield.batch.resources import Resources, share_out
from lungfield.bundles import Bundle, find_bundle, shipped
from lungfield.bundles.precision import best_precision
from lungfield.bundles.predictor import Predictor
from lungfield.radiograph import read_radiograph
from reproduction.cost import device_name

#: So many times the files, to see whether memory grows with them.
MORE = 4
_STAGE_FILES = 12


@dataclass(frozen=True)
class Settings:
    """What to measure.

    Attributes:
        bundle: name, or folder.
        count: files of each kind.
        kinds: the first is the one that all but the speed of segmenting and reading is measured on.
        device: 'auto', 'cpu', 'cuda', ...
        workers: processes that read and write; None for the engine's own choice.
        repeat: how often each rate is measured.
        stock_files: radiographs for `monai.bundle run`.
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
        tell: told how far it has come.

    Returns:
        The parts of the JSON file, as docs/benchmark.md describes them.

    Raises:
        LungfieldError: the bundle cannot be used, or something did not do its work.
    """
    bundle = find_bundle(settings.bundle)
    predictor = Predictor(bundle, device=settings.device)
    engine = share_out(predictor.device.type, settings.workers)
    load = _load()
    tell(f"making {settings.count} files of each of {len(settings.kinds)} kinds")
    counts = dict.fromkeys(settings.kinds, settings.count)
    files = make_files(folder, {**counts, settings.kinds[0]: MORE * settings.count}, processes=engine.cores)
    with tempfile.TemporaryDirectory(prefix=".results-", dir=folder) as results:
        measured = _Measurements(settings, bundle, predictor, engine, files, Path(results), tell)
        for turn in range(settings.repeat):
            measured.take_rates(f"{turn + 1} of {settings.repeat}: ")
        parts = measured.to_parts()
    return {"settings": _described(settings), "machine": _machine(predictor.device, engine, load), **parts}


class _Measurements:
    """What was measured so far."""

    def __init__(
        self,
        settings: Settings,
        bundle: Bundle,
        predictor: Predictor,
        engine: Resources,
        files: dict[Kind, list[Path]],
        results: Path,
        tell: Callable[[str], None],
    ) -> None:
        self._settings, self._bundle, self._predictor, self._engine = settings, bundle, predictor, engine
        self._all_files = files[settings.kinds[0]]
        self._files = {kind: some[: settings.count] for kind, some in files.items()}
        self._results, self._tell = results, tell
        self._inputs = self._network_inputs()
        self._network: list[float] = []
        self._end_to_end: dict[tuple[Kind, bool], list[EndToEnd]] = defaultdict(list)
        self._reading: dict[Kind, list[float]] = defaultdict(list)
        self._stock: dict[int, list[float]] = defaultdict(list)

    @property
    def _first(self) -> Kind:
        return self._settings.kinds[0]

    def take_rates(self, turn: str) -> None:
        """Measure each rate once, and the network's before and after the others."""
        self._take_network(turn)
        self._take_end_to_end(turn, self._first, report=False)
        self._take_end_to_end(turn, self._first, report=True)
        self._take_stock(turn)
        self._take_network(turn)
        for kind in self._settings.kinds[1:]:
            self._take_end_to_end(turn, kind, report=False)
        for kind in self._settings.kinds:
            rate = reading_rate(self._files[kind], workers=self._engine.workers)
            self._reading[kind].append(rate)
            self._tell(f"{turn}reading {kind}: {rate:.1f} a second")

    def to_parts(self) -> dict[str, Any]:
        """Measure what is measured once, and sum up."""
        self._tell("memory")
        memory = [self._run(some, with_memory=True) for some in (self._files[self._first], self._all_files)]
        self._tell("stages")
        with tempfile.TemporaryDirectory(dir=self._results) as output:
            stages = stage_costs(self._files[self._first][:_STAGE_FILES], self._bundle, Path(output))
        others = other_tools(
            self._files[self._first][: self._settings.stock_files],
            device=self._predictor.device.type,
            threads=self._engine.cores,
        )
        parts: dict[str, Any] = {
            "network": {"images_per_s": median(self._network), "each": self._network},
            "end_to_end": [
                {
                    "kind": str(kind),
                    "report": report,
                    "images_per_s": median(one.images_per_s for one in runs),
                    "start_up_s": median(one.start_up_s for one in runs),
                    "closing_s": median(one.closing_s for one in runs),
                    "each": [one.images_per_s for one in runs],
                }
                for (kind, report), runs in self._end_to_end.items()
            ],
            "reading": [
                {"kind": str(kind), "images_per_s": median(rates), "each": rates}
                for kind, rates in self._reading.items()
            ],
            "stages": [asdict(one) for one in stages],
            "stock": self._stock_part(),
            "others": [asdict(one) for one in others],
            "memory": [{"files": one.files, "peak_bytes": one.peak_bytes} for one in memory],
        }
        parts["spent"] = spent(parts, self._engine, on_cpu=self._predictor.device.type == "cpu")
        parts["ratios"] = ratios(parts)
        return parts

    def _network_inputs(self) -> list[NDArray[np.float32]]:
        files = self._files[self._first][:4]
        prepare = self._predictor.processing.prepare
        return [np.asarray(prepare(read_radiograph(file))["image"], dtype=np.float32) for file in files]

    def _take_network(self, turn: str) -> None:
        rate = network_rate(self._predictor, self._inputs, self._engine, count=self._settings.count)
        self._network.append(rate)
        self._tell(f"{turn}network alone: {rate:.1f} a second")

    def _take_end_to_end(self, turn: str, kind: Kind, *, report: bool) -> None:
        ended = self._run(self._files[kind], report=report)
        self._end_to_end[kind, report].append(ended)
        self._tell(
            f"{turn}end to end, {kind}{', with report' if report else ''}: {ended.images_per_s:.1f} a second"
        )

    def _run(self, files: Sequence[Path], *, report: bool = False, with_memory: bool = False) -> EndToEnd:
        settings = self._settings
        output = self._results / "end-to-end"
        turned_down = shipped("sample_data") / "images" / "09_ct.dcm"
        call = Call(files, turned_down, output, settings.bundle, settings.device, settings.workers, report)
        try:
            return run_apart(call, with_memory=with_memory)
        finally:
            shutil.rmtree(output, ignore_errors=True)

    def _take_stock(self, turn: str) -> None:
        for count in self._stock_counts():
            with tempfile.TemporaryDirectory(dir=self._results) as folder:
                seconds = stock_seconds(
                    self._bundle,
                    self._files[self._first][:count],
                    Path(folder),
                    device=self._settings.device,
                )
            self._stock[count].append(seconds)
            self._tell(f"{turn}monai.bundle run, {count} files: {seconds:.1f} s")

    def _stock_counts(self) -> tuple[int, int]:
        return 1, min(self._settings.stock_files, self._settings.count)

    def _stock_part(self) -> dict[str, Any]:
        few, many = self._stock_counts()
        seconds = {count: median(times) for count, times in self._stock.items()}
        rate = rate_between(few, seconds[few], many, seconds[many])
        return {
            "images_per_s": rate,
            "start_up_s": None if rate is None else max(0.0, seconds[few] - few / rate),
            "files": [few, many],
            "seconds": [seconds[few], seconds[many]],
        }


def _described(settings: Settings) -> dict[str, Any]:
    return {**vars(settings), "kinds": [str(kind) for kind in settings.kinds]}


def _load() -> float | None:
    """Processes that want a core, the average of the last minute; None where the system does not tell."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else None


def _machine(device: torch.device, engine: Resources, load: float | None) -> dict[str, Any]:
    return {
        "cpu": device_name(torch.device("cpu")),
        "device": device_name(device),
        "precision": best_precision(device),
        **asdict(engine),
        "load_before": load,
        "platform": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        **{package: version(package) for package in ("lungfield", "torch", "monai")},
    }
