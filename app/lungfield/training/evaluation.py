"""Agreement with reference masks, image by image, as a handler of MONAI's evaluator."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Engine, Events
from monai.engines.utils import IterationEvents
from monai.utils import convert_to_numpy
from torch.nn import functional

from lungfield.export import write_results_csv, write_results_json
from lungfield.labels import LUNG_FIELD, LUNG_SIDE_UNKNOWN, LUNGS, UNKNOWN
from lungfield.mask import Agreement, agreement, summarise
from lungfield.records import Spacing
from lungfield.training.distributed import from_all, in_order_of_data, is_first
from lungfield.transforms import classes_and_unknown


class AgreementHandler:
    """Writes metrics.csv, a row an image, and summary.json, mean and spread by data set.

    Needs batches of one image with its `label` (1, 1, W, H) on the grid of the file, `id`, `dataset` and
    `spacing_mm` as `load_data_list` gives them, and a `pred` that post-processing has brought to that grid.
    Of several processes the first one writes what all have measured. What a label says is unknown is left out
    of mask and reference. Where the label tells right from left, the Dice of each lung is measured too.

    Args:
        output_dir: where the two files go; made where missing.
        loss_function: the loss of training, measured on the logits against the label averaged to
            their size; None leaves the column empty.
        classes: what the channels of the logits stand for.
    """

    def __init__(
        self,
        output_dir: str | Path,
        loss_function: Callable[[torch.Tensor, torch.Tensor], torch.Tensor] | None = None,
        classes: Sequence[int] = LUNG_FIELD,
    ) -> None:
        self.output_dir = Path(output_dir)
        self.classes = classes
        self.loss_function = loss_function
        self._results: list[_Result] = []

    def attach(self, engine: Engine) -> None:
        """Let `engine` call this handler."""
        engine.add_event_handler(Events.EPOCH_STARTED, self._start)
        engine.add_event_handler(IterationEvents.FORWARD_COMPLETED, self._measure_loss)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._measure)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._finish)

    def _start(self, engine: Engine) -> None:  # noqa: ARG002
        self._results.clear()

    def _measure_loss(self, engine: Engine) -> None:
        self._loss = math.nan
        if self.loss_function is None:
            return
        logits = engine.state.output["pred"]
        channels = classes_and_unknown(engine.state.output["label"].transpose(-1, -2), self.classes)
        label = functional.interpolate(channels, size=logits.shape[-2:], mode="area")
        self._loss = float(self.loss_function(logits, label))

    def _measure(self, engine: Engine) -> None:
        item, source = engine.state.output[0], engine.state.batch[0]
        name, dataset = str(source["id"]), str(source["dataset"])
        row_mm, column_mm = (float(side) for side in source["spacing_mm"])
        spacing = None if math.isnan(row_mm) else Spacing(row_mm, column_mm, source="data list")
        prediction = convert_to_numpy(item["pred"])[0].T
        reference = convert_to_numpy(item["label"])[0].T
        known = reference != UNKNOWN
        prediction, reference = prediction * known, reference * known
        result = agreement(prediction, reference, spacing=spacing)
        lungs = None
        if not (reference == LUNG_SIDE_UNKNOWN).any():
            lungs = [
                agreement(prediction == lung.value, reference == lung.value, spacing=spacing)
                for lung in LUNGS
            ]
        self._results.append(_Result(name, dataset, result, self._loss, lungs))

    def _finish(self, engine: Engine) -> None:
        everything = in_order_of_data(from_all(self._results))
        summaries: dict[str, Any] = {}
        for dataset in sorted({one.dataset for one in everything}):
            results = [one for one in everything if one.dataset == dataset]
            figures = summarise([one.agreement for one in results])
            with_sides = [one.lungs for one in results if one.lungs]
            for number, lung in enumerate(LUNGS if with_sides else ()):
                figures[f"{lung.name}_dice"] = summarise([lungs[number] for lungs in with_sides])["dice"]
            loss = sum(one.loss for one in results) / len(results)
            summaries[dataset] = {"images": len(results), "loss": loss} | {
                name: vars(figure) for name, figure in figures.items()
            }
            means = {name: figure.mean for name, figure in figures.items()} | {"loss": loss}
            engine.state.metrics |= {f"{dataset}_{name}": mean for name, mean in means.items()}
            shown = ", ".join(f"{name} {mean:.4f}" for name, mean in means.items())
            logging.getLogger("lungfield").info("%s, %d images: %s", dataset, len(results), shown)
        if is_first():
            self._write(everything, summaries)

    def _write(self, results: list[_Result], summaries: dict[str, Any]) -> None:
        self.output_dir.mkdir(parents=True, exist_ok=True)
        rows = [
            {"id": one.name, "dataset": one.dataset, **vars(one.agreement), **one.dice(), "loss": one.loss}
            for one in results
        ]
        write_results_csv(rows, self.output_dir / "metrics.csv")
        write_results_json(summaries, self.output_dir / "summary.json")
        logging.getLogger("lungfield").info(
            "%d images compared; see %s", len(rows), self.output_dir / "summary.json"
        )


@dataclass(frozen=True)
class _Result:
    """One image compared; the loss is NaN where none is measured, `lungs` None without sides."""

    name: str
    dataset: str
    agreement: Agreement
    loss: float
    lungs: list[Agreement] | None

    def dice(self) -> dict[str, float]:
        """The Dice of each lung; NaN where the label does not tell the sides."""
        values = [math.nan] * len(LUNGS) if self.lungs is None else [one.dice for one in self.lungs]
        return {f"{lung.name}_dice": value for lung, value in zip(LUNGS, values, strict=True)}
