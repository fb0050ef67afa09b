"""The vessels of the lungs: trees that branch from the hila and thin out towards the chest wall."""

from __future__ import annotations

import math
from collections import defaultdict

import numpy as np
from numpy.typing import NDArray

from phantoms.frame import Frame, Plane, tube

Segment = NDArray[np.float64]

# Radii in mm of the generations of a tree; each is drawn at once.
_RADII = (5.0, 3.4, 2.3, 1.5, 0.95, 0.6)
_LENGTHS = (20, 24, 26, 26, 24, 22)
_HILA = ((-36.0, 122.0), (38.0, 114.0))


def vessels(frame: Frame, rng: np.random.Generator) -> Plane:
    """Thickness of the vessels along the rays.

    Args:
        frame: of the image.
        rng: draws the trees.

    Returns:
        (H, W) float32 in mm; branches also extend outside of the lungs.
    """
    segments: dict[int, list[Segment]] = defaultdict(list)
    for x, y in _HILA:
        side = math.copysign(1, x)
        for direction in np.linspace(-1.25, 1.35, 8):
            start = np.array([x + side * rng.normal(0, 4), y + 14 * direction + rng.normal(0, 4)])
            _grow(segments, start, direction + rng.normal(0, 0.08), side, generation=0, rng=rng)
    total = np.zeros(frame.shape, dtype=np.float32)
    for generation, drawn in segments.items():
        total += tube(frame.distance_to(drawn), max(_RADII[generation], 0.6 * frame.spacing_mm))
    return total


def _grow(
    segments: dict[int, list[Segment]],
    start: Segment,
    direction: float,
    side: float,
    *,
    generation: int,
    rng: np.random.Generator,
) -> None:
    """Grow a branch from `start`, with its sub-branches.

    Args:
        segments: polylines by generation, added to.
        start: (x, y) in mm.
        direction: 0 straight outwards, positive downwards, in radians.
        side: -1 towards the patient's right, 1 towards the left.
        generation: of the branch, 0 at the hilum.
        rng: draws lengths and angles.
    """
    length = _LENGTHS[generation] * rng.uniform(0.7, 1.3)
    bend = rng.normal(0, 0.25)
    angles = direction + bend * np.linspace(0, 1, 4)
    steps = length / 4 * np.stack([side * np.cos(angles), np.sin(angles)], axis=1)
    points = np.concatenate([start[None], start + np.cumsum(steps, axis=0)])
    segments[generation].append(points)
    if generation + 1 == len(_RADII):
        return
    fork = rng.uniform(0.25, 0.55)
    for turn in (fork * rng.uniform(0.3, 1), -fork):
        _grow(segments, points[-1], angles[-1] + turn, side, generation=generation + 1, rng=rng)
