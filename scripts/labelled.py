"""Radiographs of a prepared data set with their references, for the scripts that measure."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.progress import track

from lungfield.datasets import load_data_list
from lungfield.mask import read_mask
from lungfield.radiograph import read_radiograph
from lungfield.records import Radiograph

Labelled = tuple[dict[str, Any], Radiograph, NDArray[np.uint8]]


def labelled(dataset_dir: Path, section: str, dataset: str = "") -> Iterator[Labelled]:
    """Yield each item of a section with its radiograph and reference, and show progress.

    `dataset_dir` is a prepared data set, or a folder of several, of which `dataset` selects one.
    """
    items = [item for item in load_data_list(dataset_dir, section) if dataset in ("", item["dataset"])]
    for item in track(items, f"{len(items)} radiographs"):
        yield item, *read_labelled(item)


def read_labelled(item: dict[str, Any]) -> tuple[Radiograph, NDArray[np.uint8]]:
    """The radiograph of an item, whatever its view, and its reference."""
    return read_radiograph(Path(item["image"]), require_frontal=False), read_mask(Path(item["label"]))
