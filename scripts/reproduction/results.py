"""What was measured, gathered from the runs' files, and the pages that docs/results.md explains."""

from __future__ import annotations

import json
import os
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lungfield.atomic import write_whole
from lungfield.export import write_results_csv
from lungfield.mask.metrics import DISTANCES
from reproduction.plan import ALL, COST, MODES, Experiment, Plan, PlanError, Run, Variant, read_table

MISSING = "–"
"""Stands where nothing was measured."""
METRIC_NAMES = {"dice": "Dice", "iou": "IoU", "mean_iou": "mean IoU", "hd95": "HD95", "assd": "ASSD"}
"""Names of metrics in tables, where they are not those of the metrics."""

_RESAMPLES = 2000
_LEAST_SEEDS = 3


@dataclass(frozen=True)
class Row:
    """What was measured of a variant that was trained on `train`, on the test sections of the sets `test`.

    `images` holds for each finished seed, by (set, id), a mapping of metric to value for each image.
    """

    variant: Variant
    name: str
    train: str
    test: Sequence[str]
    images: Mapping[int, Mapping[tuple[str, str], Mapping[str, str]]]

    @property
    def spread_over(self) -> str:
        """What the standard deviations are over, in words; empty where nothing was measured."""
        if len(self.images) > 1:
            return f"{len(self.images)} seeds"
        return "".join(f"{len(images)} images" for images in self.images.values())

    def by_image(self, metric: str) -> dict[int, dict[tuple[str, str], float]]:
        """The values of a metric by seed and image; images where it is undefined are left out."""
        return {
            seed: {image: float(row[metric]) for image, row in rows.items() if row.get(metric)}
            for seed, rows in self.images.items()
        }

    def by_seed(self, metric: str) -> dict[int, float]:
        """The mean over images by seed."""
        images = self.by_image(metric)
        return {seed: statistics.fmean(values.values()) for seed, values in images.items() if values}

    def figure(self, metric: str) -> tuple[float, float, str] | None:
        """Mean, sample standard deviation and unit over seeds, or over the images where there is one seed.

        None where there is none, and where millimetres would be mixed with pixels; the deviation of a single
        value is NaN.
        """
        units = {row["distance_unit"] for rows in self.images.values() for row in rows.values()}
        values = list(self.by_seed(metric).values())
        if not values or (metric in DISTANCES and len(units) != 1):
            return None
        if len(self.images) == 1:
            values = [one for images in self.by_image(metric).values() for one in images.values()]
        return statistics.fmean(values), _deviation(values), units.pop() if metric in DISTANCES else ""


def difference(row: Row, baseline: Row, metric: str) -> dict[str, Any] | None:
    """How a row differs from the baseline, over the seeds that both have; None where they share none.

    Returns:
        `mean`; `spread`, the standard deviation by which two single runs would differ; `seeds`, how many;
        `verdict`, in words: a difference is claimed where over three seeds or more `mean` exceeds `spread`;
        and `interval`, of the mean over images (95 %, paired bootstrap), or None.
    """
    ours, theirs = row.by_seed(metric), baseline.by_seed(metric)
    seeds = sorted(ours.keys() & theirs.keys())
    if not seeds:
        return None
    a, b = [ours[seed] for seed in seeds], [theirs[seed] for seed in seeds]
    mean, spread = statistics.fmean(a) - statistics.fmean(b), float(np.hypot(_deviation(a), _deviation(b)))
    if len(seeds) < _LEAST_SEEDS:
        verdict = "one seed: no claim" if len(seeds) == 1 else f"{len(seeds)} seeds: no claim"
    elif abs(mean) <= spread:
        verdict = "no difference beyond the seeds' spread"
    else:
        verdict = "higher" if mean > 0 else "lower"
    ours, theirs = row.by_image(metric), baseline.by_image(metric)
    paired: dict[tuple[str, str], list[float]] = {}
    for seed in seeds:
        for image in ours[seed].keys() & theirs[seed].keys():
            paired.setdefault(image, []).append(ours[seed][image] - theirs[seed][image])
    values = np.array([statistics.fmean(values) for _, values in sorted(paired.items())])
    interval = None
    if values.size > 1:
        draws = np.random.default_rng(0).integers(values.size, size=(_RESAMPLES, values.size))
        interval = np.percentile(values[draws].mean(axis=1), (2.5, 97.5))
    return {"mean": mean, "spread": spread, "seeds": len(seeds), "verdict": verdict, "interval": interval}


def _deviation(values: Sequence[float]) -> float:
    return statistics.stdev(values) if len(values) > 1 else float("nan")


@dataclass(frozen=True)
class Results:
    """What there is of an experiment in a mode, 'full' or 'quick'; `output` is the folder of all runs."""

    plan: Plan
    experiment: Experiment
    mode: str
    output: Path

    @property
    def recipe(self) -> Any:
        """The recipe."""
        return self.plan.recipes[self.experiment.recipe[self.mode]]

    @property
    def trained_on(self) -> list[str]:
        """What the variants are trained on, each once."""
        return list(dict.fromkeys(one["train"] for one in self.experiment.measure))

    def runs(self, variant: str, train: str) -> list[Run]:
        """The runs of a variant that there is a folder of, by seed."""
        folders = (self.output / self.recipe.name / variant / train).glob("seed-*")
        seeds = sorted(int(path.name.removeprefix("seed-")) for path in folders)
        runs = [Run(self.recipe, self.plan.variants[variant], train, seed, self.output) for seed in seeds]
        for run in runs:
            run.check()
        return runs

    def rows(self) -> list[Row]:
        """A row for each variant on each test, those with nothing measured too."""
        rows = []
        for one in self.experiment.measure:
            for test in [one["test"]] if self.experiment.pooled else [[name] for name in one["test"]]:
                for name in self.experiment.variants:
                    runs = self.runs(name, one["train"])
                    images = {
                        run.seed: {
                            (dataset, row["id"]): row
                            for dataset in test
                            for row in read_table(run.evaluation(dataset) / "metrics.csv")
                        }
                        for run in runs
                        if all(map(run.evaluated, test))
                    }
                    variant = self.plan.variants[name]
                    rows.append(Row(variant, self._name(variant), one["train"], test, images))
        return rows

    def begun(self) -> bool:
        """Whether there is anything to show."""
        names = self.experiment.variants
        return any(run.begun for train in self.trained_on for name in names for run in self.runs(name, train))

    def _name(self, variant: Variant) -> str:
        """The variant's name, with what its encoder started from."""
        if not variant.encoder:
            return variant.label
        return f"{variant.label}, {'ImageNet' if self.recipe.pretrained else 'random'} encoder weights"

    def set_name(self, name: str) -> str:
        """A set's name in tables."""
        return " + ".join(self.plan.sets.values()) if name == ALL else self.plan.sets[name]

    def places(self, row: Row) -> list[str]:
        """What a row was trained and tested on, in words."""
        return [self.set_name(row.train), " + ".join(map(self.set_name, row.test))]

    def caption(self, rows: Sequence[Row]) -> str:
        """How the figures came about, and what is missing."""
        paper, stages = self.experiment.paper, []
        variant = self.plan.variants[self.experiment.variants[0]]
        for number in range(1, len(self.recipe.stages) + 1):
            of = self.recipe.settings(variant, number)
            size = "×".join(map(str, of["image_size"]))
            stages.append(
                f"{size}, {of['max_epochs']} epochs, batch {of['batch_size']}, "
                f"learning rate {of['learning_rate']}"
            )
        parts = [f"**{self.recipe.label[0].upper()}{self.recipe.label[1:]}: {'; then '.join(stages)}.**"]
        if self.recipe.split:
            ratio = ":".join(map(str, self.recipe.split))
            parts.append(f"Split {ratio} of all images, another for each seed.")
        if paper and not self.recipe.config_of:
            parts.append(
                "This is not the paper's recipe, and its figures cannot bear out or refute the paper's."
            )
        undefined = sum(
            not image.get(metric)
            for row in rows
            for images in row.images.values()
            for image in images.values()
            for metric in self.experiment.metrics
            if metric in DISTANCES
        )
        if undefined:
            parts.append(f"{undefined} distances to an empty mask are not defined and left out.")
        if paper:
            parts.append(f"The paper's figures are claims on its own data: {paper['citation']}.")
            parts += paper.get("notes", [])
        missing = [f"{row.name}, {' → '.join(self.places(row))}" for row in rows if not row.images]
        if missing:
            parts.append(f"Not measured yet ({MISSING}): {'; '.join(missing)}.")
        return " ".join(parts)

    def section(self, rows: Sequence[Row]) -> tuple[list[str], list[dict[str, Any]]]:
        """Caption and tables in Markdown, and the same figures unrounded as rows of a CSV file."""
        experiment, claims = self.experiment, self.experiment.paper.get("claims", {})
        metrics = [METRIC_NAMES.get(one, one) for one in experiment.metrics]
        lines = [["network", "trained on", "tested on", *(["figures"] if claims else []), *metrics, "± over"]]
        differences, records = [], []
        baselines = {(row.train, *row.test): row for row in rows if row.variant == rows[0].variant}
        for row in rows:
            start, baseline = [row.name, *self.places(row)], baselines[row.train, *row.test]
            figures = [_figure_text(row.figure(one)) for one in experiment.metrics]
            measured = ["measured"] if claims else []
            lines.append([*start, *measured, *figures, row.spread_over or MISSING])
            claimed = claims.get(row.variant.name, {})
            if claims:
                said = [str(claimed.get(one, MISSING)) for one in experiment.metrics]
                lines.append(["", "", "", "the paper's", *said, ""])
            for metric in experiment.metrics:
                compared = row is not baseline and metric in experiment.compare
                found = difference(row, baseline, metric) if compared else None
                if compared:
                    name = METRIC_NAMES.get(metric, metric)
                    differences.append([*start, name, *_difference_texts(found)])
            record = {
                "experiment": experiment.name,
                "recipe": self.recipe.name,
                "variant": row.variant.name,
                "trained_on": row.train,
                "tested_on": "+".join(row.test),
                "sd_over": row.spread_over,
            }
            for metric in experiment.metrics:
                figure = row.figure(metric) or (None, None, None)
                record |= zip((metric, f"{metric}_sd", f"{metric}_unit"), figure, strict=True)
            records.append(record)
        parts = [self.caption(rows), markdown(lines)]
        if differences:
            headings = ["network", "trained on", "tested on", "metric", "difference", "seeds' spread"]
            headings += ["seeds", "verdict", "interval over images"]
            parts += [f"Against {rows[0].variant.label}:", markdown([headings, *differences])]
        return parts, records


def _figure_text(figure: tuple[float, float, str] | None) -> str:
    if figure is None:
        return MISSING
    mean, sd, unit = figure
    digits = 2 if unit else 4
    return f"{mean:.{digits}f}{'' if np.isnan(sd) else f' ± {sd:.{digits}f}'} {unit}".strip()


def _difference_texts(found: Mapping[str, Any] | None) -> list[str]:
    if found is None:
        return [MISSING] * 5
    spread = MISSING if np.isnan(found["spread"]) else f"{found['spread']:.4f}"
    interval = MISSING if found["interval"] is None else "{:+.4f} to {:+.4f}".format(*found["interval"])
    return [f"{found['mean']:+.4f}", spread, str(found["seeds"]), found["verdict"], interval]


def markdown(lines: Sequence[Sequence[str]]) -> str:
    """A table in Markdown, the headings first."""
    rows = [lines[0], ["---"] * len(lines[0]), *lines[1:]]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def read_costs(output: Path) -> dict[str, Any]:
    """The figures of cost: `networks` by variant, `timings` by device; empty where nothing was measured."""
    path = output / "cost.json"
    return json.loads(path.read_text()) if path.is_file() else {"networks": {}, "timings": {}}


def cost_table(plan: Plan, names: Sequence[str], output: Path) -> tuple[str, list[list[str]]]:
    """How variants' parameters, operations and times were measured, in words; and these, headings first."""
    costs, common = read_costs(output), "x".join(map(str, plan.cost["common_size"]))
    headings = ["network", "parameters", "paper's input", "GFLOPs there", f"GFLOPs, {common}"]
    lines = [headings + [text for device in costs["timings"] for text in (f"ms, {device}", "relative")]]
    for name in names:
        line = [MISSING] * 4
        if network := costs["networks"].get(name):
            size, flops = network["paper_size"], network["gflops"]
            line = [f"{network['parameters']:,}", size, f"{flops[size]:.1f}", f"{flops[common]:.1f}"]
        for timing in costs["timings"].values():
            timed = name in timing["ms"]
            line += [f"{timing[key][name]:.2f}" if timed else MISSING for key in ("ms", "ratio")]
        lines.append([plan.variants[name].label, *line])
    timings = [
        f"{device}: {one['repeats']} repeats at {one['size']}, {one['threads'] or 'no'} threads, "
        f"torch {one['torch']}."
        for device, one in costs["timings"].items()
    ]
    return " ".join(timings or ["No times yet."]), lines


def write_report(plan: Plan, only: Sequence[str], output: Path, to: Path, figures: Path) -> Iterator[Path]:
    """Write a Markdown fragment and a CSV file for each experiment, and its figures; yields what it wrote.

    Args:
        plan: what is declared.
        only: names of experiments, or 'cost'; none for all.
        output: folder of all runs.
        to: folder of the fragments and tables.
        figures: folder of the figures.

    Raises:
        PlanError: there are no runs.
    """
    from reproduction.figures import draw

    if not output.is_dir():
        raise PlanError(f"There are no runs in {output}. Give their folder by --output, or start with `run`.")
    chosen, cost = plan.select(only)
    for one in chosen:
        parts, records = [f"## {one.title}"], []
        modes = [Results(plan, one, mode, output) for mode in MODES if mode in one.recipe]
        for results in (results for results in modes if results.begun()):
            texts, more = results.section(rows := results.rows())
            parts, records = parts + texts, records + more
            if one.cost:
                words, lines = cost_table(plan, one.variants, output)
                parts += [words, markdown(lines)]
            for path, what in draw(results, rows, figures):
                parts.append(f"![{what}]({Path(os.path.relpath(path, to)).as_posix()})")
                yield path
        yield from _write(to / one.name, parts if records else [*parts, "Nothing measured yet."], records)
    if cost:
        words, lines = cost_table(plan, list(plan.variants), output)
        records = [dict(zip(lines[0], line, strict=True)) for line in lines[1:]]
        yield from _write(to / COST, [f"## {plan.cost['title']}", words, markdown(lines)], records)


def _write(path: Path, parts: Sequence[str], records: Sequence[Mapping[str, Any]]) -> Iterator[Path]:
    write_whole(page := path.with_suffix(".md"), ("\n\n".join(parts) + "\n").encode())
    yield page
    if records:
        write_results_csv(records, table := path.with_suffix(".csv"), columns=list(records[0]))
        yield table
