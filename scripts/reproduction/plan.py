"""The declarations of experiments.yaml, and their runs: folders, progress and commands."""

from __future__ import annotations

import csv
import json
import re
import sys
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

import yaml

from lungfield.atomic import write_whole
from lungfield.bundles import shipped
from lungfield.datasets.data_list import read_list
from lungfield.datasets.layout import LIST_NAME, SECTIONS
from lungfield.datasets.splits import split_by_ratio
from lungfield.errors import LungfieldError
from lungfield.mask.metrics import METRICS

ALL = "all"
MODES = ("full", "quick")
EXPERIMENTS_FILE = Path(__file__).with_name("experiments.yaml")

_CHECKPOINT = re.compile(r"checkpoint_epoch=(\d+)\.pt")


class PlanError(LungfieldError):
    """experiments.yaml, a request for it, or the state of a run is invalid."""


@dataclass(frozen=True)
class Variant:
    """A network to train: a bundle, with overrides. experiments.yaml explains the entries."""

    name: str
    bundle: str
    label: str
    colour: str
    overrides: Mapping[str, Any] = field(default_factory=dict)
    encoder: bool = False
    input_of: str = ""

    @property
    def configs(self) -> Path:
        """The folder of the bundle's configs."""
        return shipped("bundles") / self.bundle / "configs"


@dataclass(frozen=True)
class Recipe:
    """How networks are trained. experiments.yaml explains the entries."""

    name: str
    label: str
    stages: Sequence[Mapping[str, Any]]
    config_of: str = ""
    split: Sequence[int] = ()
    pretrained: bool | str = True

    def configs(self, variant: Variant) -> list[Path]:
        """The configs that a variant is trained with, later ones laid over earlier ones."""
        paper = [shipped("bundles") / self.config_of / "configs" / "paper.yaml"] if self.config_of else []
        return [variant.configs / "train.yaml", *paper]

    def settings(self, variant: Variant, number: int) -> dict[str, Any]:
        """All settings of stage `number` (from 1), the stage's own laid over those of the configs."""
        layers = [yaml.safe_load(path.read_text(encoding="utf-8")) for path in self.configs(variant)]
        return {key: value for one in (*layers, self.stages[number - 1]) for key, value in one.items()}


@dataclass(frozen=True)
class Experiment:
    """An experiment with several runs. experiments.yaml explains the entries."""

    name: str
    title: str
    recipe: Mapping[str, str]
    variants: Sequence[str]
    measure: Sequence[Mapping[str, Any]]
    metrics: Sequence[str]
    seeds: Mapping[str, int] = field(default_factory=dict)
    compare: Sequence[str] = ("dice",)
    paper: Mapping[str, Any] = field(default_factory=dict)
    pooled: bool = False
    cost: bool = False


@dataclass(frozen=True)
class Run:
    """A variant trained by a recipe on the set `train` with a seed, to be measured on the sets `tests`."""

    recipe: Recipe
    variant: Variant
    train: str
    seed: int
    output: Path
    tests: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        """Its folder below `output`."""
        return f"{self.recipe.name}/{self.variant.name}/{self.train}/seed-{self.seed}"

    @property
    def folder(self) -> Path:
        """Its folder."""
        return self.output / self.name

    @property
    def stages(self) -> range:
        """The numbers of its stages, from 1."""
        return range(1, len(self.recipe.stages) + 1)

    def stage(self, number: int) -> Path:
        """The folder of a stage."""
        return self.folder / f"stage-{number}"

    def evaluation(self, dataset: str) -> Path:
        """The folder of its figures on a set's test section."""
        return self.folder / f"evaluation-{dataset}"

    def epochs(self, number: int) -> int:
        """The number of epochs of a stage."""
        return self.recipe.settings(self.variant, number)["max_epochs"]

    def checkpoint(self, number: int) -> tuple[int, Path | None]:
        """The epoch and the path of the last complete checkpoint of a stage; 0 and None without one."""
        found = [
            (int(match[1]), path)
            for path in self.stage(number).glob("*.pt")
            # A process that was killed while writing leaves an incomplete archive, without its final table.
            if (match := _CHECKPOINT.fullmatch(path.name)) and zipfile.is_zipfile(path)
        ]
        return max(found, default=(0, None))

    def trained(self, number: int) -> bool:
        """Whether a stage is finished: the weights after its last epoch are there."""
        return self.checkpoint(number)[0] == self.epochs(number)

    def evaluated(self, dataset: str) -> bool:
        """Whether the figures on a set are there; their summary is written last."""
        return (self.evaluation(dataset) / "summary.json").is_file()

    @property
    def finished(self) -> bool:
        """Whether nothing is left to do."""
        return all(map(self.trained, self.stages)) and all(map(self.evaluated, self.tests))

    def options(self, number: int) -> dict[str, Any]:
        """The declared options of a stage."""
        encoder = {"pretrained": self.recipe.pretrained} if self.variant.encoder else {}
        return {**encoder, **self.recipe.stages[number - 1], **self.variant.overrides}

    def check(self) -> None:
        """Check that existing results were trained as the experiment is declared now.

        Raises:
            PlanError: they were not; results of two recipes must not be mixed under one name.
        """
        for number in self.stages:
            path = self.stage(number) / "declared.json"
            if path.is_file() and json.loads(path.read_text(encoding="utf-8")) != self.options(number):
                raise PlanError(
                    f"{self.stage(number)} was not trained as it is declared now; see {path.name} there. "
                    f"Delete {self.folder} to train it again, or restore the declaration."
                )

    def commands(self, sets: Path, device: str) -> Iterator[tuple[str, Path, list[str]]]:
        """The missing commands in order; each must have ended before the next is requested.

        A stage resumes from its last checkpoint, or starts from the end of the stage before. `sets` is the
        folder of the sets, in the recipe's split.

        Yields:
            The description of a command, the folder that it writes to, and its arguments.

        Raises:
            PlanError: a training ended before its last epoch.
        """
        for number in self.stages:
            folder, (done, checkpoint) = self.stage(number), self.checkpoint(number)
            if not self.trained(number):
                options = self.options(number) | {
                    "dataset_dir": sets if self.train == ALL else sets / self.train,
                    "output_dir": folder,
                    "seed": self.seed,
                    # The weights at the end of the schedule are measured: no choice on the validation images.
                    "early_stop_patience": self.epochs(number),
                }
                what = f"stage {number} of {len(self.stages)}, {self.epochs(number)} epochs"
                if checkpoint is not None:
                    options["resume_from"] = checkpoint
                    what += f", resumed after {done}"
                elif number > 1:
                    options["initial_weights"] = self.checkpoint(number - 1)[1]
                write_whole(folder / "declared.json", json.dumps(self.options(number)).encode())
                yield what, folder, self._words("training", [], options, device)
                if not self.trained(number):
                    raise PlanError(f"{folder} ended before its last epoch; see run.log there.")
            for path in folder.glob("checkpoint_epoch=*.pt"):
                if path != self.checkpoint(number)[1]:
                    path.unlink()
        settings = self.recipe.settings(self.variant, self.stages[-1])
        for dataset in (name for name in self.tests if not self.evaluated(name)):
            options = dict(self.variant.overrides) | {
                "dataset_dir": sets / dataset,
                "section": "test",
                "output_dir": self.evaluation(dataset),
                "checkpoint": self.checkpoint(self.stages[-1])[1],
                "image_size": settings["image_size"],
                "num_workers": settings.get("num_workers", 0),
            }
            words = self._words("evaluating", [self.variant.configs / "evaluate.yaml"], options, device)
            yield f"measuring on {dataset}", self.evaluation(dataset), words

    def _words(self, action: str, more: list[Path], options: dict[str, Any], device: str) -> list[str]:
        files = [str(path) for path in (*self.recipe.configs(self.variant), *more)]
        if device != "auto":
            options["device"] = f"$torch.device('{device}')"
        words = [sys.executable, "-W", "ignore", "-m", "monai.bundle", "run", action]
        words += ["--config_file", str(files)]
        for key, value in options.items():
            words += [f"--{key}", str(value.absolute() if isinstance(value, Path) else value)]
        return words


@dataclass(frozen=True)
class Plan:
    """All declarations, by name. experiments.yaml explains the entries."""

    sets: Mapping[str, str]
    variants: Mapping[str, Variant]
    recipes: Mapping[str, Recipe]
    experiments: Mapping[str, Experiment]
    seeds: Mapping[str, int] = field(default_factory=lambda: dict.fromkeys(MODES, 1))

    def select(self, names: Sequence[str]) -> list[Experiment]:
        """The experiments of these names, or all.

        Raises:
            PlanError: a name does not exist.
        """
        for name in names:
            if name not in self.experiments:
                raise PlanError(f"There is no experiment {name!r}. There are: {', '.join(self.experiments)}.")
        return [self.experiments[name] for name in names or self.experiments]

    def runs(self, only: Sequence[str], mode: str, output: Path, seeds: int | None = None) -> list[Run]:
        """The runs of the named experiments in a mode, each once, sorted by seed.

        `seeds`: how many, instead of what is declared. An experiment without a recipe for a mode needs none.
        """
        needed: dict[str, Run] = {}
        for experiment in (one for one in self.select(only) if mode in one.recipe):
            count = seeds or {**self.seeds, **experiment.seeds}[mode]
            for seed, one, name in product(range(count), experiment.measure, experiment.variants):
                recipe, variant = self.recipes[experiment.recipe[mode]], self.variants[name]
                run = Run(recipe, variant, one["train"], seed, output)
                run = needed.setdefault(run.name, run)
                run.tests.extend(test for test in one["test"] if test not in run.tests)
        for run in needed.values():
            run.check()
        # Networks can be compared as soon as each has its first seed; the sort keeps the order otherwise.
        return sorted(needed.values(), key=lambda run: run.seed)

    def check_sets(self, data: Path) -> None:
        """Make sure that a folder holds the declared sets and no others, which 'all' would train on too.

        Raises:
            PlanError: it does not.
        """
        there = {path.parent.name for path in data.glob(f"*/{LIST_NAME}")}
        if there != set(self.sets):
            raise PlanError(
                f"{data} must hold the prepared sets {', '.join(self.sets)} and no others; it holds "
                f"{', '.join(sorted(there)) or 'none'}. `lungfield prepare` makes them."
            )

    def split(self, run: Run, data: Path) -> Path:
        """The folder of the sets as a run's recipe splits them: lists that refer to the prepared images.

        All images are divided together, each set and each of its groups in the recipe's ratio. A seed always
        gives the same lists. A recipe without a split of its own takes `data` as it is.
        """
        if not run.recipe.split:
            return data
        folder = run.output / "splits" / "-".join(map(str, run.recipe.split)) / f"seed-{run.seed}"
        items: dict[str, dict[str, Any]] = {}
        for name in self.sets:
            content = read_list(data / name / LIST_NAME)
            for entry in (one for section in SECTIONS for one in content.get(section, [])):
                paths = {key: str((data / name / entry[key]).absolute()) for key in ("image", "label")}
                items[f"{name}/{entry['id']}"] = entry | paths
        groups = {key: f"{key.partition('/')[0]} {item.get('group')}" for key, item in items.items()}
        sections = split_by_ratio(groups, ":".join(map(str, run.recipe.split)), seed=run.seed)
        for name in self.sets:
            divided: dict[str, Any] = {"name": name}
            for section, keys in sections.items():
                divided[section] = [items[key] for key in keys if key.startswith(f"{name}/")]
            write_whole(folder / name / LIST_NAME, json.dumps(divided, indent=1).encode())
        return folder


def load_plan(path: Path) -> Plan:
    """Read a file of experiments.

    Raises:
        PlanError: it cannot be read, or something in it is missing or unknown; names the entry.
    """
    where = "the file"
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        for kind, made in (("variants", Variant), ("recipes", Recipe), ("experiments", Experiment)):
            for name, entry in content.get(kind, {}).items():
                where = f"{kind}.{name}"
                content[kind][name] = made(name=name, **entry)
        where = "the file"
        plan = Plan(**content)
    except (OSError, ValueError, TypeError, AttributeError, yaml.YAMLError) as error:
        raise PlanError(f"{path}, {where}: {' '.join(str(error).split())}") from error
    for name, variant in plan.variants.items():
        if not variant.configs.is_dir():
            raise PlanError(f"{path}, variants.{name}: there is no bundle {variant.bundle!r}.")
    for name, one in plan.experiments.items():
        sets = [folder for each in one.measure for folder in (each["train"], *each["test"])]
        for kind, names, known in (
            ("mode", one.recipe, MODES),
            ("recipe", one.recipe.values(), plan.recipes),
            ("variant", (*one.variants, *one.paper.get("claims", ())), plan.variants),
            ("metric", (*one.metrics, *one.compare), (*METRICS, "loss")),
            ("set", sets, (ALL, *plan.sets)),
        ):
            for unknown in set(names) - set(known):
                raise PlanError(f"{path}, experiments.{name}: there is no {kind} {unknown!r}.")
    return plan


def read_table(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV file; none where there is no file."""
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8-sig") as file:
        return list(csv.DictReader(file))
