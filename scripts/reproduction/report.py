"""Writes the report: for each experiment a Markdown fragment with its tables and figures, and a CSV file."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lungfield.atomic import write_whole
from lungfield.errors import DataError
from lungfield.export import write_results_csv
from reproduction.captions import CURVES, caption, set_name
from reproduction.plan import COST, MODES, CostSettings, Experiment, Plan, PlanError
from reproduction.results import Results, read_costs
from reproduction.tables import cost_records, cost_table, differences_table, result_records, results_table


def write_report(
    plan: Plan,
    experiments: Sequence[Experiment],
    cost: CostSettings | None,
    output: Path,
    to: Path,
    figures: Path,
    *,
    data: Path | None = None,
    device: str = "auto",
) -> list[Path]:
    """Write what was measured so far.

    Args:
        plan: what is declared.
        experiments: those to report.
        cost: whether to report the cost too.
        output: folder of all runs.
        to: folder of the fragments and tables.
        figures: folder of the figures.
        data: the prepared sets, to draw test radiographs into `output`/pictures; None for none. They never
            go to `figures`: most public sets may be used, but not published again.
        device: for those.

    Returns:
        The files written.

    Raises:
        PlanError: matplotlib is missing, or there are no runs.
        OutputError: a file cannot be written.
    """
    _require_matplotlib()
    if not output.is_dir():
        raise PlanError(f"There are no runs in {output}. Give their folder by --output, or start with `run`.")
    costs = read_costs(output)
    written: list[Path] = []
    for experiment in experiments:
        started = [
            one
            for mode in MODES
            if mode in experiment.recipes and (one := Results(plan, experiment, mode, output)).started
        ]
        parts = [_section(one, costs, to, figures, written) for one in started]
        text = "\n\n".join([f"## {experiment.title}", *(parts or ["Nothing measured yet."])])
        written.append(_write_text(to / f"{experiment.name}.md", text))
        records = [record for one in started for record in result_records(one)]
        if records:
            write_results_csv(records, to / f"{experiment.name}.csv")
            written.append(to / f"{experiment.name}.csv")
        if data is not None:
            written += [path for one in started if (path := _pictures(one, data, device))]
    if cost is not None:
        text = cost_table(plan, list(plan.variants), costs)
        written.append(_write_text(to / f"{COST}.md", f"## {cost.title}\n\n{text}"))
        if records := cost_records(costs):
            write_results_csv(records, to / f"{COST}.csv")
            written.append(to / f"{COST}.csv")
    return written


def _section(results: Results, costs: dict[str, Any], to: Path, figures: Path, written: list[Path]) -> str:
    """The part of a fragment under one recipe; its figures are drawn and added to `written`."""
    from reproduction.figures import save_loss_curves, save_overlap_curves, save_test_dice

    experiment = results.experiment
    parts = [caption(results), results_table(results), differences_table(results)]
    if experiment.cost:
        parts.append(cost_table(results.plan, experiment.variants, costs))
    name = f"{experiment.name}-{results.recipe}" if results.recipe != experiment.name else experiment.name
    wanted = []
    for train in results.trained_on:
        place = f"-{train}" if len(results.trained_on) > 1 else ""
        trained = f", trained on {set_name(results.plan, train)}"
        for kind, what, save in (
            ("loss", "Loss of training and validation", save_loss_curves),
            ("overlap", "Dice and IoU by epoch", save_overlap_curves),
        ):
            path = figures / f"{name}{place}-{kind}.png"
            if save(results, train, path):
                wanted.append((f"{what}{trained}", path))
    path = figures / f"{name}-dice.png"
    if save_test_dice(results, path):
        wanted.append(("Dice of the test images", path))
    if len(wanted) > 1:
        parts.append(CURVES)
    for what, path in wanted:
        link = Path(os.path.relpath(path, to)).as_posix()
        parts.append(f"![{what}]({link})")
        written.append(path)
    return "\n\n".join(part for part in parts if part)


def _pictures(results: Results, data: Path, device: str) -> Path | None:
    from reproduction.pictures import save_pictures

    path = results.output / "pictures" / f"{results.experiment.name}-{results.recipe}.png"
    if not data.is_dir():
        raise DataError(f"No folder {data}. Name the one that the runs were trained on.")
    return path if save_pictures(results, data, path, device=device) else None


def _write_text(path: Path, text: str) -> Path:
    write_whole(path, f"{text}\n".encode())
    return path


def _require_matplotlib() -> None:
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise PlanError("The figures need matplotlib: pip install '.[reproduce]'") from error
