"""Train and measure what the papers claim, and draw tables and figures from what was measured.

    python scripts/reproduce.py run DATA --quick          # hours on a CPU; without --quick days on a GPU
    python scripts/reproduce.py status DATA --quick
    python scripts/reproduce.py report --data DATA

DATA is a folder with the prepared sets `jsrt` and `shenzhen` (`lungfield prepare`). Whatever is stopped goes
on from its last checkpoint when it is called again; to do a run anew, delete its folder. What there is to do
is declared in scripts/reproduction/experiments.yaml. Figures need matplotlib: pip install '.[reproduce]'.
"""

from __future__ import annotations

import signal
import sys
from functools import partial
from pathlib import Path
from types import FrameType

import typer
from rich.console import Console

from lungfield.errors import LungfieldError
from reproduction.declaration import load_plan
from reproduction.plan import EXPERIMENTS_FILE, MODES

app = typer.Typer(
    help="Train and measure what the papers claim; draw tables and figures from what was measured.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
# Without a terminal Rich would take 80 columns.
console = Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else 140)

DATA = typer.Argument(..., help="Folder of the prepared sets.")
QUICK = typer.Option(False, "--quick", help="The reduced recipes, which two CPU cores can do.")
ONLY = typer.Option([], "--only", help="Only this experiment, or 'cost'; can be repeated.")
SEEDS = typer.Option(None, min=1, help="Repeat each training with so many seeds.")
OUTPUT = typer.Option(Path("runs/reproduction"), help="Folder of all runs.")
EXPERIMENTS = typer.Option(EXPERIMENTS_FILE, help="What there is to do.")
DEVICE = typer.Option("auto", help="auto, cpu, cuda, cuda:1, ...")


@app.command()
def run(
    data: Path = DATA,
    quick: bool = QUICK,
    only: list[str] = ONLY,
    seeds: int | None = SEEDS,
    output: Path = OUTPUT,
    workers: int = typer.Option(1, min=1, help="How many runs at a time."),
    threads: int | None = typer.Option(None, min=1, help="CPU threads of each process."),
    device: str = DEVICE,
    pretrained: str | None = typer.Option(
        None,
        help="What encoders start from: true (ImageNet), false (random) or a file. [with --quick: false]",
    ),
    experiments: Path = EXPERIMENTS,
) -> None:
    """Do everything that is missing."""
    from reproduction.commands import check_encoders
    from reproduction.cost import measure_costs, missing_costs
    from reproduction.data import check_sets
    from reproduction.runner import Runner, Settings
    from reproduction.runs import runs_of

    plan = load_plan(experiments)
    chosen, cost = plan.select(only)
    check_sets(plan, data)
    pretrained = pretrained or ("false" if quick else "true")
    runs = runs_of(plan, chosen, MODES[quick], output, seeds=seeds)
    check_encoders(runs, pretrained)
    missing = [one for one in runs if not one.finished]
    tell = partial(console.print, markup=False)
    tell(f"{len(runs)} runs, {len(runs) - len(missing)} of them finished")
    runner = Runner(plan, Settings(data, output, device, pretrained, workers, threads), tell)
    try:
        failures = runner.finish(missing)
        # After the trainings, which would slow it down.
        if cost is not None and missing_costs(plan, output, device=device):
            measure_costs(plan, cost, output, device=device, threads=threads, tell=tell)
    except KeyboardInterrupt:
        print("Stopped. The same command goes on from the last checkpoints.", file=sys.stderr)
        raise typer.Exit(130) from None
    for failure in failures:
        print(failure, file=sys.stderr)
    if failures:
        raise typer.Exit(1)


@app.command()
def status(
    data: Path = DATA,
    quick: bool = QUICK,
    only: list[str] = ONLY,
    seeds: int | None = SEEDS,
    output: Path = OUTPUT,
    experiments: Path = EXPERIMENTS,
) -> None:
    """Say what is done, running and missing."""
    from reproduction.data import check_sets
    from reproduction.runs import runs_of
    from reproduction.status import status_table

    plan = load_plan(experiments)
    chosen, cost = plan.select(only)
    check_sets(plan, data)
    runs = runs_of(plan, chosen, MODES[quick], output, seeds=seeds)
    console.print(status_table(plan, runs, cost, output))


@app.command()
def report(
    output: Path = OUTPUT,
    to: Path = typer.Option(Path("docs/results"), help="Folder of the tables."),
    figures: Path | None = typer.Option(None, help="Folder of the figures. [default: 'figures' beside --to]"),
    data: Path | None = typer.Option(
        None, help="Folder of the prepared sets: draw test radiographs too, into OUTPUT/pictures."
    ),
    only: list[str] = ONLY,
    device: str = DEVICE,
    experiments: Path = EXPERIMENTS,
) -> None:
    """Draw tables and figures from what was measured so far."""
    from reproduction.report import write_report

    plan = load_plan(experiments)
    chosen, cost = plan.select(only)
    written = write_report(
        plan, chosen, cost, output, to, figures or to.parent / "figures", data=data, device=device
    )
    for path in written:
        console.print(str(path), markup=False)


def main() -> None:
    """Run the command line; exit 2 with one message where the call was wrong."""
    # SIGINT too: a shell that starts this in the background lets it be ignored.
    for wanted in (signal.SIGINT, signal.SIGTERM):
        signal.signal(wanted, _interrupt)
    try:
        app()
    except LungfieldError as error:
        print(f"reproduce: {error}", file=sys.stderr)
        sys.exit(2)


def _interrupt(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
    raise KeyboardInterrupt


if __name__ == "__main__":
    main()
