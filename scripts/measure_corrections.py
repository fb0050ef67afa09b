"""Measure how often a turned, mirrored or inverted radiograph whose file says nothing is brought back.

    python scripts/measure_corrections.py DATASET_DIR -o runs/corrections --bundle unet

Every radiograph of a section of a prepared data set is segmented as it is, in its seven other poses, and all
eight again as negatives. A copy counts as brought back where its mask has the Dice of the upright one to
within 0.005, and its sides as kept where 95 % of its lung is called by the same side. corrections.csv has a
row a copy, summary.json the shares of every kind.
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
from lungfield.export import write_results_csv
from lungfield.mask import agreement
from lungfield.pipeline import segmenting
from lungfield.pose import ALL_POSES, UPRIGHT, Pose
from lungfield.records import Radiograph

TOLERANCE = 0.005
MIN_SAME_SIDE = 0.95


def copies(radiograph: Radiograph) -> Iterator[tuple[Pose, bool, Radiograph]]:
    """The radiograph as files without a word on pose and polarity could store it, the upright one first."""
    for inverted, pose in product((False, True), ALL_POSES):
        pixels = pose.stored(1 - radiograph.pixels if inverted else radiograph.pixels)
        yield pose, inverted, replace(radiograph, pixels=np.ascontiguousarray(pixels), spacing=None)


def measure(
    item: dict, radiograph: Radiograph, reference: np.ndarray, predictor: Predictor
) -> Iterator[dict[str, object]]:
    """One row a copy of a radiograph."""
    first = None
    for pose, inverted, copy in copies(radiograph):
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
    """Shares for every kind of copy, and for all but the upright ones together."""
    kinds: dict[str, list[dict[str, object]]] = {}
    for row in rows:
        name = str(row["stored"]) + (" inverted" if row["inverted"] else "")
        kinds.setdefault(name, []).append(row)
        if not row["upright"]:
            kinds.setdefault("all but upright", []).append(row)
    return {
        name: {
            "copies": len(found),
            "brought_back": round(float(np.mean([row["brought_back"] for row in found])), 4),
            "sides_kept": round(float(np.mean([row["sides_kept"] for row in found])), 4),
            "corrected": round(float(np.mean([bool(row["corrections"]) for row in found])), 4),
        }
        for name, found in kinds.items()
    }


def main(
    dataset_dir: Path,
    output: Path = typer.Option(Path("runs/corrections"), "-o", "--output"),
    bundle: str = typer.Option("unet", help="Name or folder."),
    section: str = typer.Option("validation", help="Of the data list."),
    threads: int = typer.Option(1, help="Threads of torch."),
) -> None:
    """Segment all copies, and write what became of them."""
    torch.set_num_threads(threads)
    predictor = Predictor(find_bundle(bundle), device="cpu")
    output.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, object]] = []
    for one in labelled(dataset_dir, section):
        rows.extend(measure(*one, predictor))
        write_results_csv(rows, output / "corrections.csv", columns=list(rows[0]))
    summary = summarise(rows)
    (output / "summary.json").write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(summary, indent=1))


if __name__ == "__main__":
    typer.run(main)
