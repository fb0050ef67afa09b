"""Measure how often a rotated, mirrored or inverted radiograph without orientation is corrected.

    python scripts/measure_corrections.py DATASET_DIR -o runs/corrections --bundle unet

Each radiograph of a section of a prepared data set is segmented in all eight poses, as it is and inverted. A
copy is 'brought back' if the Dice of its mask differs from that of the upright one by at most 0.005, and its
'sides are kept' if 95 % of the lung pixels have the same side. corrections.csv has a row for each copy,
summary.json the shares for each kind of copy.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import torch
import typer

from labelled import labelled
from lungfield.bundles import find_bundle
from lungfield.bundles.predictor import Predictor
from lungfield.export import write_results_csv, write_results_json
from lungfield.mask import agreement
from lungfield.pipeline import segmenting
from lungfield.pose import ALL_POSES, UPRIGHT
from lungfield.records import Radiograph

TOLERANCE = 0.005
MIN_SAME_SIDE = 0.95


def measure(
    item: dict, radiograph: Radiograph, reference: np.ndarray, predictor: Predictor
) -> Iterator[dict[str, object]]:
    """One row for each copy of a radiograph, the upright one first."""
    first = None
    for inverted, pose in product((False, True), ALL_POSES):
        pixels = pose.stored(1 - radiograph.pixels if inverted else radiograph.pixels)
        copy = replace(radiograph, pixels=np.ascontiguousarray(pixels), spacing=None)
        lungs = predictor.drive(segmenting(copy, predictor.processing))
        label_map = pose.upright(lungs.label_map)
        dice = agreement(label_map, reference, spacing=None).dice
        if first is None:
            first = label_map, dice
        both = (label_map > 0) & (first[0] > 0)
        same_side = float((label_map == first[0])[both].mean()) if both.any() else 0.0
        yield {
            "image": item["id"],
            "dataset": item["dataset"],
            "stored": "\\".join(pose.directions),
            "inverted": inverted,
            "dice": round(dice, 4),
            "upright_dice": round(first[1], 4),
            "brought_back": bool(abs(dice - first[1]) <= TOLERANCE),
            "sides_kept": same_side >= MIN_SAME_SIDE,
            "corrections": " ".join(lungs.radiograph.corrections),
            "flags": " ".join(lungs.quality.flags),
            "upright": pose == UPRIGHT and not inverted,
        }


def summarise(rows: list[dict[str, object]]) -> dict[str, dict[str, float]]:
    """Shares for each kind of copy, and for all but the upright ones together."""
    kinds: dict[str, list[dict[str, object]]] = {}
    for row in rows:
        name = str(row["stored"]) + (" inverted" if row["inverted"] else "")
        kinds.setdefault(name, []).append(row)
        if not row["upright"]:
            kinds.setdefault("all but upright", []).append(row)
    shares = {"brought_back": "brought_back", "sides_kept": "sides_kept", "corrected": "corrections"}
    return {
        name: {"copies": len(found)}
        | {key: round(float(np.mean([bool(row[of]) for row in found])), 4) for key, of in shares.items()}
        for name, found in kinds.items()
    }


def main(
    dataset_dir: Path,
    output: Path = typer.Option(Path("runs/corrections"), "-o", "--output"),
    bundle: str = typer.Option("unet", help="Name or folder."),
    section: str = typer.Option("validation", help="Of the data list."),
    threads: int = typer.Option(1, help="Threads of torch."),
) -> None:
    """Segment all copies, and write the results."""
    torch.set_num_threads(threads)
    predictor = Predictor(find_bundle(bundle), device="cpu")
    rows: list[dict[str, object]] = []
    for one in labelled(dataset_dir, section):
        rows.extend(measure(*one, predictor))
        write_results_csv(rows, output / "corrections.csv", columns=list(rows[0]))
    summary = summarise(rows)
    write_results_json(summary, output / "summary.json")
    print(json.dumps(summary, indent=1))


if __name__ == "__main__":
    typer.run(main)
