"""Train and measure what the papers claim, and draw tables and figures from what was measured.

    python scripts/reproduce.py run DATA --quick          # hours on a CPU; without --quick days on a GPU
    python scripts/reproduce.py status DATA --quick
    python scripts/reproduce.py report

DATA is a folder with the prepared sets `jsrt` and `shenzhen` (`lungfield prepare`). Whatever is stopped goes
on from its last checkpoint when it is called again; to do a run anew, delete its folder. Called several times
at once, on several GPUs say, the calls share the runs between them. What there is to do is declared in
scripts/reproduction/experiments.yaml. Figures need matplotlib: pip install '.[reproduce]'.
"""

from __future__ import annotations

import fcntl
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import typer
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from lungfield.errors import LungfieldError
from reproduction.plan import EXPERIMENTS_FILE, MODES, Plan, Run, load_plan, read_table

app = typer.Typer(
    help=__doc__.partition("\n")[0],
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


class FailedError(LungfieldError):
    """A training or a measurement ended in an error of its own."""


@app.command()
def run(
    data: Path = DATA,
    quick: bool = QUICK,
    only: list[str] = ONLY,
    seeds: int | None = SEEDS,
    output: Path = OUTPUT,
    device: str = typer.Option("auto", help="auto, cpu, cuda, cuda:1, ..."),
    experiments: Path = EXPERIMENTS,
) -> None:
    """Do everything that is missing."""
    plan = load_plan(experiments)
    chosen, cost = plan.select(only)
    plan.check_sets(data)
    failed = False
    try:
        for one in plan.runs(chosen, MODES[quick], output, seeds):
            try:
                finish(plan, one, data, device)
            except LungfieldError as error:
                failed = True
                print(f"{one.name}: {error}", file=sys.stderr)
        if cost:
            from lungfield.bundles.predictor import find_device
            from reproduction.cost import measure_costs

            measure_costs(plan, output, find_device(device), print)
    except KeyboardInterrupt:
        print("Stopped. The same command goes on from the last checkpoints.", file=sys.stderr)
        raise typer.Exit(130) from None
    raise typer.Exit(failed)


def finish(plan: Plan, one: Run, data: Path, device: str) -> None:
    """Do what is missing of a run, unless another process is at it.

    Raises:
        FailedError: a training or a measurement ended in an error.
    """
    if one.finished:
        return
    one.folder.mkdir(parents=True, exist_ok=True)
    with locked(one) as lock:
        if lock is None:
            print(f"{one.name}: another process is at it; left to that one")
            return
        sets = plan.split(one, data)
        for number in one.stages:
            if not one.trained(number):
                what = f"stage {number} of {len(one.stages)}, {one.epochs(number)} epochs"
                what += f", going on after {begun}" if (begun := one.checkpoint(number)[0]) else ""
                one.declare(number)
                call(one.training(number, sets, device), one.stage(number), f"{one.name}: {what}", lock)
            last = one.checkpoint(number)[1]
            if not one.trained(number):
                raise FailedError(f"{one.stage(number)} ended before its last epoch; see run.log there.")
            for path in one.stage(number).glob("checkpoint_epoch=*.pt"):
                if path != last:
                    path.unlink()
        for dataset in one.tests:
            if not one.evaluated(dataset):
                words = one.measuring(dataset, sets, device)
                call(words, one.evaluation(dataset), f"{one.name}: measuring on {dataset}", lock)


def call(words: list[str], folder: Path, what: str, lock: int) -> None:
    """Run a command, its output added to run.log in `folder`; `lock` is kept as long as it runs."""
    print(what, flush=True)
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / "run.log"
    with log.open("ab") as file:
        file.write(f"$ {shlex.join(words)}\n".encode())
        file.flush()
        done = subprocess.run(words, stdout=file, stderr=subprocess.STDOUT, pass_fds=[lock], check=False)
    if done.returncode:
        last = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-1]
        raise FailedError(f"{last} (exit status {done.returncode}; all of it in {log})")


@contextmanager
def locked(one: Run) -> Iterator[int | None]:
    """Hold the lock of a run; yields its descriptor, or None where another process holds it.

    A child that inherits the descriptor keeps the lock if this process is killed, so that nobody starts the
    same training a second time while the child still runs.
    """
    with (one.folder / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield None
        else:
            yield file.fileno()


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
    plan = load_plan(experiments)
    plan.check_sets(data)
    chosen, cost = plan.select(only)
    table = Table("run", "epochs", "measured on", "state", "for", box=SIMPLE)
    states = []
    for one in plan.runs(chosen, MODES[quick], output, seeds):
        done = {number: len(read_table(one.stage(number) / "history.csv")) for number in one.stages}
        epochs = " + ".join(f"{done[number]}/{one.epochs(number)}" for number in one.stages)
        tests = ", ".join(name if one.evaluated(name) else f"not {name}" for name in one.tests)
        states.append(state(one))
        table.add_row(one.name, epochs, tests, states[-1], ", ".join(one.experiments))
    if cost:
        from reproduction.results import read_costs

        table.add_row("cost", "", "", f"timed on {', '.join(read_costs(output)['timings']) or 'nothing'}", "")
    table.title = f"{states.count('done')} of {len(states)} runs done, {states.count('running')} running"
    console.print(table)


def state(one: Run) -> str:
    """How far a run is, in a word or two."""
    if one.finished or not one.folder.is_dir():
        return "done" if one.finished else "missing"
    with locked(one) as lock:
        return "running" if lock is None else "partly done"


@app.command()
def report(
    output: Path = OUTPUT,
    to: Path = typer.Option(Path("docs/results"), help="Folder of the tables."),
    figures: Path | None = typer.Option(None, help="Folder of the figures. [default: 'figures' beside --to]"),
    only: list[str] = ONLY,
    experiments: Path = EXPERIMENTS,
) -> None:
    """Draw tables and figures from what was measured so far."""
    from reproduction.results import write_report

    for path in write_report(load_plan(experiments), only, output, to, figures or to.parent / "figures"):
        print(path)


def main() -> None:
    """Run the command line; exit 2 with one message where the call was wrong."""

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    # SIGINT too: a shell that starts this in the background lets it be ignored.
    for wanted in (signal.SIGINT, signal.SIGTERM):
        signal.signal(wanted, stop)
    try:
        app()
    except LungfieldError as error:
        print(f"reproduce: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
