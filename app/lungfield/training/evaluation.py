"""A handler of MONAI's evaluator that measures the agreement with reference masks for each image."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ignite.engine import Engine, Events
from monai.engines.utils import IterationEvents
from monai.utils import convert_to_numpy
from numpy.typing import NDArray
from torch.nn import functional

from lungfield.export import write_results_csv, write_results_json
from lungfield.labels import LUNG_FIELD, LUNG_SIDE_UNKNOWN, LUNGS, UNKNOWN, mask_names
from lungfield.mask import METRICS, Agreement, agreement, native_structures, summarise
from lungfield.mask.native import enlarged
from lungfield.records import Spacing
from lungfield.training.distributed import from_all, in_order_of_data, is_first
from lungfield.transforms import classes_and_unknown, read_structures, structure_channels


class AgreementHandler:
    """Writes metrics.csv, with a row per image, and summary.json, with mean and spread by data set.

    It needs batches of one image with its `label` (1, 1, W, H) on the grid of the file, `id`, `dataset` and
    `spacing_mm` from `load_data_list`, and a `pred` that post-processing has resampled to that grid. The
    first of several processes writes the results of all. Pixels whose label is unknown are left out. If the
    label separates right and left, the Dice of each lung is measured too.

    Further structures with a reference mask are measured too, after the cleaning of `lungfield segment`. For
    them, resizing must be the only geometric preprocessing.

    Args:
        output_dir: folder of the two files; created if missing.
        loss_function: the training loss, computed from the logits and the label averaged to their size; None
            leaves the column empty.
        classes: the label value of each channel of the logits.
        structures: the names of the further structures, in the order of their channels.
    """

    def __init__(
        self,
        output_dir: str | Path,
        loss_function: Callable[[torch.Tensor, torch.Tensor], torch.Tensor] | None = None,
        classes: Sequence[int] = LUNG_FIELD,
        structures: Sequence[str] = (),
    ) -> None:
        self.output_dir = Path(output_dir)
        self.classes = classes
        self.structures = structures
        self.loss_function = loss_function
        self._results: list[_Result] = []

    def attach(self, engine: Engine) -> None:
        """Register this handler with `engine`."""
        engine.add_event_handler(Events.EPOCH_STARTED, self._start)
        engine.add_event_handler(IterationEvents.FORWARD_COMPLETED, self._keep_structures)
        engine.add_event_handler(IterationEvents.FORWARD_COMPLETED, self._measure_loss)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._measure)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._finish)

    def _start(self, engine: Engine) -> None:  # noqa: ARG002
        self._results.clear()

    def _keep_structures(self, engine: Engine) -> None:
        """Store the logits and the reference masks, before post-processing replaces the logits."""
        if self.structures:
            paths = {name: one[0] for name, one in engine.state.batch["structures"].items()}
            self._references = read_structures(paths, self.structures)
            self._logits = convert_to_numpy(engine.state.output["pred"])[0]

    def _measure_loss(self, engine: Engine) -> None:
        self._loss = math.nan
        if self.loss_function is None:
            return
        logits = engine.state.output["pred"]
        label = engine.state.output["label"].transpose(-1, -2)
        if self.structures:
            channels = structure_channels(classes_and_unknown(label[0]), self._references)[None]
        else:
            channels = classes_and_unknown(label, self.classes)
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
        structures = self._measure_structures(prediction, spacing)
        prediction, reference = prediction * known, reference * known
        result = agreement(prediction, reference, spacing=spacing)
        lungs = None
        if not (reference == LUNG_SIDE_UNKNOWN).any():
            lungs = [
                agreement(prediction == lung.value, reference == lung.value, spacing=spacing)
                for lung in LUNGS
            ]
        self._results.append(_Result(name, dataset, result, self._loss, lungs, structures))

    def _measure_structures(self, lungs: NDArray[np.uint8], spacing: Spacing | None) -> dict[str, Agreement]:
        """The agreement of each further structure with a reference mask, for the label map (H, W)."""
        if not self.structures:
            return {}
        found = native_structures(dict(zip(self.classes, self._logits, strict=True)), lungs, lungs.shape)
        results = {}
        for channel, (name, reference) in enumerate(zip(self.structures, self._references, strict=True), 1):
            if reference is None:
                continue
            logits = self._logits[channel]
            parts = [found[part] for part in mask_names(name) if part in found] or [
                enlarged((logits > 0).astype(np.uint8), logits, lungs.shape) > 0  # one's own
            ]
            results[name] = agreement(np.logical_or.reduce(parts), reference, spacing=spacing)
        return results

    def _finish(self, engine: Engine) -> None:
        everything = in_order_of_data(from_all(self._results))
        summaries: dict[str, Any] = {}
        for dataset in sorted({one.dataset for one in everything}):
            results = [one for one in everything if one.dataset == dataset]
            figures = summarise([one.agreement for one in results])
            with_sides = [one.lungs for one in results if one.lungs]
            for number, lung in enumerate(LUNGS if with_sides else ()):
                figures[f"{lung.name}_dice"] = summarise([lungs[number] for lungs in with_sides])["dice"]
            for name in self.structures:
                measured = [one.structures[name] for one in results if name in one.structures]
                for metric, figure in (summarise(measured) if measured else {}).items():
                    figures[f"{name}_{metric}"] = figure
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
            {"id": one.name, "dataset": one.dataset, **vars(one.agreement), **one.dice()}
            | {"loss": one.loss, **one.of_structures(self.structures)}
            for one in results
        ]
        write_results_csv(rows, self.output_dir / "metrics.csv")
        write_results_json(summaries, self.output_dir / "summary.json")
        logging.getLogger("lungfield").info(
            "%d images compared; see %s", len(rows), self.output_dir / "summary.json"
        )


@dataclass(frozen=True)
class _Result:
    """The result of one image.

    Attributes:
        name: id of the image.
        dataset: name of its data set.
        agreement: of the lungs.
        loss: NaN if not measured.
        lungs: agreement of the right and the left lung; None if the label does not separate them.
        structures: agreement of further structures with a reference mask, by name.
    """

    name: str
    dataset: str
    agreement: Agreement
    loss: float
    lungs: list[Agreement] | None
    structures: dict[str, Agreement]

    def dice(self) -> dict[str, float]:
        """The Dice of each lung; NaN if the label does not separate the sides."""
        values = [math.nan] * len(LUNGS) if self.lungs is None else [one.dice for one in self.lungs]
        return {f"{lung.name}_dice": value for lung, value in zip(LUNGS, values, strict=True)}

    def of_structures(self, names: Sequence[str]) -> dict[str, float]:
        """Every metric of each further structure; NaN without a reference mask."""
        return {
            f"{name}_{metric}": getattr(self.structures.get(name), metric, math.nan)
            for name in names
            for metric in METRICS
        }
