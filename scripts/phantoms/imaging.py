"""From thicknesses to a picture: attenuation, scatter, noise, and the processing of the X-ray unit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from phantoms.anatomy import Chest
from phantoms.frame import Frame, Plane, tube

T = TypeVar("T", bound=np.generic)
Edges = tuple[int, int, int, int]

# Linear attenuation per cm at about 60 keV, the mean energy of a 120 kV chest exposure (NIST XCOM: water
# 0.206, cortical bone of 1.92 g/cm3 0.604).
_SOFT_PER_CM = 0.206
_BONE_PER_CM = 0.604


@dataclass(frozen=True)
class Exposure:
    """The exposure and processing of a picture.

    Attributes:
        scatter: fraction of the mean signal nearby that is added as scatter, with a grid.
        photons: quanta per pixel without attenuation.
        blur_px: blur of focal spot and detector, in pixels.
        detail: strength of the unit's detail enhancement; 0 for the look of film.
        contrast: steepness of the middle of the tone curve.
        black_air: whether the unit shows air beside the patient as black.
    """

    scatter: float
    photons: float
    blur_px: float
    detail: float
    contrast: float
    black_air: bool

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Exposure:
        """Draw an exposure at random."""
        return cls(
            scatter=rng.uniform(0.05, 0.16),
            photons=10 ** rng.uniform(3.8, 4.8),
            blur_px=rng.uniform(0.5, 0.9),
            detail=rng.uniform(0.0, 1.0),
            contrast=rng.uniform(0.9, 1.5),
            black_air=bool(rng.random() < 0.7),
        )


def expose(chest: Chest, exposure: Exposure, frame: Frame, rng: np.random.Generator) -> Plane:
    """Take the picture of a chest.

    Returns:
        (H, W) float32 in [0, 1], lungs dark.
    """
    attenuation = _SOFT_PER_CM * chest.soft_cm + _BONE_PER_CM * chest.bone_cm
    primary = ndimage.gaussian_filter(np.exp(-attenuation), exposure.blur_px)
    # Scatter comes from thick parts of the body; with the air beside it, scatter would dominate.
    in_body = np.minimum(primary, 0.35)
    scatter = exposure.scatter * ndimage.gaussian_filter(in_body, 35 / frame.spacing_mm)
    signal = primary + scatter
    quanta = rng.poisson(exposure.photons * signal)
    measured = -np.log(np.maximum(quanta, 1) / exposure.photons)
    return _process(measured.astype(np.float32), exposure, frame)


def _process(measured: Plane, exposure: Exposure, frame: Frame) -> Plane:
    """Process for presentation: equalise, set the range from the body, apply the tone curve."""
    base = ndimage.gaussian_filter(measured, 16 / frame.spacing_mm)
    evened = (1 - 0.45 * exposure.detail) * base + (1 + 0.35 * exposure.detail) * (measured - base)
    body = evened[measured > 0.5]
    low, high = np.percentile(body, (0.5, 99.7))
    margin = (0.0 if exposure.black_air else 0.3) * (high - low)
    linear = np.clip((evened - low + margin) / (high - low + margin), 0, 1)
    return _tone(linear, exposure.contrast).astype(np.float32)


def _tone(linear: Plane, contrast: float) -> Plane:
    """An S-shaped curve through (0, 0) and (1, 1)."""
    steep = 3.2 * contrast
    low, high = 1 / (1 + np.exp(steep * 0.45)), 1 / (1 + np.exp(-steep * 0.55))
    return (1 / (1 + np.exp(-steep * (linear - 0.45))) - low) / (high - low)


def add_marker(pixels: Plane, frame: Frame, *, letter: str, spot: tuple[float, float]) -> Plane:
    """Add a lead letter, 'R' or 'L', centred at `spot`, (row, column) as fractions of the image."""
    strokes = {
        "L": [[(-4, -8), (-4, 8), (5, 8)]],
        "R": [[(-4, 8), (-4, -8), (2, -8), (5, -5), (5, -3), (2, 0), (-4, 0)], [(0, 0), (5, 8)]],
    }[letter]
    plain = Frame(frame.shape, frame.spacing_mm, (0, 0))
    rows, columns = frame.shape
    shift = np.array([(spot[1] - 0.5) * columns, (spot[0] - 0.5) * rows]) * frame.spacing_mm
    lead = np.clip(tube(plain.distance_to([np.array(stroke) + shift for stroke in strokes]), 1.6), 0, 1)
    return pixels + (0.97 - pixels) * lead


def cover_edges(pixels: NDArray[T], edges: Edges, *, value: float) -> NDArray[T]:
    """Cover the collimated borders.

    Args:
        pixels: (H, W), a picture or a label map.
        edges: rows at the top and bottom, columns at the left and right.
        value: of the covered pixels.
    """
    top, bottom, left, right = edges
    rows, columns = pixels.shape
    covered = np.full_like(pixels, value)
    seen = (slice(top, rows - bottom), slice(left, columns - right))
    covered[seen] = pixels[seen]
    return covered
