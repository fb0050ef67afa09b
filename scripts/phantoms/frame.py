"""The patient's coordinates on the detector, and curves drawn in them.

Anatomy is described in mm of an average adult: x from the spine towards the patient's left (which is the
right side of the image), y downwards from the top of the lungs. A frame scales, turns and shifts it.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.draw import line

Plane = NDArray[np.floating[Any]]
"""A map over the image, (H, W)."""


@dataclass(frozen=True)
class Frame:
    """The position of the patient in front of the detector.

    Attributes:
        shape: (rows, columns) of the image.
        spacing_mm: pixel spacing, the same in both directions.
        centre_mm: (x, y) of the anatomy at the middle of the image.
        scale: (x, y) size of this patient relative to the average.
        tilt: of the patient, in radians.
    """

    shape: tuple[int, int]
    spacing_mm: float
    centre_mm: tuple[float, float]
    scale: tuple[float, float] = (1.0, 1.0)
    tilt: float = 0.0

    @cached_property
    def grid(self) -> tuple[Plane, Plane]:
        """(x, y) of every pixel, each (H, W), in mm of the average adult."""
        rows, columns = np.indices(self.shape, dtype=np.float32)
        across = (columns - (self.shape[1] - 1) / 2) * self.spacing_mm
        down = (rows - (self.shape[0] - 1) / 2) * self.spacing_mm
        cos, sin = math.cos(self.tilt), math.sin(self.tilt)
        x = (cos * across + sin * down) / self.scale[0] + self.centre_mm[0]
        y = (cos * down - sin * across) / self.scale[1] + self.centre_mm[1]
        return x.astype(np.float32), y.astype(np.float32)

    def pixels_of(self, points_mm: NDArray[np.float64]) -> NDArray[np.intp]:
        """(N, 2) rows and columns of (N, 2) points x, y; they may lie outside of the image."""
        x = (points_mm[:, 0] - self.centre_mm[0]) * self.scale[0]
        y = (points_mm[:, 1] - self.centre_mm[1]) * self.scale[1]
        cos, sin = math.cos(self.tilt), math.sin(self.tilt)
        columns = (cos * x - sin * y) / self.spacing_mm + (self.shape[1] - 1) / 2
        rows = (sin * x + cos * y) / self.spacing_mm + (self.shape[0] - 1) / 2
        return np.rint(np.stack([rows, columns], axis=1)).astype(np.intp)

    def distance_to(self, curves: Iterable[NDArray[np.float64]]) -> Plane:
        """(H, W) distance in mm from every pixel to the nearest of some polylines, each (N, 2) of x, y."""
        margin = round(20 / self.spacing_mm)  # a curve outside of the image can still reach into it
        rows, columns = (side + 2 * margin for side in self.shape)
        empty = np.ones((rows, columns), dtype=bool)
        for curve in curves:
            ends = self.pixels_of(curve) + margin
            for (row, column), (next_row, next_column) in itertools.pairwise(ends):
                drawn_rows, drawn_columns = line(row, column, next_row, next_column)
                inside = (
                    (drawn_rows >= 0) & (drawn_rows < rows) & (drawn_columns >= 0) & (drawn_columns < columns)
                )
                empty[drawn_rows[inside], drawn_columns[inside]] = False
        if empty.all():
            return np.full(self.shape, np.inf, dtype=np.float32)
        distance = ndimage.distance_transform_edt(empty, sampling=self.spacing_mm)
        return distance[margin : rows - margin, margin : columns - margin].astype(np.float32)


def tube(distance_mm: Plane, radius_mm: float) -> Plane:
    """Thickness in mm of a solid tube whose axis lies at a distance from each pixel."""
    return 2 * np.sqrt(np.maximum(radius_mm**2 - distance_mm**2, 0))


def ellipse(
    x: Plane, y: Plane, centre: tuple[float, float], radii: tuple[float, float], *, angle: float = 0.0
) -> Plane:
    """1 in the middle of an ellipse, falling to 0 at its edge as the thickness of an ellipsoid does."""
    cos, sin = math.cos(angle), math.sin(angle)
    dx, dy = x - centre[0], y - centre[1]
    r2 = ((cos * dx + sin * dy) / radii[0]) ** 2 + ((cos * dy - sin * dx) / radii[1]) ** 2
    return np.sqrt(np.maximum(1 - r2, 0))


def rounded(distance_mm: Plane, reach_mm: float) -> Plane:
    """0 at an edge, rising like a quarter of a circle to 1 at `reach_mm` inside of it."""
    inside = np.clip(distance_mm / reach_mm, 0, 1)
    return np.sqrt(1 - (1 - inside) ** 2)


def smooth_noise(rng: np.random.Generator, shape: tuple[int, int], scale_px: float) -> Plane:
    """(H, W) noise with mean 0 and standard deviation 1 whose grains are about `scale_px` wide."""
    noise = ndimage.gaussian_filter(rng.standard_normal(shape, dtype=np.float32), scale_px, mode="wrap")
    return (noise - noise.mean()) / max(float(noise.std()), 1e-12)
