"""Test radiographs with the contours of reference and networks, drawn through lungfield's own pipeline."""

from __future__ import annotations

import shutil
import statistics
import tempfile
from pathlib import Path

import matplotlib as mpl
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from monai.bundle import ConfigParser
from numpy.typing import NDArray

from lungfield import Segmenter, read_radiograph
from lungfield.datasets import load_data_list
from lungfield.mask import read_mask
from reproduction.data import own_split
from reproduction.results import Results, Row
from reproduction.runs import Run, stage_settings

_REFERENCE_COLOUR = "#FFB000"
_LONGEST_SIDE_PX = 512


def save_pictures(results: Results, data: Path, path: Path, *, device: str) -> bool:
    """Write a grid: radiograph, reference, and the networks that the experiment shows.

    The rows are, of each set's test images, the one in the middle and the last by the first network's Dice.

    Returns:
        False where one of the networks has not been measured.
    """
    experiment = results.experiment
    train = experiment.measure[0].train
    runs: dict[str, Run] = {}
    for name in experiment.pictures:
        measured = [row for row in results.rows if row.variant.name == name and row.images]
        if not measured:
            return False
        seed = min(measured[0].images)
        runs[name] = next(run for run in results.runs(name, train) if run.key.seed == seed)
    if not runs:
        return False
    baseline = next(row for row in results.rows if row.variant.name == experiment.pictures[0])
    run = runs[experiment.pictures[0]]
    sets = own_split(results.plan, run.recipe, data, results.output, run.key.seed)
    items = {
        (name, item["id"]): item
        for name in experiment.measure[0].test
        for item in load_data_list(sets / name, "test")
    }
    shown = [
        (f"{results.plan.sets[image[0]]}, {what}", image)
        for what, image in chosen_images(baseline, run.key.seed)
        if image in items
    ]
    with tempfile.TemporaryDirectory() as folder:
        segmenters = {
            name: Segmenter(as_bundle(one, Path(folder) / name), device=device) for name, one in runs.items()
        }
        columns = 2 + len(segmenters)
        with mpl.rc_context({"font.size": 8}):
            figure = Figure(figsize=(2.2 * columns, 2.5 * len(shown) + 0.3), layout="constrained")
            panels = figure.subplots(len(shown), columns, squeeze=False)
            label = results.plan.recipes[results.recipe].label
            figure.suptitle(f"{label}; orange: reference, blue: network and its Dice", fontsize=8)
            for line, (what, image) in zip(panels, shown, strict=True):
                _draw_line(line, items[image], what, segmenters, results)
            path.parent.mkdir(parents=True, exist_ok=True)
            figure.savefig(path, dpi=160)
    return True


def chosen_images(baseline: Row, seed: int) -> list[tuple[str, tuple[str, str]]]:
    """The median and the worst test image of each set by Dice, with what to call them."""
    chosen = []
    values = baseline.by_image("dice")[seed]
    for name in dict.fromkeys(dataset for dataset, _ in values):
        ranked = sorted((value, image) for image, value in values.items() if image[0] == name)
        median = statistics.median_low(ranked)
        chosen += [("median", median[1]), ("worst", ranked[0][1])]
    return chosen


def as_bundle(run: Run, folder: Path) -> Path:
    """Lay out the end of a run as a bundle that lungfield segments with.

    Args:
        run: a finished run.
        folder: of the bundle, made here.
    """
    (folder / "models").mkdir(parents=True)
    (folder / "configs").mkdir()
    number = len(run.recipe.stages)
    settings = stage_settings(run.recipe, run.variant, number)
    parser = ConfigParser()
    parser.read_config(str(run.variant.configs / "inference.yaml"))
    changes = {key: value for key, value in settings.items() if key.startswith("network_def::")}
    for key, value in {**changes, **run.variant.overrides, "image_size": settings["image_size"]}.items():
        parser[key] = value
    parser.export_config_file(parser.get(), str(folder / "configs" / "inference.yaml"), fmt="yaml")
    metadata = run.variant.configs / "metadata.json"
    if metadata.is_file():
        shutil.copy(metadata, folder / "configs")
    else:
        (folder / "configs" / "metadata.json").write_text("{}", encoding="utf-8")
    state = torch.load(run.stages[-1].checkpoint, map_location="cpu", weights_only=True)
    torch.save(state["network"], folder / "models" / "model.pt")
    return folder


def _draw_line(
    line: NDArray[np.object_],
    item: dict[str, str],
    what: str,
    segmenters: dict[str, Segmenter],
    results: Results,
) -> None:
    """Fill the panels of one radiograph."""
    radiograph = read_radiograph(Path(item["image"]), require_frontal=False)
    reference = read_mask(Path(item["label"]))
    pixels = radiograph.pixels
    _picture(line[0], pixels, f"{what}\n{item['id']}")
    _picture(line[1], pixels, "reference", (reference, _REFERENCE_COLOUR))
    for panel, (name, segmenter) in zip(line[2:], segmenters.items(), strict=True):
        lungs = segmenter(radiograph)
        dice = lungs.agreement(reference).dice
        variant = results.plan.variants[name]
        _picture(
            panel,
            pixels,
            f"{variant.label}\n{dice:.3f}",
            (reference, _REFERENCE_COLOUR),
            (lungs.label_map, "#00C8FF"),
        )


def _picture(
    panel: Axes, pixels: NDArray[np.float32], title: str, *masks: tuple[NDArray[np.uint8], str]
) -> None:
    step = max(1, round(max(pixels.shape) / _LONGEST_SIDE_PX))
    panel.imshow(pixels[::step, ::step], cmap="gray", vmin=0, vmax=1)
    for mask, colour in masks:
        if (mask > 0).any():
            panel.contour(
                (mask[::step, ::step] > 0).astype(float), levels=[0.5], colors=[colour], linewidths=1.0
            )
    panel.set_title(title, fontsize=7)
    panel.set_axis_off()
