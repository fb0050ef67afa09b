"""Measure the ranges with which a bundle's largest convolutions are computed in 8-bit integers.

    python scripts/calibrate_int8.py data/jsrt --bundle efficientnet_lite0_unet

Writes models/int8.json of the bundle, if on the validation radiographs the mean Dice with the references
falls by at most 0.0005 for every structure; prints both. The ranges belong to the bundle's present weights:
after a training, measure them again. `dataset_dir` is a prepared data set, or a folder of several.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from rich.table import Table

from labelled import read_labelled
from lungfield.bundles import DEFAULT_BUNDLE, find_bundle
from lungfield.bundles.classes import structures_given
from lungfield.bundles.predictor import Processing, load_network
from lungfield.bundles.quantization import (
    LEAST_SHARE,
    int8_file,
    measure_ranges,
    quantised,
    write_ranges,
)
from lungfield.datasets import load_data_list
from lungfield.labels import BACKGROUND
from lungfield.mask import agreement
from lungfield.transforms import read_structures

FALL = 0.0005

Masks = dict[str, NDArray[np.bool_]]


def main(
    dataset_dir: Path,
    bundle: str = typer.Option(DEFAULT_BUNDLE, help="A shipped bundle's name, or the folder of another."),
    images: int = typer.Option(120, min=1, help="Training radiographs on which ranges are measured."),
    least_share: float = typer.Option(
        LEAST_SHARE, min=0.0, max=1.0, help="Least share of all multiplications of such a convolution."
    ),
) -> None:
    """Measure the ranges, compare the masks, and write the ranges."""
    found = find_bundle(bundle)
    processing, network = Processing(found), load_network(found)
    training = load_data_list(dataset_dir, "training")
    chosen = training[:: -(-len(training) // images)]
    inputs = (
        network_input(processing, item) for item in track(chosen, f"{len(chosen)} training radiographs")
    )
    ranges = measure_ranges(network, inputs, least_share=least_share)
    networks = {"float32": network, "8 bits": quantised(network, ranges)}
    dice: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    structures = list(structures_given(found))[1:]
    validation = load_data_list(dataset_dir, "validation", labelled=True, structures=structures)
    for item in track(validation, f"{len(validation)} validation radiographs"):
        for name, one in networks.items():
            for structure, value in dice_of(processing, one, item):
                dice[structure][name].append(value)
    table = Table("structure", "radiographs", *networks)
    for structure, values in dice.items():
        table.add_row(
            structure, str(len(values["float32"])), *(f"{np.mean(values[name]):.5f}" for name in networks)
        )
    Console().print(table)
    falls = {name: np.mean(values["float32"]) - np.mean(values["8 bits"]) for name, values in dice.items()}
    if not falls or max(falls.values()) > FALL:
        raise SystemExit(f"Not written: a Dice falls by more than {FALL}, or there is none.")
    write_ranges(found, ranges)
    print(f"{len(ranges)} convolutions: {int8_file(found)}")


def network_input(processing: Processing, item: dict[str, Any]) -> torch.Tensor:
    """The network input (1, C, h, w) of an item of a data list."""
    radiograph, _ = read_labelled(item)
    return processing.network_input(processing.prepare(radiograph))[None]


def dice_of(
    processing: Processing, network: torch.nn.Module, item: dict[str, Any]
) -> Iterator[tuple[str, float]]:
    """The Dice of each structure with a reference, by its name; the lungs together."""
    radiograph, reference = read_labelled(item)
    prepared = processing.prepare(radiograph)
    with torch.inference_mode():
        logits = network(processing.network_input(prepared)[None])[0]
    finished = processing.finish(prepared, logits, radiograph)
    upright = radiograph.pose.upright
    lungs = upright(finished.label_map) != BACKGROUND
    yield "lungs", agreement(lungs, reference != BACKGROUND, spacing=None).dice
    names = list(finished.structures)
    if "structures" not in item:
        return
    for name, mask in zip(names, read_structures(item["structures"], names), strict=True):
        if mask is not None:
            yield name, agreement(upright(finished.structures[name]), mask, spacing=None).dice


if __name__ == "__main__":
    typer.run(main)
