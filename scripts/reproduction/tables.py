"""Tables of what was measured: Markdown for people, CSV for programs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from reproduction.captions import (
    DIFFERENCE_RULE,
    METRIC_NAMES,
    MISSING,
    network_name,
    set_name,
    tested_on,
    timing_text,
)
from reproduction.plan import Plan
from reproduction.results import Difference, Figure, Results, Row, difference


def results_table(results: Results) -> str:
    """The main table of an experiment, with the paper's claims below each network's figures."""
    experiment, plan = results.experiment, results.plan
    paper = plan.papers.get(experiment.paper)
    places = Places(results)
    headings = ["network", *places.headings, *(["figures"] if paper else [])]
    headings += [METRIC_NAMES[metric] for metric in experiment.metrics] + ["± over"]
    lines = []
    for row in results.rows:
        figures = [figure_text(row.figure(metric)) for metric in experiment.metrics]
        line = [network_name(row), *places.of(row), *(["measured"] if paper else []), *figures]
        lines.append([*line, row.spread_over or MISSING])
        if paper:
            claims = paper.claims.get(row.variant.name, {})
            claimed = [str(claims[one]) if one in claims else MISSING for one in experiment.metrics]
            lines.append(["", *([""] * len(places.headings)), "the paper's", *claimed, ""])
    return markdown(headings, lines)


def differences_table(results: Results) -> str:
    """How each variant differs from the first, or nothing where there is just one variant."""
    places = Places(results)
    headings = ["network", *places.headings, "metric", "difference", "seeds' spread", "seeds", "verdict"]
    headings.append("interval over images")
    lines = []
    for row, baseline in _pairs(results):
        for metric in results.experiment.compare:
            found = difference(row, baseline, metric)
            lines.append(
                [network_name(row), *places.of(row), METRIC_NAMES[metric], *_difference_cells(found)]
            )
    if not lines:
        return ""
    label = results.rows[0].variant.label
    return f"Against {label}. {DIFFERENCE_RULE}\n\n{markdown(headings, lines)}"


def result_records(results: Results) -> list[dict[str, Any]]:
    """The same for a CSV file: a row for each metric, mean and spread unrounded."""
    experiment, plan = results.experiment, results.plan
    paper = plan.papers.get(experiment.paper)
    baselines = {id(row): baseline for row, baseline in _pairs(results)}
    records = []
    for row in results.rows:
        for metric in experiment.metrics:
            figure = row.figure(metric)
            compared = metric in experiment.compare and id(row) in baselines
            found = difference(row, baselines[id(row)], metric) if compared else None
            records.append(
                {
                    "experiment": experiment.name,
                    "recipe": results.recipe,
                    "variant": row.variant.name,
                    "encoder": row.encoder,
                    "trained_on": row.train,
                    "tested_on": "+".join(row.test),
                    "metric": metric,
                    "unit": figure.unit if figure else None,
                    "mean": figure.mean if figure else None,
                    "sd": figure.sd if figure else None,
                    "sd_over": row.spread_over,
                    "seeds": len(row.images),
                    "claimed": paper.claims.get(row.variant.name, {}).get(metric) if paper else None,
                    "difference": found.mean if found else None,
                    "difference_spread": found.spread if found else None,
                    "difference_verdict": found.verdict if found else None,
                }
            )
    return records


def cost_table(plan: Plan, names: Sequence[str], costs: Mapping[str, Any]) -> str:
    """Parameters, operations and times of variants, with what they were measured on."""
    size = _common_size(plan)
    devices = costs["timings"]
    headings = ["network", "parameters", "paper's input", "GFLOPs there", f"GFLOPs, {_shown(size)}"]
    headings += [text for name in devices for text in (f"ms, {name}", "relative")]
    lines = []
    for name in names:
        network = costs["networks"].get(name)
        line = [plan.variants[name].label, *([MISSING] * 4)]
        if network:
            flops, paper_size = network["gflops"], network["paper_size"]
            line = [line[0], f"{network['parameters']:,}", _shown(paper_size)]
            line += [_number(flops.get(paper_size), 1), _number(flops.get(size), 1)]
        for timing in devices.values():
            line += [_number(timing["ms"].get(name), 1), _number(timing["ratio"].get(name), 2)]
        lines.append(line)
    text = (
        "Operations for one image, two for each multiply-add, in convolutions, transposed convolutions and "
        f"sums over 3×3 neighbourhoods. {timing_text(plan, costs)}"
    )
    return f"{text}\n\n{markdown(headings, lines)}"


def cost_records(costs: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The same for a CSV file: a row for each variant and device."""
    return [
        {
            "variant": name,
            "parameters": network["parameters"],
            **{f"gflops_{size}": value for size, value in network["gflops"].items()},
            "device": device,
            "threads": timing.get("threads"),
            "size": timing.get("size"),
            "ms": timing.get("ms", {}).get(name),
            "relative": timing.get("ratio", {}).get(name),
        }
        for name, network in costs["networks"].items()
        for device, timing in (costs["timings"] or {"": {}}).items()
    ]


class Places:
    """The columns that tell on what a row was trained and tested, as far as rows differ in it.

    Args:
        results: whose rows they are for.

    Attributes:
        headings: of the columns, none to two.
    """

    def __init__(self, results: Results) -> None:
        self.plan = results.plan
        self._trained = len({row.train for row in results.rows}) > 1
        self._tested = len({row.test for row in results.rows}) > 1
        self.headings = [*(["trained on"] if self._trained else []), *(["tested on"] if self._tested else [])]

    def of(self, row: Row) -> list[str]:
        """The cells of a row."""
        trained = [set_name(self.plan, row.train)] if self._trained else []
        return trained + ([tested_on(self.plan, row)] if self._tested else [])


def markdown(headings: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """A table in Markdown."""
    rows = [headings, ["---"] * len(headings), *lines]
    return "\n".join(f"| {' | '.join(cell.replace('|', '/') for cell in row)} |" for row in rows)


def figure_text(figure: Figure | None) -> str:
    """A mean with its spread, and the unit where there is one."""
    if figure is None:
        return MISSING
    digits = 2 if figure.unit else 4
    spread = "" if math.isnan(figure.sd) else f" ± {figure.sd:.{digits}f}"
    return f"{figure.mean:.{digits}f}{spread}{' ' if figure.unit else ''}{figure.unit}"


def _pairs(results: Results) -> list[tuple[Row, Row]]:
    """Each row beside the one of the first variant on the same data; those of the first are left out."""
    first = results.experiment.variants[0]
    baselines = {(row.train, row.test): row for row in results.rows if row.variant.name == first}
    return [(row, baselines[row.train, row.test]) for row in results.rows if row.variant.name != first]


def _difference_cells(found: Difference | None) -> list[str]:
    if found is None:
        return [MISSING] * 5
    spread = MISSING if math.isnan(found.spread) else f"{found.spread:.4f}"
    interval = f"{found.interval[0]:+.4f} to {found.interval[1]:+.4f}" if found.interval else MISSING
    return [f"{found.mean:+.4f}", spread, str(found.seeds), found.verdict, interval]


def _common_size(plan: Plan) -> str:
    return "x".join(map(str, plan.cost.common_size)) if plan.cost else ""


def _shown(size: str) -> str:
    return size.replace("x", "×")


def _number(value: float | None, digits: int) -> str:
    return MISSING if value is None else f"{value:.{digits}f}"
