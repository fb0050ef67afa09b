"""Figures that were measured, gathered from the runs' files: nothing here computes what was not."""

from __future__ import annotations

import csv
import json
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from lungfield.mask.metrics import DISTANCES
from reproduction.commands import encoder_start
from reproduction.plan import Experiment, Plan, PlanError, Variant
from reproduction.runs import Run, RunKey, make_run, read_history, seeds_on_disk

_RESAMPLES = 2000
_LEAST_SEEDS = 3


@dataclass(frozen=True)
class Figure:
    """A metric over seeds, where there are several, or else over the images of the one seed.

    Attributes:
        mean: arithmetic mean; over seeds that of each seed's mean over images.
        sd: sample standard deviation over the same; NaN for a single value.
        unit: 'mm' or 'px' for distances, else empty.
    """

    mean: float
    sd: float
    unit: str


@dataclass(frozen=True)
class Row:
    """What was measured of a variant, trained on one thing and tested on another.

    Attributes:
        variant: the network.
        train: what it was trained on.
        test: the sets whose test sections were pooled.
        images: for each finished seed a mapping of metric to value for each image, by (set, id).
        encoder: what the encoders started from, in words; empty where there is nothing to say.
    """

    variant: Variant
    train: str
    test: tuple[str, ...]
    images: dict[int, dict[tuple[str, str], dict[str, str]]]
    encoder: str

    @property
    def spread_over(self) -> str:
        """What the standard deviations are over, in words; empty where nothing was measured."""
        if not self.images:
            return ""
        if len(self.images) > 1:
            return f"{len(self.images)} seeds"
        return f"{len(next(iter(self.images.values())))} images"

    def by_image(self, metric: str) -> dict[int, dict[tuple[str, str], float]]:
        """The values of a metric by seed and image; images where it is undefined are left out."""
        return {
            seed: {image: float(row[metric]) for image, row in rows.items() if row.get(metric)}
            for seed, rows in self.images.items()
        }

    def by_seed(self, metric: str) -> dict[int, float]:
        """The mean over images by seed."""
        return {
            seed: statistics.fmean(values.values())
            for seed, values in self.by_image(metric).items()
            if values
        }

    def figure(self, metric: str) -> Figure | None:
        """A metric in short, or None where it was not measured or mixes millimetres with pixels."""
        units = {row["distance_unit"] for rows in self.images.values() for row in rows.values()}
        if metric in DISTANCES and len(units) != 1:
            return None
        values = list(self.by_seed(metric).values())
        if len(self.images) == 1 and values:
            values = list(next(iter(self.by_image(metric).values())).values())
        if not values:
            return None
        sd = statistics.stdev(values) if len(values) > 1 else float("nan")
        return Figure(statistics.fmean(values), sd, units.pop() if metric in DISTANCES else "")


@dataclass(frozen=True)
class Difference:
    """How a variant's metric differs from the baseline's.

    A difference is claimed where over three seeds or more the difference of the means is larger than
    sqrt(sd_a^2 + sd_b^2), the standard deviation by which two single runs would differ, sd being each
    network's standard deviation over its seeds.

    Attributes:
        mean: variant less baseline, over the seeds that both have.
        spread: as above; NaN for a single seed.
        seeds: how many both have.
        interval: 95 % interval of the mean over images, by a paired bootstrap over images; of the images it
            speaks, not of the seeds.
    """

    mean: float
    spread: float
    seeds: int
    interval: tuple[float, float] | None

    @property
    def verdict(self) -> str:
        """The claim, in words."""
        if self.seeds < _LEAST_SEEDS:
            return "one seed: no claim" if self.seeds == 1 else f"{self.seeds} seeds: no claim"
        if abs(self.mean) <= self.spread:
            return "no difference beyond the seeds' spread"
        return "higher" if self.mean > 0 else "lower"


def difference(row: Row, baseline: Row, metric: str) -> Difference | None:
    """Compare two rows over the seeds that both have; None where they share none."""
    ours, theirs = row.by_seed(metric), baseline.by_seed(metric)
    seeds = sorted(ours.keys() & theirs.keys())
    if not seeds:
        return None
    a, b = [ours[seed] for seed in seeds], [theirs[seed] for seed in seeds]
    spread = float(np.hypot(statistics.stdev(a), statistics.stdev(b))) if len(seeds) > 1 else float("nan")
    mean = statistics.fmean(a) - statistics.fmean(b)
    return Difference(mean, spread, len(seeds), _interval(row, baseline, metric, seeds))


def _interval(row: Row, baseline: Row, metric: str, seeds: Sequence[int]) -> tuple[float, float] | None:
    ours, theirs = row.by_image(metric), baseline.by_image(metric)
    paired: dict[tuple[str, str], list[float]] = {}
    for seed in seeds:
        for image in ours[seed].keys() & theirs[seed].keys():
            paired.setdefault(image, []).append(ours[seed][image] - theirs[seed][image])
    differences = np.array([statistics.fmean(values) for _, values in sorted(paired.items())])
    if differences.size < 2:
        return None
    draws = np.random.default_rng(0).integers(differences.size, size=(_RESAMPLES, differences.size))
    low, high = np.percentile(differences[draws].mean(axis=1), (2.5, 97.5))
    return float(low), float(high)


@dataclass(frozen=True)
class Results:
    """What there is of an experiment under one of its recipes.

    Attributes:
        plan: what is declared.
        experiment: which one.
        mode: 'full' or 'quick'.
        output: folder of all runs.
    """

    plan: Plan
    experiment: Experiment
    mode: str
    output: Path

    @property
    def recipe(self) -> str:
        """The recipe's name."""
        return self.experiment.recipes[self.mode]

    @cached_property
    def rows(self) -> list[Row]:
        """A row for each variant on each test, those with nothing measured too."""
        rows = []
        for measurement in self.experiment.measure:
            tests = [measurement.test] if self.experiment.pooled else [(one,) for one in measurement.test]
            for test in tests:
                for name in self.experiment.variants:
                    runs = self.runs(name, measurement.train)
                    images = {run.key.seed: found for run in runs if (found := _read_images(run, test))}
                    variant = self.plan.variants[name]
                    rows.append(Row(variant, measurement.train, test, images, _encoder(runs)))
        return rows

    def runs(self, variant: str, train: str) -> list[Run]:
        """The runs of a variant that there is a folder of."""
        return [
            make_run(self.plan, RunKey(self.recipe, variant, train, seed), self.output)
            for seed in seeds_on_disk(self.output, self.recipe, variant, train)
        ]

    @property
    def started(self) -> bool:
        """Whether there is anything: a figure, or an epoch of a training."""
        return any(row.images for row in self.rows) or any(
            read_history(run.folder / "stage-1")
            for train in self.trained_on
            for name in self.experiment.variants
            for run in self.runs(name, train)
        )

    @property
    def trained_on(self) -> list[str]:
        """What the variants are trained on, each once."""
        return list(dict.fromkeys(one.train for one in self.experiment.measure))


def _encoder(runs: Sequence[Run]) -> str:
    """What the encoders of a variant's runs started from, in words."""
    starts = {start for run in runs if (start := encoder_start(run)) is not None}
    if not starts:
        return ""
    if len(starts) > 1:
        return "mixed encoder weights"
    return "random encoder weights" if starts == {"false"} else "ImageNet encoder weights"


def _read_images(run: Run, test: Sequence[str]) -> dict[tuple[str, str], dict[str, str]]:
    """The rows of a run's metrics.csv by (set, id); empty unless all the sets were measured."""
    images = {}
    for dataset in test:
        if not run.is_evaluated(dataset):
            return {}
        path = run.evaluation(dataset) / "metrics.csv"
        with path.open(newline="", encoding="utf-8-sig") as file:
            images |= {(dataset, row["id"]): row for row in csv.DictReader(file)}
    return images


def cost_file(output: Path) -> Path:
    """Where the figures of cost lie."""
    return output / "cost.json"


def read_costs(output: Path) -> dict[str, Any]:
    """The figures of cost: `networks` by variant and `timings` by device, empty where nothing was measured.

    Raises:
        PlanError: the file is damaged.
    """
    path = cost_file(output)
    if not path.is_file():
        return {"networks": {}, "timings": {}}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return {"networks": dict(content["networks"]), "timings": dict(content["timings"])}
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise PlanError(f"{path} is damaged ({error}). Delete it and measure the cost again.") from error
