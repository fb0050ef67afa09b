"""Radiographs degraded in ten ways, and pictures without a frontal chest, on which networks may fail.

A degradation takes pixels (H, W) float32 in [0, 1] and a reference (H, W) bool, and returns both degraded.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import skimage
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage
from skimage import color, io, transform

Pixels = NDArray[np.float32]
Mask = NDArray[np.bool_]

LONGEST_SIDE = 512
"""Size in pixels that pictures are made in or reduced to, for speed."""


# Ways to degrade a radiograph -------------------------------------------------------------------------------


def rotated(pixels: Pixels, reference: Mask, rng: np.random.Generator) -> tuple[Pixels, Mask]:
    """By 20 to 90 degrees, either way."""
    angle = rng.uniform(20, 90) * rng.choice([-1, 1])
    turned = ndimage.rotate(pixels, angle, reshape=False, order=1)
    return turned, ndimage.rotate(reference.astype(np.float32), angle, reshape=False, order=1) > 0.5


def upside_down(pixels: Pixels, reference: Mask, _: np.random.Generator) -> tuple[Pixels, Mask]:
    """By 180 degrees."""
    return pixels[::-1, ::-1], reference[::-1, ::-1]


def inverted(pixels: Pixels, reference: Mask, _: np.random.Generator) -> tuple[Pixels, Mask]:
    """With the wrong polarity."""
    return 1 - pixels, reference


def halved(pixels: Pixels, reference: Mask, rng: np.random.Generator) -> tuple[Pixels, Mask]:
    """Cropped to the left, right, upper or lower half."""
    rows, columns = (length // 2 for length in pixels.shape)
    box = [np.s_[:, :columns], np.s_[:, columns:], np.s_[:rows], np.s_[rows:]][rng.integers(4)]
    return pixels[box], reference[box]


def noisy(pixels: Pixels, reference: Mask, rng: np.random.Generator) -> tuple[Pixels, Mask]:
    """White noise, coarse enough to remain after the reduction to the network's size."""
    rows, columns = pixels.shape
    noise = rng.normal(0, rng.uniform(0.2, 0.6), (rows // 4, columns // 4))
    return np.clip(pixels + transform.resize(noise, pixels.shape, order=0), 0, 1), reference


def blurred(pixels: Pixels, reference: Mask, rng: np.random.Generator) -> tuple[Pixels, Mask]:
    """With a standard deviation of 2 to 8 % of the width."""
    return ndimage.gaussian_filter(pixels, rng.uniform(0.02, 0.08) * pixels.shape[1]), reference


def blocked(pixels: Pixels, reference: Mask, rng: np.random.Generator) -> tuple[Pixels, Mask]:
    """A white or black rectangle of a tenth to a third of the picture somewhere on it."""
    spoiled = pixels.copy()
    size = [round(length * rng.uniform(0.33, 0.58)) for length in pixels.shape]
    spoiled[_random_box(pixels.shape, size, rng)] = rng.integers(2)
    return spoiled, reference


def gamma(pixels: Pixels, reference: Mask, rng: np.random.Generator) -> tuple[Pixels, Mask]:
    """Grey values to the power of 4 to 8, or of the inverse."""
    return pixels ** rng.uniform(4, 8) ** rng.choice([-1, 1]), reference


def clipped(pixels: Pixels, reference: Mask, rng: np.random.Generator) -> tuple[Pixels, Mask]:
    """A window so narrow, and so far off, that most of the picture is white or black."""
    centre = np.percentile(pixels, rng.choice([10, 25, 75, 90]))
    return np.clip((pixels - centre) / rng.uniform(0.02, 0.1) + 0.5, 0, 1), reference


def framed(pixels: Pixels, reference: Mask, rng: np.random.Generator) -> tuple[Pixels, Mask]:
    """Reduced to 30 to 60 % of the side, with black around it."""
    scale = rng.uniform(0.3, 0.6)
    size = tuple(round(length * scale) for length in pixels.shape)
    box = _random_box(pixels.shape, size, rng)
    picture, mask = np.zeros_like(pixels), np.zeros_like(reference)
    picture[box] = transform.resize(pixels, size, anti_aliasing=True)
    mask[box] = transform.resize(reference.astype(np.float32), size, order=1) > 0.5
    return picture, mask


def _random_box(shape: Sequence[int], size: Sequence[int], rng: np.random.Generator) -> tuple[slice, ...]:
    starts = [rng.integers(0, long - short) for long, short in zip(shape, size, strict=True)]
    return tuple(slice(start, start + length) for start, length in zip(starts, size, strict=True))


Degradation = Callable[[Pixels, Mask, np.random.Generator], tuple[Pixels, Mask]]
DEGRADATIONS: tuple[Degradation, ...] = (
    rotated, upside_down, inverted, halved, noisy, blurred, blocked, gamma, clipped, framed,
)  # fmt: skip


# Pictures without a frontal chest ---------------------------------------------------------------------------


def hand(seed: int, side: int = LONGEST_SIDE) -> Pixels:
    """A hand: five fingers of bright bones with joints between them, in grey soft tissue on black."""
    rng = np.random.default_rng([seed, 1])
    wrist, palm = np.array([0.95, 0.5]), np.array([0.62, 0.5])
    tips = np.array([[0.4, 0.12], [0.14, 0.32], [0.08, 0.48], [0.13, 0.63], [0.28, 0.78]])
    tissue = _capsule(side, wrist, palm, 0.13)
    bone = _capsule(side, (0.95, 0.55), (0.77, 0.55), 0.035)
    bone |= _capsule(side, (0.95, 0.45), (0.77, 0.45), 0.03)
    for tip in tips + rng.normal(0, 0.02, tips.shape):
        knuckle = palm + (tip - palm) * (0.25, 0.4)
        tissue |= _capsule(side, (0.8, 0.5), knuckle, 0.09) | _capsule(side, knuckle, tip, 0.055)
        joints = [np.array((0.74, 0.5)), *(knuckle + part * (tip - knuckle) for part in (0, 0.45, 0.75, 1))]
        for start, end in pairwise(joints):
            gap = 0.12 * (end - start)
            bone |= _capsule(side, start + gap, end - gap, 0.018)
    return _detected(ndimage.gaussian_filter(0.05 + 0.35 * tissue + 0.5 * bone, 0.006 * side), rng)


def lateral(seed: int, side: int = LONGEST_SIDE) -> Pixels:
    """A chest from the side: one dark field between a bright spine and a bright heart."""
    rng = np.random.default_rng([seed, 2])
    row, column = 0.5 + rng.normal(0, 0.02, 2)
    body = _ellipse(side, (row, column), (0.62, 0.42))
    lungs = _ellipse(side, (row - 0.05, column), (0.36, 0.3))
    lungs &= ~_ellipse(side, (row + 0.4, column), (0.2, 0.4))
    heart = _ellipse(side, (row + 0.12, column - 0.14), (0.15, 0.14)) & lungs
    spine = _capsule(side, (row - 0.5, column + 0.2), (row + 0.45, column + 0.27), 0.055) & body
    picture = 0.05 + 0.6 * body - 0.35 * lungs + 0.2 * heart + 0.2 * spine
    return _detected(ndimage.gaussian_filter(picture, 0.012 * side), rng)


def page(seed: int, side: int = LONGEST_SIDE) -> Pixels:
    """A scanned report: rows of dark words on white."""
    rng = np.random.default_rng([seed, 3])
    paper = np.full((side, side), 0.95)
    for row in range(side // 16, side - side // 16, side // 24):
        column = side // 12
        while column < side * rng.uniform(0.6, 0.9):
            word = int(rng.integers(side // 40, side // 10))
            paper[row : row + side // 60, column : column + word] = rng.uniform(0, 0.5, (side // 60, 1))
            column += word + side // 64
    return _detected(paper, rng)


def blank(seed: int, side: int = LONGEST_SIDE) -> Pixels:
    """Nothing but noise."""
    rng = np.random.default_rng([seed, 4])
    return _detected(np.full((side, side), rng.uniform(0.1, 0.9)), rng)


def gradient(seed: int, side: int = LONGEST_SIDE) -> Pixels:
    """Grey that changes evenly from one side to the other: an exposure without a patient."""
    rng = np.random.default_rng([seed, 5])
    rows, columns = np.mgrid[-1 : 1 : side * 1j, -1 : 1 : side * 1j]
    angle = rng.uniform(0, 2 * np.pi)
    return _detected(0.5 + 0.35 * (rows * np.sin(angle) + columns * np.cos(angle)), rng)


def _detected(picture: NDArray[np.floating], rng: np.random.Generator) -> Pixels:
    noise = rng.normal(0, 0.02, picture.shape)
    return np.clip(picture + noise, 0, 1).astype(np.float32)


def _ellipse(side: int, centre: tuple[float, float], axes: tuple[float, float]) -> Mask:
    """Centre and half axes, (row, column), as parts of the side."""
    rows, columns = np.mgrid[0 : 1 : side * 1j, 0 : 1 : side * 1j]
    return ((rows - centre[0]) / axes[0]) ** 2 + ((columns - centre[1]) / axes[1]) ** 2 <= 1


def _capsule(side: int, start: ArrayLike, end: ArrayLike, radius: float) -> Mask:
    """The pixels within `radius` of the line from `start` to `end`, (row, column) as parts of the side."""
    start, end = np.asarray(start), np.asarray(end)
    points = np.moveaxis(np.mgrid[0 : 1 : side * 1j, 0 : 1 : side * 1j], 0, -1) - start
    along = end - start
    part = np.clip(points @ along / (along @ along), 0, 1)
    return np.linalg.norm(points - part[..., None] * along, axis=-1) <= radius


DRAWINGS: tuple[Callable[[int], Pixels], ...] = (hand, lateral, page, blank, gradient)
PHOTOGRAPHS = (
    "astronaut.png", "brick.png", "camera.png", "cell.png", "chelsea.png", "clock_motion.png", "coffee.png",
    "coins.png", "grass.png", "gravel.png", "horse.png", "hubble_deep_field.jpg", "ihc.png", "moon.png",
    "motorcycle_left.png", "page.png", "retina.jpg", "rocket.jpg", "text.png",
)  # fmt: skip
"""Pictures in the wheel of scikit-image: people, animals, cells, stones, text."""


def photograph(name: str) -> Pixels:
    """One of `PHOTOGRAPHS`, grey."""
    picture = io.imread(Path(skimage.__file__).parent / "data" / name)
    if picture.ndim == 3:
        picture = color.rgb2gray(picture[..., :3])
    picture = skimage.img_as_float32(picture)
    scale = LONGEST_SIDE / max(picture.shape)
    return transform.rescale(picture, min(1, scale), anti_aliasing=True).astype(np.float32)
