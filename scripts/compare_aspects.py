"""Compare three ways to fit an image that is not square to a square network input.

    python scripts/compare_aspects.py DATASET_DIR --section validation --dataset jsrt

Square radiographs of known shape are cropped to other aspects around their lungs, and segmented with the
bundle's weights by stretching to the network's size (the papers), by padding to a square first, and by
keeping the aspect with windows that slide along the longer side. Masks are compared on the cropped pixels.
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import numpy as np
import torch
import typer
from monai.inferers import SlidingWindowInferer
from monai.transforms import HistogramNormalize
from torch.nn import functional

from labelled import labelled
from lungfield.bundles import find_bundle
from lungfield.bundles.predictor import input_shape, load_network
from lungfield.mask import agreement, clean_mask
from lungfield.transforms.body import find_body

ASPECTS = {
    "square": 1.0,
    "4:5 portrait": 0.8,
    "5:4 landscape": 1.25,
    "2:3 portrait": 0.667,
    "3:2 landscape": 1.5,
}


def main(
    dataset_dir: Path,
    bundle: str = typer.Option("unet"),
    section: str = typer.Option("validation"),
    dataset: str = typer.Option("jsrt", help="A set whose images have their true shape."),
) -> None:
    """Print the mean Dice of each way for each aspect."""
    found = find_bundle(bundle)
    network, side = load_network(found), input_shape(found)[-1]
    ways = {"stretched": _stretched, "padded": _padded, "sliding": _sliding}
    dice: dict[tuple[str, str], list[float]] = defaultdict(list)
    for _, radiograph, label_map in labelled(dataset_dir, section, dataset):
        pixels, reference = radiograph.pixels, label_map > 0
        for aspect, ratio in ASPECTS.items():
            box = _crop(reference, ratio)
            for way, segment in ways.items():
                with torch.inference_mode():
                    logits = segment(torch.from_numpy(pixels[box])[None, None], network, side)
                mask = clean_mask(logits[0, 0].numpy() > 0)
                dice[aspect, way].append(agreement(mask, reference[box], spacing=None).dice)
    for aspect in ASPECTS:
        print(f"{aspect:15s}" + "  ".join(f"{way} {np.mean(dice[aspect, way]):.4f}" for way in ways))


def _crop(reference: np.ndarray, ratio: float) -> tuple[slice, slice]:
    """The largest window of the wanted width / height that is centred on the lungs as far as it can be."""
    height, width = reference.shape
    window = (height, round(height * ratio)) if ratio <= 1 else (round(width / ratio), width)
    slices = []
    for axis, (length, size) in enumerate(zip(window, reference.shape, strict=True)):
        where = np.flatnonzero(reference.any(axis=1 - axis))
        start = int(np.clip((where[0] + where[-1]) / 2 - length / 2, 0, size - length))
        slices.append(slice(start, start + length))
    return slices[0], slices[1]


def _equalised(image: torch.Tensor) -> torch.Tensor:
    body = find_body(image[0, 0].numpy())
    return torch.as_tensor(HistogramNormalize(min=0, max=1)(image[0], body[None]))[None]


def _stretched(image: torch.Tensor, network: torch.nn.Module, side: int) -> torch.Tensor:
    small = _equalised(functional.interpolate(image, size=(side, side), mode="area"))
    return _enlarged(network(small), image)


def _padded(image: torch.Tensor, network: torch.nn.Module, side: int) -> torch.Tensor:
    height, width = image.shape[-2:]
    longest = max(height, width)
    top, left = (longest - height) // 2, (longest - width) // 2
    square = functional.pad(image, [left, longest - width - left, top, longest - height - top])
    return _stretched(square, network, side)[..., top : top + height, left : left + width]


def _sliding(image: torch.Tensor, network: torch.nn.Module, side: int) -> torch.Tensor:
    scale = side / min(image.shape[-2:])
    size = tuple(max(side, round(length * scale)) for length in image.shape[-2:])
    small = _equalised(functional.interpolate(image, size=size, mode="area"))
    inferer = SlidingWindowInferer(roi_size=(side, side), overlap=0.5, mode="gaussian")
    return _enlarged(inferer(small, network), image)


def _enlarged(logits: torch.Tensor, image: torch.Tensor) -> torch.Tensor:
    return functional.interpolate(logits, size=image.shape[-2:], mode="bilinear", align_corners=False)


if __name__ == "__main__":
    typer.run(main)
