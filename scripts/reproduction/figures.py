"""Figures of how trainings went and what they led to, in the variants' colours."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from reproduction.captions import METRIC_NAMES, set_name, tested_on
from reproduction.plan import Variant
from reproduction.results import Results
from reproduction.runs import read_history, stage_settings

_STYLE = {
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e6e6e6",
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "legend.frameon": False,
    "figure.dpi": 100,
    "savefig.dpi": 160,
}
_TRAINING = {"linestyle": (0, (4, 1.6)), "linewidth": 1.2, "alpha": 0.75}
_VALIDATION = {"linestyle": "-", "linewidth": 1.8}
_BOTH_UP_TO = 4
"""With more variants in one panel the curves of training are left out."""
_COLUMNS = 4


@dataclass(frozen=True)
class Curve:
    """A column of history.csv along the epochs of all stages: mean over seeds, smallest and largest."""

    epochs: np.ndarray
    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray


def save_loss_curves(results: Results, train: str, path: Path) -> bool:
    """Write a panel for each variant with its loss in training and validation; False where there is none."""
    variants = [results.plan.variants[name] for name in results.experiment.variants]
    if not any(_curve(results, one, train, "train_loss") for one in variants):
        return False
    columns = min(len(variants), _COLUMNS)
    rows = math.ceil(len(variants) / columns)
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(max(4.6, 2.6 * columns), 2.3 * rows + 0.9), layout="constrained")
        panels = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
        for panel, variant in zip(panels.flat, variants, strict=False):
            drawn = [
                _draw(panel, _curve(results, variant, train, f"{part}_loss"), variant.colour, style)
                for part, style in (("train", _TRAINING), ("val", _VALIDATION))
            ]
            panel.set_title(variant.label)
            panel.set_xlabel("epoch")
            panel.tick_params(labelbottom=True)
            if not any(drawn):
                panel.text(
                    0.5, 0.5, "not trained yet", transform=panel.transAxes, ha="center", color="#666666"
                )
            _mark_stages(panel, results, height=0.99)
        for panel in panels.flat[len(variants) :]:
            panel.set_visible(False)
        for panel in panels[:, 0]:
            panel.set_ylabel("loss")
            panel.set_ylim(bottom=0)
        _legend(figure, [], both=True)
        _title(figure, results, train)
        _save(figure, path)
    return True


def save_overlap_curves(results: Results, train: str, path: Path) -> bool:
    """Write Dice and IoU of each epoch, all variants together; False where there is nothing to draw."""
    variants = [
        one
        for name in results.experiment.variants
        if _curve(results, one := results.plan.variants[name], train, "val_mean_dice")
    ]
    if not variants:
        return False
    both = len(variants) <= _BOTH_UP_TO
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(8.6, 4.0 if both else 4.3), layout="constrained")
        for panel, metric in zip(figure.subplots(1, 2, sharex=True), ("dice", "iou"), strict=True):
            for variant in variants:
                if both:
                    curve = _curve(results, variant, train, f"train_mean_{metric}")
                    _draw(panel, curve, variant.colour, _TRAINING)
                _draw(
                    panel, _curve(results, variant, train, f"val_mean_{metric}"), variant.colour, _VALIDATION
                )
            panel.set_xlabel("epoch")
            panel.set_ylabel(METRIC_NAMES[metric] if both else f"{METRIC_NAMES[metric]} in validation")
            # Overlaps rise, so that there is room for words below.
            _mark_stages(panel, results, height=0.05)
        _legend(figure, variants, both=both)
        _title(figure, results, train)
        _save(figure, path)
    return True


def save_test_dice(results: Results, path: Path) -> bool:
    """Write the spread of the Dice over test images, a panel a test; False where nothing was measured."""
    rows = [row for row in results.rows if row.images]
    if not rows:
        return False
    places = list(dict.fromkeys((row.train, row.test) for row in rows))
    with mpl.rc_context(_STYLE):
        height = 0.36 * len(results.experiment.variants) + 1.3
        figure = Figure(figsize=(4.6 * len(places) + 1.2, height), layout="constrained")
        panels = figure.subplots(1, len(places), squeeze=False, sharey=True)[0]
        for panel, place in zip(panels, places, strict=True):
            shown = {row.variant.name: row for row in rows if (row.train, row.test) == place}
            for position, name in enumerate(results.experiment.variants):
                if name not in shown:
                    panel.text(
                        0.02, position, "not measured yet", transform=panel.get_yaxis_transform(), va="center"
                    )
                    continue
                values = [one for seed in shown[name].by_image("dice").values() for one in seed.values()]
                colour = shown[name].variant.colour
                panel.boxplot(
                    [values],
                    positions=[position],
                    orientation="horizontal",
                    widths=0.6,
                    patch_artist=True,
                    boxprops={"facecolor": colour, "alpha": 0.35, "edgecolor": colour},
                    medianprops={"color": colour, "linewidth": 2},
                    whiskerprops={"color": colour},
                    capprops={"color": colour},
                    flierprops={"marker": ".", "markersize": 4, "markeredgecolor": colour, "alpha": 0.6},
                )
            row = next(iter(shown.values()))
            panel.set_title(
                f"trained on {set_name(results.plan, row.train)}, tested on {tested_on(results.plan, row)}"
            )
            panel.set_xlabel("Dice of a test image")
            panel.grid(axis="y", visible=False)
        labels = [results.plan.variants[name].label for name in results.experiment.variants]
        panels[0].set_yticks(range(len(labels)), labels)
        panels[0].set_ylim(len(labels) - 0.5, -0.5)
        figure.suptitle(results.plan.recipes[results.recipe].label, fontsize=8, color="#444444")
        _save(figure, path)
    return True


def _curve(results: Results, variant: Variant, train: str, column: str) -> Curve | None:
    """A column over the seeds that have it, each epoch over those that reached it."""
    by_epoch: dict[int, list[float]] = {}
    for run in results.runs(variant.name, train):
        before = 0
        for number, folder in enumerate(
            (run.folder / f"stage-{n + 1}" for n in range(len(run.recipe.stages))), 1
        ):
            for row in read_history(folder):
                if column in row:
                    by_epoch.setdefault(before + int(row["epoch"]), []).append(row[column])
            before += stage_settings(run.recipe, variant, number)["max_epochs"]
    if not by_epoch:
        return None
    epochs = sorted(by_epoch)
    values = [by_epoch[epoch] for epoch in epochs]
    return Curve(
        np.array(epochs),
        np.array([np.mean(one) for one in values]),
        np.array([min(one) for one in values]),
        np.array([max(one) for one in values]),
    )


def _draw(panel: Axes, curve: Curve | None, colour: str, style: dict[str, object]) -> bool:
    if curve is None:
        return False
    marker = "." if len(curve.epochs) <= 20 else ""
    panel.plot(curve.epochs, curve.mean, color=colour, marker=marker, markersize=4, **style)
    if not np.array_equal(curve.low, curve.high):
        panel.fill_between(curve.epochs, curve.low, curve.high, color=colour, alpha=0.15, linewidth=0)
    return True


def _mark_stages(panel: Axes, results: Results, *, height: float) -> None:
    """A thin line where a stage ends and the next begins, with the size of each at a height in [0, 1]."""
    recipe = results.plan.recipes[results.recipe]
    variant = results.plan.variants[results.experiment.variants[0]]
    ends, sizes = [0], []
    for number in range(1, len(recipe.stages) + 1):
        settings = stage_settings(recipe, variant, number)
        ends.append(ends[-1] + settings["max_epochs"])
        sizes.append("×".join(map(str, settings["image_size"])))
    panel.set_xlim(0.5, ends[-1] + 0.5)
    panel.xaxis.get_major_locator().set_params(integer=True)
    if len(sizes) == 1:
        return
    for end in ends[1:-1]:
        panel.axvline(end + 0.5, color="#888888", linewidth=0.8)
    for (start, end), size in zip(pairwise(ends), sizes, strict=True):
        panel.text(
            (start + end + 1) / 2,
            height,
            size,
            transform=panel.get_xaxis_transform(),
            ha="center",
            va="top",
            fontsize=7,
            color="#666666",
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 1},
        )


def _legend(figure: Figure, variants: Sequence[Variant], *, both: bool) -> None:
    handles = [Line2D([], [], color=one.colour, label=one.label, **_VALIDATION) for one in variants]
    if both:
        handles += [
            Line2D([], [], color="#555555", label="validation", **_VALIDATION),
            Line2D([], [], color="#555555", label="training", **_TRAINING),
        ]
    figure.legend(handles=handles, loc="outside lower center", ncols=min(len(handles), _COLUMNS))


def _title(figure: Figure, results: Results, train: str) -> None:
    seeds = {run.key.seed for name in results.experiment.variants for run in results.runs(name, train)}
    parts = [results.plan.recipes[results.recipe].label, f"trained on {set_name(results.plan, train)}"]
    if len(seeds) > 1:
        parts.append(f"mean and range of up to {len(seeds)} seeds")
    figure.suptitle(", ".join(parts), fontsize=8, color="#444444")


def _save(figure: Figure, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)
