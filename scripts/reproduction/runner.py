"""Does what is missing: trains stage by stage, measures, and stops cleanly at any moment."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path

from lungfield.errors import LungfieldError
from reproduction import commands
from reproduction.data import own_split
from reproduction.locks import locked
from reproduction.plan import Plan
from reproduction.runs import Run

_GRACE_S = 15.0
_POLL_S = 0.5


@dataclass(frozen=True)
class Settings:
    """How runs are worked on.

    Attributes:
        data: folder of the prepared sets.
        output: folder of all runs.
        device: 'auto' or a name that torch knows.
        pretrained: what encoders start from: 'true', 'false' or a file.
        workers: how many runs at a time.
        threads: of each process; None leaves it to torch.
    """

    data: Path
    output: Path
    device: str = "auto"
    pretrained: str = "true"
    workers: int = 1
    threads: int | None = None


class StoppedError(Exception):
    """The runner is being stopped; nothing new is begun."""


class FailedError(LungfieldError):
    """A training or a measurement ended in an error of its own."""


class Runner:
    """Brings runs to their end.

    Args:
        plan: what is declared.
        settings: how to work.
        tell: is given a line at every step.
    """

    def __init__(self, plan: Plan, settings: Settings, tell: Callable[[str], None]) -> None:
        self.plan = plan
        self.settings = settings
        self.tell = tell
        self._children: set[subprocess.Popen[bytes]] = set()
        self._guard = threading.Lock()
        self._stopping = False

    def finish(self, runs: Sequence[Run]) -> list[str]:
        """Do what is missing of the runs, and return what failed, a line each.

        A KeyboardInterrupt ends the processes that were started, and is passed on.
        """
        failures: list[str] = []
        pool = ThreadPoolExecutor(self.settings.workers)
        try:
            pending = {pool.submit(self._finish_one, run): run for run in runs if not run.finished}
            while pending:
                done, _ = wait(pending, timeout=_POLL_S, return_when=FIRST_COMPLETED)
                for future in done:
                    run, error = pending.pop(future), future.exception()
                    if isinstance(error, LungfieldError):
                        failures.append(f"{run.key}: {error}")
                        self.tell(f"failed: {failures[-1]}")
                    elif error is not None:
                        raise error
        finally:
            # Without anything pending there is nothing to end here.
            self._stop()
            pool.shutdown(cancel_futures=True)
        return failures

    def _finish_one(self, run: Run) -> None:
        with locked(run.lock) as lock:
            if lock is None:
                self.tell(f"{run.key}: another process is at it; left to that one")
                return
            data = own_split(self.plan, run.recipe, self.settings.data, self.settings.output, run.key.seed)
            for number in range(1, len(run.recipe.stages) + 1):
                self._train(run, number, data, lock)
            for dataset in run.tests:
                if not run.is_evaluated(dataset):
                    words = commands.evaluation(run, dataset, data, device=self.settings.device)
                    self._call(words, run.evaluation(dataset), f"{run.key}: measuring on {dataset}", lock)

    def _train(self, run: Run, number: int, data: Path, lock: int) -> None:
        stage = run.stages[number - 1]
        if not stage.finished:
            begun = f", going on after {stage.checkpoint_epoch}" if stage.checkpoint else ""
            what = f"{run.key}: stage {number} of {len(run.recipe.stages)}, {stage.epochs} epochs{begun}"
            settings = self.settings
            words = commands.training(
                run, stage, data, device=settings.device, pretrained=settings.pretrained
            )
            self._call(words, stage.folder, what, lock)
            stage = run.stages[number - 1]
            if not stage.finished:
                raise FailedError(
                    f"{stage.folder} ended at epoch {stage.epochs_done} of {stage.epochs}; see run.log there."
                )
        for path in stage.folder.glob("checkpoint_epoch=*.pt"):
            if path != stage.checkpoint:
                path.unlink()

    def _call(self, words: list[str], folder: Path, what: str, lock: int) -> None:
        """Run a command, its output added to run.log in `folder`."""
        folder.mkdir(parents=True, exist_ok=True)
        log, start = folder / "run.log", time.monotonic()
        environment = dict(os.environ)
        if self.settings.threads:
            environment["OMP_NUM_THREADS"] = str(self.settings.threads)
        with log.open("ab") as file, self._guard:
            if self._stopping:
                raise StoppedError
            self.tell(what)
            file.write(f"$ {shlex.join(words)}\n".encode())
            file.flush()
            # In a session of its own, so that Ctrl-C reaches this process alone, which then ends the others.
            child = subprocess.Popen(
                words,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                env=environment,
                start_new_session=True,
                pass_fds=[lock],
            )
            self._children.add(child)
        code = child.wait()
        with self._guard:
            self._children.discard(child)
            if self._stopping:
                raise StoppedError
        if code != 0:
            raise FailedError(f"{_last_line(log)} (exit status {code}; all of it in {log})")
        self.tell(f"{what}: done in {(time.monotonic() - start) / 60:.1f} min")

    def _stop(self) -> None:
        """End every process that was started."""
        with self._guard:
            self._stopping = True
            children = list(self._children)
        for child in children:
            _signal(child, signal.SIGTERM)
        deadline = time.monotonic() + _GRACE_S
        for child in children:
            try:
                child.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                _signal(child, signal.SIGKILL)
                child.wait()


def _signal(child: subprocess.Popen[bytes], number: signal.Signals) -> None:
    """Send a signal to a process and to those that it started, such as data loaders."""
    try:
        os.killpg(child.pid, number)
    except ProcessLookupError:
        return


def _last_line(log: Path) -> str:
    lines = [line.strip() for line in log.read_text(encoding="utf-8", errors="replace").splitlines()]
    return next((line for line in reversed(lines) if line), "no output").removeprefix("lungfield: ")
