"""Log the metrics of each epoch, and write them to a table that is continued when a run is resumed."""

from __future__ import annotations

import csv
import inspect
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Engine, Events
from monai.engines.utils import IterationEvents
from monai.handlers import TensorBoardStatsHandler

from lungfield.export import write_results_csv
from lungfield.training.distributed import from_all, is_first


def log_epoch(engine: Any) -> None:
    """Log the metrics of an epoch in one line; for `StatsHandler(epoch_print_logger=...)`."""
    state = engine.state
    figures = {name: float(value) for name, value in state.metrics.items()}
    training = hasattr(engine, "optimizer")
    if training:
        figures["loss of the last batch"] = float(state.output[0]["loss"])
    what = f"{state.epoch} of {state.max_epochs}, training" if training else f"{state.epoch}, validation"
    text = ", ".join(f"{name} {value:.4f}" for name, value in figures.items())
    logging.getLogger("lungfield").info("epoch %s: %s", what, text)


class TensorBoardHandler:
    """MONAI's `TensorBoardStatsHandler`, built when the run starts: a refused run leaves no empty folder.

    Args:
        log_dir: folder of the event files; created when the run starts.
        options: of `TensorBoardStatsHandler`.
    """

    def __init__(self, log_dir: str | Path, **options: Any) -> None:
        inspect.signature(TensorBoardStatsHandler).bind(**options)  # raises TypeError for unknown options
        self._log_dir, self._options = log_dir, options
        self._handler: TensorBoardStatsHandler | None = None

    def attach(self, engine: Engine) -> None:
        """Write the metrics of `engine`, a trainer or an evaluator."""
        engine.add_event_handler(Events.STARTED, self._start)

    def _start(self, engine: Engine) -> None:
        if self._handler is None:  # an evaluator starts in every epoch
            self._handler = TensorBoardStatsHandler(log_dir=str(self._log_dir), **self._options)
            self._handler.attach(engine)


class HistoryHandler:
    """Writes history.csv, with metrics, mean losses, learning rate and seconds of each epoch.

    Attach it to the trainer, after its `ValidationHandler`. The validation columns of an epoch without
    validation are empty. A resumed run keeps the rows of earlier epochs. The first of several processes
    writes; losses are means over the images of all processes.

    Args:
        output_dir: folder of the file; created if missing.
        validator: the evaluator with the metrics, on which the validation loss is measured.
        loss_function: the training loss.
        optimizer: its learning rate is written.
    """

    def __init__(
        self,
        output_dir: str | Path,
        validator: Engine,
        loss_function: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
        optimizer: torch.optim.Optimizer,
    ) -> None:
        self.path = Path(output_dir) / "history.csv"
        self.validator = validator
        self.loss_function = loss_function
        self.optimizer = optimizer
        self._rows: list[dict[str, Any]] | None = None
        self._training_loss, self._validation_loss = _Mean(), _Mean()
        validator.add_event_handler(Events.STARTED, self._validation_loss.clear)
        validator.add_event_handler(IterationEvents.FORWARD_COMPLETED, self._measure_validation_loss)

    def attach(self, engine: Engine) -> None:
        """Register this handler with `engine`, the trainer."""
        engine.add_event_handler(Events.EPOCH_STARTED, self._start_epoch)
        engine.add_event_handler(IterationEvents.LOSS_COMPLETED, self._measure_training_loss)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._finish_epoch)

    def _start_epoch(self, engine: Engine) -> None:
        if self._rows is None:  # read the file only now, after a checkpoint may have been loaded
            self._rows = self._earlier_epochs(engine.state.epoch)
        self._started = time.monotonic()
        self._training_loss.clear()
        self._validation_loss.clear()

    def _earlier_epochs(self, first: int) -> list[dict[str, Any]]:
        if first == 1 or not self.path.is_file():
            return []
        with self.path.open(newline="", encoding="utf-8-sig") as file:
            return [row for row in csv.DictReader(file) if int(row["epoch"]) < first]

    def _measure_training_loss(self, engine: Engine) -> None:
        output = engine.state.output
        self._training_loss.add(float(output["loss"].detach()), len(output["pred"]))

    def _measure_validation_loss(self, engine: Engine) -> None:
        output = engine.state.output
        self._validation_loss.add(
            float(self.loss_function(output["pred"], output["label"])), len(output["pred"])
        )

    def _finish_epoch(self, engine: Engine) -> None:
        row: dict[str, Any] = {"epoch": engine.state.epoch}
        row |= {name: float(value) for name, value in engine.state.metrics.items()}
        row["train_loss"] = self._training_loss.over_all()
        validation_loss = self._validation_loss.over_all()
        if validation_loss is not None:
            row |= {name: float(value) for name, value in self.validator.state.metrics.items()}
            row["val_loss"] = validation_loss
        row["learning_rate"] = self.optimizer.param_groups[0]["lr"]
        row["seconds"] = time.monotonic() - self._started
        self._rows = [*(self._rows or []), row]
        if is_first():
            write_results_csv(self._rows, self.path)


class _Mean:
    """A running mean over images."""

    def __init__(self) -> None:
        self.clear()

    def clear(self, *_: Any) -> None:
        self.total, self.count = 0.0, 0

    def add(self, mean: float, count: int) -> None:
        self.total += mean * count
        self.count += count

    def over_all(self) -> float | None:
        """The mean over the images of all processes; None without images."""
        totals, counts = zip(*from_all((self.total, self.count)), strict=True)
        return sum(totals) / sum(counts) if any(counts) else None
