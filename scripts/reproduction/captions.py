"""What tables and figures say of themselves: recipes, conditions, rules and what is missing, in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lungfield.mask.metrics import DISTANCES
from reproduction.plan import ALL, Plan
from reproduction.results import Results, Row
from reproduction.runs import stage_settings

#: Stands where nothing was measured.
MISSING = "–"
METRIC_NAMES = {
    "dice": "Dice",
    "iou": "IoU",
    "mean_iou": "mean IoU",
    "accuracy": "accuracy",
    "precision": "precision",
    "recall": "recall",
    "hd95": "HD95",
    "assd": "ASSD",
    "loss": "loss",
}
#: How the curves by epoch came about.
CURVES = (
    "Curves: training is the mean over an epoch, while the weights change and under the recipe's "
    "augmentation; validation is measured at its end, without. What is tested are the weights after the "
    "last epoch."
)
#: When a difference is called one.
DIFFERENCE_RULE = (
    "A difference is called one only where, over three seeds or more, that of the means exceeds the seeds' "
    "spread √(sd_a² + sd_b²), the standard deviation of the difference of two single runs. The interval is a "
    "paired bootstrap over the test images (95 %, 2000 resamples): it speaks of the images, not of the seeds."
)


def caption(results: Results) -> str:
    """What the table shows and how it came about, and what is missing in it."""
    experiment, plan = results.experiment, results.plan
    paper = plan.papers.get(experiment.paper)
    parts = [f"**{recipe_text(results)}.**"]
    if paper and not plan.recipes[results.recipe].config_of:
        parts.append("This is not the paper's recipe, and its figures cannot bear out or refute the paper's.")
    trained = list(dict.fromkeys(set_name(plan, row.train) for row in results.rows))
    tested = list(dict.fromkeys(tested_on(plan, row) for row in results.rows))
    parts.append(
        f"Trained on {' or '.join(trained)}; measured on the test images of {' and of '.join(tested)} "
        "at their prepared size, after post-processing."
    )
    parts.append(
        "Mean ± standard deviation, over seeds where there are several (of each seed's mean over the "
        "images), else over images: see the column '± over'."
    )
    undefined = sum(
        _undefined(row, metric)
        for row in results.rows
        for metric in experiment.metrics
        if metric in DISTANCES
    )
    if undefined:
        parts.append(f"{undefined} distances to an empty mask are not defined and left out.")
    if paper:
        notes = " ".join(paper.notes)
        parts.append(f"The paper's figures are claims on its own data: {paper.citation}. {notes}".strip())
    missing = missing_text(results)
    if missing:
        parts.append(missing)
    return " ".join(parts)


def missing_text(results: Results) -> str:
    """Which rows have nothing, in a sentence; empty where all have something."""
    plan = results.plan
    names = [
        f"{row.variant.label}, {set_name(plan, row.train)} → {tested_on(plan, row)}"
        for row in results.rows
        if not row.images
    ]
    return f"Not measured yet ({MISSING}): {'; '.join(names)}." if names else ""


def recipe_text(results: Results) -> str:
    """The recipe in words, from the configs that it is run by."""
    recipe = results.plan.recipes[results.recipe]
    variant = results.plan.variants[results.experiment.variants[0]]
    stages = []
    for number in range(1, len(recipe.stages) + 1):
        settings = stage_settings(recipe, variant, number)
        rows, columns = settings["image_size"]
        parts = [f"{rows}×{columns}", f"{settings['max_epochs']} epochs"]
        parts += [f"batch {settings['batch_size']}"] if "batch_size" in settings else []
        parts += [f"learning rate {settings['learning_rate']}"] if "learning_rate" in settings else []
        stages.append(", ".join(parts))
    text = f"{recipe.label[0].upper()}{recipe.label[1:]}: {'; then '.join(stages)}"
    if recipe.split:
        text += f"; split {':'.join(map(str, recipe.split))} of all images, another for each seed"
    return text


def timing_text(plan: Plan, costs: Mapping[str, Any]) -> str:
    """How the times were measured, in words."""
    timed = [
        f"{name}: {one['repeats']} repeats at {one['size'].replace('x', '×')}"
        + (f", {one['threads']} thread{'s' * (one['threads'] > 1)}" if one["threads"] else "")
        + f", torch {one['torch']}"
        for name, one in costs["timings"].items()
    ]
    if not timed:
        return "No times yet."
    first = next(iter(plan.variants.values())).label
    return (
        "Times for one image in single precision, the networks in turn so that other work on the machine "
        f"slows all alike: median, and median of the times relative to {first} in the same turn. "
        f"{'; '.join(timed)}."
    )


def set_name(plan: Plan, name: str) -> str:
    """A set's name in tables."""
    return " + ".join(plan.sets.values()) if name == ALL else plan.sets[name]


def tested_on(plan: Plan, row: Row) -> str:
    """The names of the sets that a row was tested on."""
    return " + ".join(plan.sets[one] for one in row.test)


def network_name(row: Row) -> str:
    """The variant's name, with what its encoder started from."""
    return f"{row.variant.label}, {row.encoder}" if row.encoder else row.variant.label


def _undefined(row: Row, metric: str) -> int:
    return sum(not one.get(metric) for images in row.images.values() for one in images.values())
