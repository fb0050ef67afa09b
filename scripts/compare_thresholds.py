"""Compare probability thresholds of lung on a validation section.

    python scripts/compare_thresholds.py DATASET_DIR --bundle unet --section validation

Prints the mean Dice after post-processing for each threshold, by data set, alone and averaged with the
mirrored image's logits.
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import numpy as np
import typer
from torch.nn import functional

from labelled import labelled
from lungfield.bundles import find_bundle
from lungfield.bundles.predictor import Predictor
from lungfield.mask import agreement, clean_mask

THRESHOLDS = (0.3, 0.35, 0.4, 0.45, 0.5, 0.55)


def main(
    dataset_dir: Path, bundle: str = typer.Option("unet"), section: str = typer.Option("validation")
) -> None:
    """Print mean Dice by threshold."""
    predictor = Predictor(find_bundle(bundle))
    dice: dict[tuple[str, str, float], list[float]] = defaultdict(list)
    for item, radiograph, reference in labelled(dataset_dir, section):
        image = predictor.network_input(radiograph)
        alone = predictor.logits(image)
        mirrored = predictor.logits(image.flip(-1)).flip(-1)
        for way, logits in (("alone", alone), ("with its mirror image", (alone + mirrored) / 2)):
            native = functional.interpolate(logits, size=radiograph.shape, mode="bilinear")[0, 0].numpy()
            for threshold in THRESHOLDS:
                mask = clean_mask(native > np.log(threshold / (1 - threshold)))
                dice[item["dataset"], way, threshold].append(agreement(mask, reference, spacing=None).dice)
    for dataset, way in dict.fromkeys((dataset, way) for dataset, way, _ in dice):
        means = "  ".join(f"{value}: {np.mean(dice[dataset, way, value]):.4f}" for value in THRESHOLDS)
        print(f"{dataset:10s} {way:22s} {means}")


if __name__ == "__main__":
    typer.run(main)
