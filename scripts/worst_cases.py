"""Draw the radiographs on which a bundle agrees least with the reference, to be looked at.

    python scripts/worst_cases.py DATASET_DIR --bundle unet --count 10 -o worst.png

Orange is the reference, blue the bundle's mask; sorted by Dice, the worst first.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import typer
from PIL import Image, ImageDraw
from rich.progress import track
from skimage.segmentation import find_boundaries

from lungfield import Segmenter, read_radiograph
from lungfield.datasets import load_data_list
from lungfield.mask import read_mask

TILE = 384


def main(
    dataset_dir: Path,
    output: Path = typer.Option(..., "-o", "--output"),
    bundle: str = typer.Option("unet"),
    section: str = typer.Option("test"),
    dataset: str = typer.Option("", help="Only this set of several."),
    count: int = typer.Option(10),
    columns: int = typer.Option(5),
) -> None:
    """Segment a section of a prepared data set and draw its worst cases."""
    segmenter = Segmenter(bundle)
    items = [item for item in load_data_list(dataset_dir, section) if dataset in ("", item["dataset"])]
    found = []
    for item in track(items, "Segmenting"):
        lungs = segmenter(read_radiograph(Path(item["image"]), require_frontal=False))
        reference = read_mask(Path(item["label"]))
        found.append((lungs.agreement(reference).dice, item["id"], lungs, reference))
    found.sort(key=lambda one: one[0])
    tiles = [_tile(*one) for one in found[:count]]
    tiles += [np.zeros_like(tiles[0])] * (-len(tiles) % columns)
    rows = [np.concatenate(tiles[start : start + columns], axis=1) for start in range(0, len(tiles), columns)]
    output.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.concatenate(rows)).save(output)
    for dice, name, _, _ in found[:count]:
        print(f"{dice:.4f} {name}")


def _tile(dice: float, name: str, lungs, reference: np.ndarray) -> np.ndarray:
    def small(array: np.ndarray, resample: Image.Resampling) -> np.ndarray:
        return np.asarray(Image.fromarray(array).resize((TILE, TILE), resample))

    grey = small((lungs.radiograph.pixels * 255).astype(np.uint8), Image.Resampling.BOX)
    picture = np.repeat(grey[..., None], 3, axis=2)
    for mask, colour in ((reference, (255, 140, 0)), (lungs.label_map, (0, 170, 255))):
        outline = find_boundaries(small((mask > 0).astype(np.uint8), Image.Resampling.NEAREST), mode="thick")
        picture[outline] = colour
    image = Image.fromarray(picture)
    ImageDraw.Draw(image).text((6, 4), f"{dice:.3f} {name}", fill=(255, 255, 0))
    return np.asarray(image)


if __name__ == "__main__":
    typer.run(main)
