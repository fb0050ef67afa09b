"""What is done, running and missing, as a table for the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.box import SIMPLE
from rich.table import Table

from reproduction.plan import COST, CostSettings, Plan
from reproduction.results import read_costs
from reproduction.runs import Run


def status_table(plan: Plan, runs: Sequence[Run], cost: CostSettings | None, output: Path) -> Table:
    """A row a run, and one for the cost."""
    states = [_state(run) for run in runs]
    done = states.count("done")
    table = Table(
        box=SIMPLE,
        title=f"{done} of {len(runs)} runs done, {states.count('running')} running",
        title_justify="left",
    )
    for heading in ("run", "epochs", "measured on", "state"):
        table.add_column(heading, no_wrap=True)
    table.add_column("for", overflow="fold")
    for run, state in zip(runs, states, strict=True):
        epochs = " + ".join(f"{stage.epochs_done}/{stage.epochs}" for stage in run.stages)
        tests = ", ".join(one if run.is_evaluated(one) else f"[dim]not {one}[/]" for one in run.tests)
        table.add_row(
            str(run.key), epochs, tests, f"[{_COLOURS[state]}]{state}[/]", ", ".join(run.experiments)
        )
    if cost is not None:
        costs = read_costs(output)
        timed = [name for name, one in costs["timings"].items() if plan.variants.keys() <= one["ms"].keys()]
        state = "done" if timed else "missing"
        table.add_row(
            COST, "", "", f"[{_COLOURS[state]}]{state}[/]", f"timed on {', '.join(timed) or 'nothing'}"
        )
    return table


_COLOURS = {"done": "green", "running": "cyan", "partly done": "yellow", "missing": "red"}


def _state(run: Run) -> str:
    if run.finished:
        return "done"
    if run.running:
        return "running"
    begun = any(stage.epochs_done for stage in run.stages)
    return "partly done" if begun else "missing"
