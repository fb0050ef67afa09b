"""What there is to reproduce, as experiments.yaml declares it: sets, networks, recipes, claims, questions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lungfield.bundles import shipped
from lungfield.errors import LungfieldError

ALL = "all"
COST = "cost"
MODES = ("full", "quick")
EXPERIMENTS_FILE = Path(__file__).with_name("experiments.yaml")


class PlanError(LungfieldError):
    """experiments.yaml, or what was asked of it, makes no sense."""


@dataclass(frozen=True)
class Variant:
    """A network to train: a bundle, with changes.

    Attributes:
        name: its folder below a recipe.
        bundle: the bundle's name.
        label: its name in tables and figures.
        colour: of its lines, the same in every figure.
        overrides: entries of the bundle's train.yaml that differ, by path.
        encoder: whether its encoder can start from ImageNet weights.
        input_of: the recipe whose input size is its paper's; empty where there is none.
    """

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
    """How networks are trained.

    Attributes:
        name: its folder in the output.
        label: its name in captions.
        stages: for each stage the entries of train.yaml that differ.
        config_of: the bundle whose paper.yaml is laid over train.yaml; empty for none.
        split: training, validation and test in relation to each other, over all sets together; empty for
            the sets' own split.
    """

    name: str
    label: str
    stages: tuple[Mapping[str, Any], ...]
    config_of: str = ""
    split: tuple[int, ...] = ()

    @property
    def config(self) -> Path | None:
        """The paper's config, or None."""
        return shipped("bundles") / self.config_of / "configs" / "paper.yaml" if self.config_of else None


@dataclass(frozen=True)
class Paper:
    """What a paper claims: metrics by variant, ratios in [0, 1], with what there is to say of them."""

    citation: str
    claims: Mapping[str, Mapping[str, float]]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Measurement:
    """Trained on `train` (a set, or 'all'), measured on the test sections of the sets `test`."""

    train: str
    test: tuple[str, ...]


@dataclass(frozen=True)
class Experiment:
    """A question that several runs answer together.

    Attributes:
        name: what --only takes.
        title: its heading.
        recipes: the recipe's name by mode.
        variants: names; the first is what others are compared with.
        measure: which runs are measured on what.
        metrics: columns of the table, of `lungfield.mask.metrics` or 'loss'.
        seeds: how many, by mode.
        compare: metrics that the variants are compared by.
        paper: name of the paper whose claims stand beside the figures; empty for none.
        pooled: whether the test images of a measurement make one row, not one a set.
        cost: whether parameters and times stand in the table.
        pictures: variants that the grid of radiographs shows.
    """

    name: str
    title: str
    recipes: Mapping[str, str]
    variants: tuple[str, ...]
    measure: tuple[Measurement, ...]
    metrics: tuple[str, ...]
    seeds: Mapping[str, int]
    compare: tuple[str, ...] = ("dice",)
    paper: str = ""
    pooled: bool = False
    cost: bool = False
    pictures: tuple[str, ...] = ()


@dataclass(frozen=True)
class CostSettings:
    """How the networks' cost is measured: side lengths in pixels, untimed and timed calls."""

    title: str
    common_size: tuple[int, int]
    warmups: int
    repeats: int


@dataclass(frozen=True)
class Plan:
    """All that is declared; `sets` are folders with their names in tables."""

    sets: Mapping[str, str]
    variants: Mapping[str, Variant]
    recipes: Mapping[str, Recipe]
    papers: Mapping[str, Paper]
    experiments: Mapping[str, Experiment]
    cost: CostSettings | None

    def select(self, names: Sequence[str]) -> tuple[list[Experiment], CostSettings | None]:
        """The experiments of these names, or all, and how to measure the cost where they ask for it.

        Args:
            names: of experiments; 'cost' for the cost alone; none for all there is.

        Raises:
            PlanError: there is none of a name.
        """
        known = [*self.experiments, *([COST] if self.cost else [])]
        unknown = [name for name in names if name not in known]
        if unknown:
            raise PlanError(f"There is no experiment {unknown[0]!r}. There are: {', '.join(known)}.")
        chosen = [one for name, one in self.experiments.items() if not names or name in names]
        wanted = not names or COST in names or any(one.cost for one in chosen)
        return chosen, self.cost if wanted else None
