"""Tables and figures of the results, from the runs' files; docs/results.md explains them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from lungfield.atomic import write_whole
from lungfield.export import write_results_csv
from lungfield.labels import LUNGS
from lungfield.mask.metrics import DISTANCES, METRICS
from reproduction.plan import ALL, MODES, Experiment, Plan, PlanError, Recipe, Run, Variant, read_table

MISSING = "–"
"""The text for a missing value."""

_METRIC_NAMES = {"dice": "Dice", "iou": "IoU", "mean_iou": "mean IoU", "hd95": "HD95", "assd": "ASSD"}
_RESAMPLES = 2000
_LEAST_SEEDS = 3
_CURVES = {
    "train_loss": "training loss",
    "val_loss": "validation loss",
    "val_mean_dice": "Dice of validation",
    "val_mean_iou": "IoU of validation",
}
"""Columns of history.csv that are drawn, and their titles."""


@dataclass(frozen=True)
class Row:
    """The results of a variant that was trained on `train`, on the test sections of the sets `test`.

    `images` holds for each finished seed, by (set, id), a mapping of metric to value for each image.
    """

    variant: Variant
    train: str
    test: Sequence[str]
    images: Mapping[int, Mapping[tuple[str, str], Mapping[str, str]]]

    def spread_over(self) -> str:
        """The population of the standard deviations, as text; empty without results."""
        if len(self.images) > 1:
            return f"{len(self.images)} seeds"
        return "".join(f"{len(images)} images" for images in self.images.values())

    def values(self, metric: str) -> dict[int, dict[tuple[str, str], float]]:
        """The values of a metric by seed and image, without images for which it is undefined."""
        found = {
            seed: {image: float(row[metric]) for image, row in rows.items() if row.get(metric)}
            for seed, rows in self.images.items()
        }
        return {seed: values for seed, values in found.items() if values}

    def figure(self, metric: str) -> tuple[float, float, str] | None:
        """Mean, sample standard deviation and unit over seeds, or over the images of a single seed.

        None without values, or if millimetres would be mixed with pixels; the deviation of a single value is
        NaN.
        """
        is_distance = metric.endswith(tuple(DISTANCES))
        units = {row["distance_unit"] for rows in self.images.values() for row in rows.values()}
        by_seed = [[*values.values()] for values in self.values(metric).values()]
        if not by_seed or (is_distance and len(units) != 1):
            return None
        values = list(map(fmean, by_seed)) if len(self.images) > 1 else by_seed[0]
        return fmean(values), _deviation(values), units.pop() if is_distance else ""


def _deviation(values: Sequence[float]) -> float:
    return stdev(values) if len(values) > 1 else float("nan")


def difference(row: Row, baseline: Row, metric: str) -> dict[str, str]:
    """The difference of a row from the baseline, over their common seeds, as cells of a table.

    A difference is claimed if, over three seeds or more, it exceeds the standard deviation by which two
    single runs would differ. The interval is a paired bootstrap over the images.
    """
    ours, theirs = row.values(metric), baseline.values(metric)
    seeds = sorted(ours.keys() & theirs.keys())
    paired: dict[tuple[str, str], list[float]] = {}
    for seed in seeds:
        for image in sorted(ours[seed].keys() & theirs[seed].keys()):
            paired.setdefault(image, []).append(ours[seed][image] - theirs[seed][image])
    if not paired:
        return {"difference": MISSING}
    a, b = ([fmean(one[seed].values()) for seed in seeds] for one in (ours, theirs))
    mean, spread = fmean(a) - fmean(b), float(np.hypot(_deviation(a), _deviation(b)))
    if len(seeds) < _LEAST_SEEDS:
        verdict = "one seed: no claim" if len(seeds) == 1 else f"{len(seeds)} seeds: no claim"
    elif abs(mean) <= spread:
        verdict = "no difference beyond the seeds' spread"
    else:
        verdict = "higher" if mean > 0 else "lower"
    values = np.array(list(map(fmean, paired.values())))
    draws = np.random.default_rng(0).integers(values.size, size=(_RESAMPLES, values.size))
    low, high = np.percentile(values[draws].mean(axis=1), (2.5, 97.5))
    return {
        "difference": f"{mean:+.4f}",
        "seeds' spread": MISSING if np.isnan(spread) else f"{spread:.4f}",
        "seeds": str(len(seeds)),
        "verdict": verdict,
        "interval over images": f"{low:+.4f} to {high:+.4f}",
    }


@dataclass(frozen=True)
class Results:
    """The results of an experiment under a recipe; `output` is the folder of all runs."""

    plan: Plan
    experiment: Experiment
    recipe: Recipe
    output: Path

    def runs(self, variant: str, train: str) -> list[Run]:
        """The runs of a variant that have a folder, by seed."""
        folders = (self.output / self.recipe.name / variant / train).glob("seed-*")
        seeds = sorted(int(path.name.removeprefix("seed-")) for path in folders)
        runs = [Run(self.recipe, self.plan.variants[variant], train, seed, self.output) for seed in seeds]
        for run in runs:
            run.check()
        return runs

    def rows(self) -> list[Row]:
        """A row for each variant on each test, including those without results."""
        rows = []
        for one in self.experiment.measure:
            for test in [one["test"]] if self.experiment.pooled else [[name] for name in one["test"]]:
                for name in self.experiment.variants:
                    images = {
                        run.seed: {
                            (dataset, row["id"]): row
                            for dataset in test
                            for row in read_table(run.evaluation(dataset) / "metrics.csv")
                        }
                        for run in self.runs(name, one["train"])
                        if all(map(run.evaluated, test))
                    }
                    rows.append(Row(self.plan.variants[name], one["train"], test, images))
        return rows

    def metrics(self, rows: Sequence[Row]) -> list[str]:
        """The experiment's metrics, then the same of each structure beside the lungs that was measured."""
        tables = [one for row in rows for images in row.images.values() for one in images.values()]
        columns = dict.fromkeys(name for one in tables for name, value in one.items() if value)
        structures = [name.removesuffix("_dice") for name in columns if name.endswith("_dice")]
        further = [name for name in structures if name not in {lung.name for lung in LUNGS}]
        of_each = [metric for metric in self.experiment.metrics if metric in METRICS]
        return [*self.experiment.metrics, *(f"{name}_{metric}" for name in further for metric in of_each)]

    def caption(self) -> str:
        """The description of how the results were obtained."""
        paper, stages = self.experiment.paper, []
        for number in range(1, len(self.recipe.stages) + 1):
            of = self.recipe.settings(self.plan.variants[self.experiment.variants[0]], number)
            size, rate = "×".join(map(str, of["image_size"])), of["learning_rate"]
            stages.append(
                f"{size}, {of['max_epochs']} epochs, batch {of['batch_size']}, learning rate {rate}"
            )
        parts = [f"**{self.recipe.label[0].upper()}{self.recipe.label[1:]}: {'; then '.join(stages)}.**"]
        if self.recipe.split:
            ratio = ":".join(map(str, self.recipe.split))
            parts.append(f"Split {ratio} of all images, another for each seed.")
        if paper and not self.recipe.config_of:
            parts.append("This is not the paper's recipe: it can neither confirm nor refute its figures.")
        if paper:
            parts.append(f"The paper's figures are claims on its own data: {paper['citation']}.")
        return " ".join([*parts, *paper.get("notes", [])])

    def tables(self) -> tuple[list[str], list[dict[str, Any]]]:
        """Tables in Markdown, and the same values unrounded as rows of a CSV file."""
        experiment, claims = self.experiment, self.experiment.paper.get("claims", {})
        lines, differences, records, rows = [], [], [], self.rows()
        metrics = self.metrics(rows)
        for row in rows:
            baseline = next(one for one in rows if (one.train, one.test) == (row.train, row.test))
            name, over, (trained, tested) = row.variant.label, row.spread_over(), self._places(row)
            if row.variant.encoder:
                name += f", {'ImageNet' if self.recipe.pretrained else 'random'} encoder weights"
            start = {"network": name, "trained on": trained, "tested on": tested}
            record = {"experiment": experiment.name, "recipe": self.recipe.name, "variant": row.variant.name}
            record |= {"trained_on": row.train, "tested_on": "+".join(row.test), "sd_over": over}
            measured, claimed = start | {"figures": "measured"}, {"figures": "the paper's"}
            if not claims:
                del measured["figures"]
            for metric in metrics:
                heading, figure = _heading(metric), row.figure(metric)
                measured[heading] = _figure_text(figure)
                claimed[heading] = str(claims.get(row.variant.name, {}).get(metric, MISSING))
                names = (metric, f"{metric}_sd", f"{metric}_unit")
                record |= zip(names, figure or (None, None, None), strict=True)
                if row is not baseline and metric in experiment.compare:
                    differences.append(start | {"metric": heading} | difference(row, baseline, metric))
            lines += [measured | {"± over": over or MISSING}, *([claimed] if claims else [])]
            records.append(record)
        parts = [markdown(lines)]
        if differences:
            parts += [f"Against {rows[0].variant.label}:", markdown(differences)]
        return parts, records

    def draw(self, folder: Path) -> Iterator[tuple[Path, str]]:
        """Draw the curves of the trainings and the Dice of the tests; yields each file with its title."""
        start = f"{self.experiment.name}-{self.recipe.name}"
        for train in dict.fromkeys(one["train"] for one in self.experiment.measure):
            figure = Figure(figsize=(8.6, 7), layout="constrained")
            panels = figure.subplots(2, 2, sharex=True).flat
            for panel, (column, label) in zip(panels, _CURVES.items(), strict=True):
                panel.set(ylabel=label, xlabel="epoch")
                for name in self.experiment.variants:
                    variant, curve = self.plan.variants[name], self._curve(name, train, column)
                    if curve:
                        mean, low, high = (list(map(of, curve.values())) for of in (fmean, min, max))
                        panel.plot([*curve], mean, color=variant.colour, label=variant.label)
                        panel.fill_between([*curve], low, high, color=variant.colour, alpha=0.15)
            handles, labels = figure.axes[0].get_legend_handles_labels()
            if handles:
                figure.legend(handles, labels, loc="outside lower center", ncols=4)
                what = f"Loss, Dice and IoU by epoch, trained on {self._set_names(train)}"
                yield _save(figure, folder / f"{start}-{train}-curves.png"), what
        if rows := [row for row in self.rows() if row.images]:
            figure = Figure(figsize=(8.6, 0.4 * len(rows) + 1), layout="constrained")
            panel = figure.subplots()
            boxes = panel.boxplot(
                [[one for images in row.values("dice").values() for one in images.values()] for row in rows],
                tick_labels=[f"{row.variant.label}, {' → '.join(self._places(row))}" for row in rows],
                orientation="horizontal",
                patch_artist=True,
            )
            for box, row in zip(boxes["boxes"], rows, strict=True):
                box.set(facecolor=row.variant.colour, alpha=0.5)
            panel.invert_yaxis()
            panel.set(xlabel="Dice of a test image")
            yield _save(figure, folder / f"{start}-dice.png"), "Dice of the test images"

    def _curve(self, variant: str, train: str, column: str) -> dict[int, list[float]]:
        """A column of history.csv by epoch, counted over all stages: the values of the seeds that have it."""
        by_epoch: dict[int, list[float]] = {}
        for run in self.runs(variant, train):
            before = 0
            for number in run.stages:
                for row in read_table(run.stage(number) / "history.csv"):
                    if row[column]:
                        by_epoch.setdefault(before + int(row["epoch"]), []).append(float(row[column]))
                before += run.epochs(number)
        return dict(sorted(by_epoch.items()))

    def _places(self, row: Row) -> tuple[str, str]:
        return self._set_names(row.train), self._set_names(*row.test)

    def _set_names(self, *names: str) -> str:
        return " + ".join(self.plan.sets[one] for one in (self.plan.sets if names == (ALL,) else names))


def _save(figure: Figure, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=160)
    return path


def _heading(metric: str) -> str:
    """What a column of a table is called: 'Dice', 'heart Dice'."""
    known = next((one for one in METRICS if metric.endswith(f"_{one}") and metric not in METRICS), metric)
    structure = metric.removesuffix(known).replace("_", " ")
    return structure + _METRIC_NAMES.get(known, known)


def _figure_text(figure: tuple[float, float, str] | None) -> str:
    if figure is None:
        return MISSING
    mean, sd, unit = figure
    digits = 2 if unit else 4
    return f"{mean:.{digits}f}{'' if np.isnan(sd) else f' ± {sd:.{digits}f}'} {unit}".strip()


def markdown(rows: Sequence[Mapping[str, str]]) -> str:
    """A table in Markdown; missing values are empty."""
    headings = list(dict.fromkeys(key for row in rows for key in row))
    lines = [headings, ["---"] * len(headings), *([row.get(key, "") for key in headings] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def write_report(plan: Plan, only: Sequence[str], output: Path, to: Path, figures: Path) -> Iterator[Path]:
    """Write a page and a CSV file into `to` for each experiment, and its figures; yields the paths.

    Raises:
        PlanError: there are no runs.
    """
    if not output.is_dir():
        raise PlanError(
            f"There are no runs in {output}. Give their folder with --output, or start with `run`."
        )
    costs = read_table(output / "cost.csv")
    for one in plan.select(only):
        parts, records = [f"## {one.title}"], []
        for recipe in (plan.recipes[one.recipe[mode]] for mode in MODES if mode in one.recipe):
            results = Results(plan, one, recipe, output)
            if any(results.runs(name, place["train"]) for name in one.variants for place in one.measure):
                tables, more = results.tables()
                parts, records = [*parts, results.caption(), *tables], records + more
                labels = [plan.variants[name].label for name in one.variants]
                if of_these := [row for row in costs if one.cost and row["network"] in labels]:
                    parts.append(markdown(of_these))
                for path, what in results.draw(figures):
                    parts.append(f"![{what}]({Path(os.path.relpath(path, to)).as_posix()})")
                    yield path
        yield from _write(to / one.name, parts if records else [*parts, "Nothing measured yet."], records)
    if costs and not only:
        yield from _write(to / "cost", ["## What the networks cost", markdown(costs)], costs)


def _write(path: Path, parts: Sequence[str], records: Sequence[Mapping[str, Any]]) -> Iterator[Path]:
    write_whole(page := path.with_suffix(".md"), ("\n\n".join(parts) + "\n").encode())
    yield page
    if records:
        columns = list(dict.fromkeys(name for one in records for name in one))
        write_results_csv(records, table := path.with_suffix(".csv"), columns=columns)
        yield table
