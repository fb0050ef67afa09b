"""The runs that experiments need, where they lie, and how far each has come, read from its files alone."""

from __future__ import annotations

import csv
import re
import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from reproduction.locks import is_locked
from reproduction.plan import Experiment, Plan, PlanError, Recipe, Variant

_CHECKPOINT = re.compile(r"checkpoint_epoch=(\d+)\.pt")


@dataclass(frozen=True, order=True)
class RunKey:
    """What tells one run from another, by names; `data` is what it is trained on."""

    recipe: str
    variant: str
    data: str
    seed: int

    def folder(self, output: Path) -> Path:
        """Where the run lies."""
        return output / self.recipe / self.variant / self.data / f"seed-{self.seed}"

    def __str__(self) -> str:
        return f"{self.recipe}/{self.variant}/{self.data}/seed-{self.seed}"


@dataclass(frozen=True)
class Stage:
    """One training of a run and how far it has come.

    Attributes:
        number: from 1.
        folder: its output.
        epochs: how many it is to have.
        epochs_done: how many rows its history has, never more than `epochs`.
        checkpoint: the last whole one, or None.
        checkpoint_epoch: the epoch of that one; 0 where there is none.
    """

    number: int
    folder: Path
    epochs: int
    epochs_done: int
    checkpoint: Path | None
    checkpoint_epoch: int

    @property
    def finished(self) -> bool:
        """Whether every epoch is in the history and the weights after the last one are there."""
        return self.epochs_done == self.epochs == self.checkpoint_epoch


@dataclass(frozen=True)
class Run:
    """A run, what is to be measured of it, and the experiments that ask for it."""

    key: RunKey
    recipe: Recipe
    variant: Variant
    folder: Path
    tests: tuple[str, ...]
    experiments: tuple[str, ...]

    @property
    def stages(self) -> list[Stage]:
        """Its trainings as they stand now."""
        return [read_stage(self, number) for number in range(1, len(self.recipe.stages) + 1)]

    @property
    def lock(self) -> Path:
        """The file that is locked while something works on the run."""
        return self.folder / ".lock"

    def evaluation(self, dataset: str) -> Path:
        """The folder of its figures on a set's test section."""
        return self.folder / f"evaluation-{dataset}"

    def is_evaluated(self, dataset: str) -> bool:
        """Whether those figures are there."""
        # The summary is written last.
        return all((self.evaluation(dataset) / name).is_file() for name in ("metrics.csv", "summary.json"))

    @property
    def finished(self) -> bool:
        """Whether nothing is left to do."""
        return all(stage.finished for stage in self.stages) and all(map(self.is_evaluated, self.tests))

    @property
    def running(self) -> bool:
        """Whether a process works on it at this moment."""
        return is_locked(self.lock)


def runs_of(
    plan: Plan, experiments: Sequence[Experiment], mode: str, output: Path, *, seeds: int | None = None
) -> list[Run]:
    """The runs that experiments need, each once, first seeds first.

    Args:
        plan: what is declared.
        experiments: those that are asked for; one without a recipe for this mode needs none.
        mode: 'full' or 'quick'.
        output: folder of all runs.
        seeds: how many, instead of what each experiment says.
    """
    tests: dict[RunKey, list[str]] = {}
    asked_by: dict[RunKey, list[str]] = {}
    for experiment in experiments:
        if mode not in experiment.recipes:
            continue
        for measurement in experiment.measure:
            for variant in experiment.variants:
                for seed in range(seeds or experiment.seeds[mode]):
                    key = RunKey(experiment.recipes[mode], variant, measurement.train, seed)
                    tests.setdefault(key, []).extend(measurement.test)
                    asked_by.setdefault(key, []).append(experiment.name)
    # Networks can be compared as soon as each has its first seed; the sort keeps the order otherwise.
    return [
        make_run(plan, key, output, tests=tests[key], experiments=asked_by[key])
        for key in sorted(tests, key=lambda key: key.seed)
    ]


def make_run(
    plan: Plan, key: RunKey, output: Path, *, tests: Iterable[str] = (), experiments: Iterable[str] = ()
) -> Run:
    """The run of a key."""
    return Run(
        key=key,
        recipe=plan.recipes[key.recipe],
        variant=plan.variants[key.variant],
        folder=key.folder(output),
        tests=tuple(dict.fromkeys(tests)),
        experiments=tuple(dict.fromkeys(experiments)),
    )


def read_stage(run: Run, number: int) -> Stage:
    """How far a stage has come.

    Raises:
        PlanError: it went further than the recipe goes, so that the recipe must have changed since.
    """
    folder = run.folder / f"stage-{number}"
    epochs = stage_settings(run.recipe, run.variant, number)["max_epochs"]
    found = [
        (int(match[1]), path)
        for path in folder.glob("*.pt")
        # A process that was ended while it wrote leaves half an archive, without the table at its end.
        if (match := _CHECKPOINT.fullmatch(path.name)) and zipfile.is_zipfile(path)
    ]
    epoch, checkpoint = max(found, default=(0, None))
    if epoch > epochs:
        raise PlanError(
            f"{folder} has {epoch} epochs and its recipe {run.recipe.name!r} {epochs}. Delete {run.folder} "
            "to train it anew, or put the recipe back as it was."
        )
    return Stage(number, folder, epochs, min(len(read_history(folder)), epochs), checkpoint, epoch)


def read_history(folder: Path) -> list[dict[str, float]]:
    """The rows of a stage's history.csv, columns without a value left out; empty where there is none."""
    path = folder / "history.csv"
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8-sig") as file:
        return [{name: float(value) for name, value in row.items() if value} for row in csv.DictReader(file)]


def seeds_on_disk(output: Path, recipe: str, variant: str, data: str) -> list[int]:
    """The seeds that there is a folder of, in order."""
    folders = (output / recipe / variant / data).glob("seed-*")
    return sorted(int(name) for folder in folders if (name := folder.name.removeprefix("seed-")).isdigit())


def stage_settings(recipe: Recipe, variant: Variant, number: int) -> dict[str, Any]:
    """The entries of a stage's configs, the stage's own laid over the paper's over the bundle's.

    Raises:
        PlanError: the paper's config is missing, or there is no usable size or number of epochs.
    """
    settings = dict(_read_config(variant.configs / "train.yaml"))
    if recipe.config is not None:
        settings |= _read_config(recipe.config)
    settings |= recipe.stages[number - 1]
    size = settings.get("image_size")
    if not (isinstance(settings.get("max_epochs"), int) and settings["max_epochs"] > 0):
        raise PlanError(f"recipes.{recipe.name}, stage {number}: max_epochs must be a whole number above 0.")
    if not (isinstance(size, list) and len(size) == 2 and all(isinstance(side, int) for side in size)):
        raise PlanError(f"recipes.{recipe.name}, stage {number}: image_size must be like [256, 256].")
    return settings


@cache
def _read_config(path: Path) -> dict[str, Any]:
    try:
        return dict(yaml.safe_load(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError, yaml.YAMLError) as error:
        raise PlanError(f"{path} is missing or no config: {' '.join(str(error).split())}.") from error
