"""Figures of how trainings went and what they led to, in the variants' colours."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from reproduction.plan import Variant, read_table
from reproduction.results import Results, Row

_STYLE = {
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e6e6e6",
    "legend.frameon": False,
    "savefig.dpi": 160,
}
_CURVES = {
    "loss": (
        "Loss of training and validation",
        {"train_loss": "training loss", "val_loss": "validation loss"},
    ),
    "overlap": (
        "Dice and IoU by epoch",
        {"val_mean_dice": "validation Dice", "val_mean_iou": "validation IoU"},
    ),
}
"""By the end of the file's name: what is drawn, and a panel for each column of history.csv."""


def draw(results: Results, rows: Sequence[Row], folder: Path) -> Iterator[tuple[Path, str]]:
    """Draw what there is into `folder`, and yield each file with what it shows."""
    folder.mkdir(parents=True, exist_ok=True)
    start = f"{results.experiment.name}-{results.recipe.name}"
    for train in results.trained_on:
        place = f"-{train}" if len(results.trained_on) > 1 else ""
        for kind, (what, columns) in _CURVES.items():
            path = folder / f"{start}{place}-{kind}.png"
            with mpl.rc_context(_STYLE):
                figure = Figure(figsize=(8.6, 4.3), layout="constrained")
                panels = figure.subplots(1, 2, sharex=True, sharey=kind == "loss")
                for panel, (column, label) in zip(panels, columns.items(), strict=True):
                    _curves(panel, results, train, column)
                    panel.set(xlabel="epoch", ylabel=label)
                handles, labels = panels[1].get_legend_handles_labels()
                if handles:
                    figure.legend(handles, labels, loc="outside lower center", ncols=4)
                    figure.suptitle(
                        f"{results.recipe.label}, trained on {results.set_name(train)}", fontsize=8
                    )
                    figure.savefig(path)
                    yield path, f"{what}, trained on {results.set_name(train)}"
    if any(row.images for row in rows):
        path = folder / f"{start}-dice.png"
        with mpl.rc_context(_STYLE):
            _test_dice(results, rows).savefig(path)
        yield path, "Dice of the test images"


def _curves(panel: Axes, results: Results, train: str, column: str) -> None:
    """A line a variant: mean over the seeds that reached an epoch, with their range."""
    for name in results.experiment.variants:
        by_epoch: dict[int, list[float]] = {}
        variant = results.plan.variants[name]
        for run in results.runs(name, train):
            before = 0
            for number in run.stages:
                for row in read_table(run.stage(number) / "history.csv"):
                    if row[column]:
                        by_epoch.setdefault(before + int(row["epoch"]), []).append(float(row[column]))
                before += run.epochs(number)
                if number < len(run.stages):
                    panel.axvline(before + 0.5, color="#bbbbbb", linewidth=0.8)
        epochs, values = sorted(by_epoch), [by_epoch[epoch] for epoch in sorted(by_epoch)]
        if epochs:
            panel.plot(epochs, list(map(np.mean, values)), color=variant.colour, label=variant.label)
            low, high = list(map(min, values)), list(map(max, values))
            panel.fill_between(epochs, low, high, color=variant.colour, alpha=0.15, linewidth=0)
    panel.xaxis.get_major_locator().set_params(integer=True)


def _test_dice(results: Results, rows: Sequence[Row]) -> Figure:
    """The spread of the Dice over test images, a panel a test; a line without a box was not measured."""
    places = list(dict.fromkeys(tuple(results.places(row)) for row in rows if row.images))
    variants: list[Variant] = [results.plan.variants[name] for name in results.experiment.variants]
    size = (4.6 * len(places) + 1.2, 0.36 * len(variants) + 1.3)
    figure = Figure(figsize=size, layout="constrained")
    panels = figure.subplots(1, len(places), squeeze=False, sharey=True)[0]
    for panel, place in zip(panels, places, strict=True):
        for row in (row for row in rows if row.images and tuple(results.places(row)) == place):
            panel.boxplot(
                [[one for images in row.by_image("dice").values() for one in images.values()]],
                positions=[variants.index(row.variant)],
                orientation="horizontal",
                widths=0.6,
                patch_artist=True,
                boxprops={"facecolor": row.variant.colour, "alpha": 0.5},
                medianprops={"color": "black"},
                flierprops={"marker": ".", "markersize": 4},
            )
        panel.set(title="trained on {}, tested on {}".format(*place), xlabel="Dice of a test image")
    panels[0].set_yticks(range(len(variants)), [one.label for one in variants])
    panels[0].set_ylim(len(variants) - 0.5, -0.5)
    figure.suptitle(results.recipe.label, fontsize=8)
    return figure
