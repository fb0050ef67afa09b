"""Phantoms: synthetic chest radiographs whose lung fields, heart and clavicles are known exactly."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lungfield.labels import BACKGROUND
from phantoms.anatomy import Build, build_chest
from phantoms.frame import Frame, Plane
from phantoms.imaging import Edges, Exposure, add_marker, cover_edges, expose

# Fraction of the phantoms with visible collimator edges.
_COLLIMATED = 0.25


@dataclass(frozen=True)
class Phantom:
    """A synthetic chest radiograph with its reference.

    Attributes:
        pixels: (H, W) float32 in [0, 1], lungs dark.
        label_map: (H, W) uint8, the lung fields (values of `lungfield.labels`).
        spacing_mm: pixel spacing at the detector, the same in both directions.
        structures: (H, W) bool masks of heart and clavicles, by the names of `lungfield.labels`.
    """

    pixels: NDArray[np.float32]
    label_map: NDArray[np.uint8]
    spacing_mm: float
    structures: dict[str, NDArray[np.bool_]]


def make_phantom(seed: int | list[int], *, shape: tuple[int, int] = (512, 512)) -> Phantom:
    """Make a phantom: an average adult, varied, in front of a detector.

    Thicknesses of soft tissue, lung and bone along parallel rays give the attenuation; scatter, quantum
    noise, a tone curve, a letter and collimation follow. The picture is that of a posterior-anterior view,
    the patient's right on its left side.

    Args:
        seed: the same seed and shape give the same phantom.
        shape: (rows, columns); the shorter side spans 32 to 37 cm.
    """
    rng = np.random.default_rng(seed)
    spacing_mm = round(rng.uniform(318, 372) / min(shape), 4)
    frame = Frame(
        shape,
        spacing_mm,
        centre_mm=(rng.uniform(-8, 8), rng.uniform(105, 128)),
        scale=(rng.uniform(0.93, 1.07), rng.uniform(0.95, 1.12)),
        tilt=rng.normal(0, 0.02),
    )
    chest = build_chest(Build.draw(rng), frame, rng)
    pixels = expose(chest, Exposure.draw(rng), frame, rng)
    pixels = _add_letter(pixels, frame, rng)
    label_map, structures = chest.label_map, chest.structures
    if rng.random() < _COLLIMATED:
        edges = _draw_edges(shape, rng)
        pixels = cover_edges(pixels, edges, value=float(rng.choice([0.0, 0.0, 1.0])))
        label_map = cover_edges(label_map, edges, value=BACKGROUND)
        structures = {name: cover_edges(mask, edges, value=False) for name, mask in structures.items()}
    return Phantom(pixels.astype(np.float32), label_map, spacing_mm, structures)


def _add_letter(pixels: Plane, frame: Frame, rng: np.random.Generator) -> Plane:
    """Add a letter on the side of the patient that it names."""
    letter = str(rng.choice(["R", "L"]))
    column = rng.uniform(0.05, 0.1)
    spot = (rng.uniform(0.05, 0.12), column if letter == "R" else 1 - column)
    return add_marker(pixels, frame, letter=letter, spot=spot)


def _draw_edges(shape: tuple[int, int], rng: np.random.Generator) -> Edges:
    rows, columns = (max(1, side // 30) for side in shape)
    top, bottom, left, right = rng.integers(0, (rows, rows, columns, columns)).tolist()
    return top, bottom, left, right
