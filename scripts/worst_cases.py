"""Draw the radiographs with the lowest agreement between a bundle and the reference.

    python scripts/worst_cases.py DATASET_DIR --bundle unet --count 10 -o worst.png

Orange is the reference, blue the bundle's mask; sorted by Dice, the worst first. With several bundles, the
worst cases of the first are drawn with the masks of all bundles side by side.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import typer
from PIL import Image, ImageDraw
from skimage.segmentation import mark_boundaries

from labelled import labelled
from lungfield import Segmentation, Segmenter, read_radiograph

TILE = 384


def main(
    dataset_dir: Path,
    output: Path = typer.Option(..., "-o", "--output"),
    bundle: list[str] = typer.Option(["unet"], help="Can be repeated."),
    section: str = typer.Option("test"),
    dataset: str = typer.Option("", help="Only this set of several."),
    count: int = typer.Option(10),
    columns: int = typer.Option(5),
) -> None:
    """Segment a section of a prepared data set and draw its worst cases."""
    segmenters = [Segmenter(one) for one in bundle]
    found = []
    for item, radiograph, reference in labelled(dataset_dir, section, dataset):
        lungs = segmenters[0](radiograph)
        found.append((lungs.agreement(reference).dice, item["id"], lungs, reference))
    found.sort(key=lambda one: one[0])
    tiles = []
    for dice, name, lungs, reference in found[:count]:
        radiograph = read_radiograph(lungs.radiograph.path, require_frontal=False)
        others = [segmenter(radiograph) for segmenter in segmenters[1:]]
        tiles += [_tile(one.agreement(reference).dice, name, one, reference) for one in (lungs, *others)]
        print(f"{dice:.4f} {name}")
    columns = max(1, columns // len(bundle)) * len(bundle)  # the masks of one radiograph stay together
    tiles += [np.zeros_like(tiles[0])] * (-len(tiles) % columns)
    rows = [np.concatenate(tiles[start : start + columns], axis=1) for start in range(0, len(tiles), columns)]
    output.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.concatenate(rows)).save(output)


def _tile(dice: float, name: str, lungs: Segmentation, reference: np.ndarray) -> np.ndarray:
    def small(array: np.ndarray, resample: Image.Resampling) -> np.ndarray:
        return np.asarray(Image.fromarray(array).resize((TILE, TILE), resample))

    picture = small((lungs.radiograph.pixels * 255).astype(np.uint8), Image.Resampling.BOX)
    for mask, colour in ((reference, (1, 0.55, 0)), (lungs.label_map, (0, 0.67, 1))):
        outlined = small((mask > 0).astype(np.uint8), Image.Resampling.NEAREST)
        picture = mark_boundaries(picture, outlined, colour, mode="thick")
    image = Image.fromarray((picture * 255).astype(np.uint8))
    ImageDraw.Draw(image).text((6, 4), f"{dice:.3f} {name}", fill=(255, 255, 0))
    return np.asarray(image)


if __name__ == "__main__":
    typer.run(main)
