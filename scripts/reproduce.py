"""Train and evaluate the networks of the papers, and make tables and figures of the results.

    python scripts/reproduce.py run DATA --quick          # hours on a CPU; without --quick days on a GPU
    python scripts/reproduce.py status DATA --quick       # what is done, running and missing
    python scripts/reproduce.py cost                      # parameters, operations and times of the networks
    python scripts/reproduce.py report                    # docs/results and docs/figures

DATA is a folder with the prepared sets `jsrt` and `shenzhen` (`lungfield prepare`). A stopped run continues
from its last checkpoint when it is called again; to repeat a run, delete its folder. Several calls at a time,
for example one for each GPU, share the runs. scripts/reproduction/experiments.yaml declares the experiments.
Figures need matplotlib: pip install '.[reproduce]'.
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

from lungfield.errors import LungfieldError
from reproduction.plan import EXPERIMENTS_FILE, MODES, Plan, PlanError, Run, load_plan, read_table

app = typer.Typer(
    help=__doc__.partition("\n")[0],
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)

DATA = typer.Argument(..., help="Folder of the prepared sets.")
QUICK = typer.Option(False, "--quick", help="The reduced recipes, which two CPU cores can do.")
ONLY = typer.Option([], "--only", help="Only this experiment; can be repeated.")
SEEDS = typer.Option(None, min=1, help="Repeat each training with so many seeds.")
OUTPUT = typer.Option(Path("runs/reproduction"), help="Folder of all runs.")
DEVICE = typer.Option("auto", help="auto, cpu, cuda, cuda:1, ...")
EXPERIMENTS = typer.Option(EXPERIMENTS_FILE, help="The declared experiments.")


@app.command()
def run(
    data: Path = DATA,
    quick: bool = QUICK,
    only: list[str] = ONLY,
    seeds: int | None = SEEDS,
    output: Path = OUTPUT,
    device: str = DEVICE,
    experiments: Path = EXPERIMENTS,
) -> None:
    """Run all missing trainings and evaluations."""

    def stop(*_: object) -> None:
        print("Stopped. The same command continues from the last checkpoints.", file=sys.stderr)
        sys.exit(130)

    # SIGINT too: a process that a shell starts in the background ignores it by default.
    for wanted in (signal.SIGINT, signal.SIGTERM):
        signal.signal(wanted, stop)
    plan = load_plan(experiments)
    plan.check_sets(data)
    failed = False
    for one in plan.runs(only, MODES[quick], output, seeds):
        try:
            finish(plan, one, data, device)
        except LungfieldError as error:
            failed = True
            print(f"{one.name}: {error}", file=sys.stderr)
    raise typer.Exit(failed)


def finish(plan: Plan, one: Run, data: Path, device: str) -> None:
    """Complete a run, unless another process works on it.

    Raises:
        PlanError: a training or a measurement ended in an error.
    """
    if one.finished:
        return
    one.folder.mkdir(parents=True, exist_ok=True)
    with locked(one) as lock:
        if lock is None:
            print(f"{one.name}: another process works on it")
            return
        for what, folder, words in one.commands(plan.split(one, data), device):
            print(f"{one.name}: {what}", flush=True)
            folder.mkdir(parents=True, exist_ok=True)
            log = folder / "run.log"
            with log.open("ab") as file:
                file.write(f"$ {shlex.join(words)}\n".encode())
                file.flush()
                # The child inherits the lock, so that the run stays locked if this process is killed.
                status = subprocess.call(words, stdout=file, stderr=subprocess.STDOUT, pass_fds=[lock])
            if status:
                last = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-1]
                raise PlanError(f"{last} (exit status {status}; full log: {log})")


@contextmanager
def locked(one: Run) -> Iterator[int | None]:
    """Hold the lock of a run; yields its descriptor, or None where another process holds it."""
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
    """Show the runs that are done, running and missing."""
    plan = load_plan(experiments)
    plan.check_sets(data)
    runs = plan.runs(only, MODES[quick], output, seeds)
    states = [state(one) for one in runs]
    for one, word in zip(runs, states, strict=True):
        done = {number: len(read_table(one.stage(number) / "history.csv")) for number in one.stages}
        epochs = " + ".join(f"{done[number]}/{one.epochs(number)}" for number in one.stages)
        missing = ", ".join(name for name in one.tests if not one.evaluated(name))
        missing = f"; not measured on {missing}" if missing else ""
        print(f"{word:12} {one.name}: {epochs} epochs{missing}")
    print(f"{states.count('done')} of {len(states)} runs done, {states.count('running')} running")


def state(one: Run) -> str:
    """The state of a run in a word or two."""
    if one.finished or not one.folder.is_dir():
        return "done" if one.finished else "missing"
    with locked(one) as lock:
        return "running" if lock is None else "partly done"


@app.command()
def cost(output: Path = OUTPUT, device: str = DEVICE, experiments: Path = EXPERIMENTS) -> None:
    """Count parameters and operations of all networks, and time them."""
    from reproduction.cost import measure_costs

    print(measure_costs(load_plan(experiments), output, device))


@app.command()
def report(
    output: Path = OUTPUT,
    to: Path = typer.Option(Path("docs/results"), help="Folder of the tables."),
    figures: Path | None = typer.Option(None, help="Folder of the figures. [default: 'figures' beside --to]"),
    only: list[str] = ONLY,
    experiments: Path = EXPERIMENTS,
) -> None:
    """Make tables and figures of the results so far."""
    from reproduction.report import write_report

    for path in write_report(load_plan(experiments), only, output, to, figures or to.parent / "figures"):
        print(path)


def main() -> None:
    """Run the command line; exit with status 2 and a message for a wrong call."""
    try:
        app()
    except LungfieldError as error:
        print(f"reproduce: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
