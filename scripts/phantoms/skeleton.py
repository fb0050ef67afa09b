"""Ribs, clavicles, shoulder blades, upper arms and spine, as centimetres of compact bone along the rays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lungfield.labels import CLAVICLES
from phantoms.frame import Frame, Plane, ellipse, tube

Curve = NDArray[np.float64]
Mask = NDArray[np.bool_]

_RIBS = 10
_SIDES = (-1, 1)
_CLAVICLE_RADIUS_MM = 6.5


def skeleton(
    frame: Frame, lateral_border: Callable[[Any], NDArray[np.float64]], rng: np.random.Generator
) -> tuple[Plane, dict[str, Mask]]:
    """Thickness of compact bone, and the clavicles in it.

    Args:
        frame: of the image.
        lateral_border: distance of the lungs' lateral border from the spine in mm, over the square root of
            the depth below their top.
        rng: draws the small differences between patients.

    Returns:
        (H, W) float32 in cm; (H, W) bool masks of the clavicles, by the names of `lungfield.labels`.
    """
    ribs = _ribs(frame, lateral_border, rng)
    curves = _clavicles(rng)
    clavicles = 0.9 * _shell(frame.distance_to(curves), _CLAVICLE_RADIUS_MM, 1.5) / 10
    masks = {
        label.name: frame.distance_to([curve]) < _CLAVICLE_RADIUS_MM
        for label, curve in zip(CLAVICLES, curves, strict=True)
    }
    parts = (
        ribs,
        clavicles,
        _shoulders(frame, rng),
        _spine(frame, rng),
    )
    return np.sum(parts, axis=0, dtype=np.float32), masks


def _shell(distance_mm: Plane, radius_mm: float, wall_mm: float) -> Plane:
    """Compact bone in mm of a tube with marrow inside: bright along its edges."""
    marrow = 0.8 * tube(distance_mm, radius_mm - wall_mm)
    return tube(distance_mm, radius_mm) - marrow


def _ribs(
    frame: Frame, lateral_border: Callable[[Any], NDArray[np.float64]], rng: np.random.Generator
) -> Plane:
    """Ribs as half rings that are tilted forward and down.

    Seen from the front, the back half of such a ring runs from the spine outwards and slightly down, and the
    front half steeply back inwards.
    """
    back: list[Curve] = []
    front: list[Curve] = []
    slope = rng.uniform(0.48, 0.62)
    gap = rng.uniform(21, 23.5)
    for number in range(_RIBS):
        top = -20 + gap * number + rng.normal(0, 1)
        half_depth = 42 + 58 * min(1.0, number / 4)
        tilt = slope * (1.15 - 0.03 * number)
        turn_y = top + tilt * half_depth
        reach = float(lateral_border(np.sqrt(np.clip(turn_y, 3, 300)))) + 3
        for side in _SIDES:
            angle = np.linspace(0.1, np.pi / 2, 40)
            back.append(_ring(side, reach, top, tilt * half_depth, angle))
            if number < 8:
                front.append(_ring(side, reach, top, tilt * half_depth, np.linspace(np.pi / 2, 2.55, 30)))
    distance_back, distance_front = frame.distance_to(back), frame.distance_to(front)
    return (0.7 * _shell(distance_back, 6.0, 1.0) + 0.4 * _shell(distance_front, 6.5, 0.9)) / 10


def _ring(side: int, reach: float, top: float, fall: float, angle: Curve) -> Curve:
    return np.stack([side * reach * np.sin(angle), top + fall * (1 - np.cos(angle))], axis=1)


def _clavicles(rng: np.random.Generator) -> list[Curve]:
    """The axes of the right and of the left clavicle."""
    lift = rng.uniform(-8, 14)
    curves = []
    for side in _SIDES:
        along = np.linspace(0, 1, 40)
        height = 30 - (34 + lift) * along + 9 * np.sin(2 * np.pi * along)
        curves.append(np.stack([side * (17 + 138 * along), height], axis=1))
    return curves


def _shoulders(frame: Frame, rng: np.random.Generator) -> Plane:
    """Shoulder blades, rotated out of the lungs by a random amount, and upper arms."""
    x, y = frame.grid
    u = np.abs(x)
    inner = rng.uniform(108, 138)
    blade = np.clip(ellipse(u, y, (inner + 30, 62), (32, 82), angle=0.12) * 3, 0, 1)
    border = [
        np.array([(side * (inner + 2), 0.0), (side * inner, 60.0), (side * (inner + 22), 142.0)])
        for side in _SIDES
    ]
    spine = [np.array([(side * (inner + 4), 22.0), (side * (inner + 55), -12.0)]) for side in _SIDES]
    shafts = [
        np.array([(side * 182.0, 4.0), (side * 204.0, 150.0), (side * 212.0, 330.0)]) for side in _SIDES
    ]
    head = 34 * ellipse(u, y, (178, -2), (25, 25))
    arm = np.maximum(0.5 * head, _shell(frame.distance_to(shafts), 12, 3.5))
    blades = (
        2.2 * blade + 0.45 * tube(frame.distance_to(border), 3.5) + 0.5 * tube(frame.distance_to(spine), 5)
    )
    return (blades + arm) / 10


def _spine(frame: Frame, rng: np.random.Generator) -> Plane:
    """Vertebral bodies with bright end plates, and their pedicles and spinous processes."""
    x, y = frame.grid
    height = rng.uniform(21.5, 24.5)
    phase = np.mod(y + rng.uniform(0, height), height) - height / 2
    width = 13 + 0.03 * np.clip(y, -100, 300)
    column = np.sqrt(np.maximum(1 - (x / width) ** 4, 0))
    disc = 1 / (1 + np.exp((np.abs(phase) - 0.42 * height) / 0.6))
    plates = np.exp(-(((np.abs(phase) - 0.40 * height) / 1.3) ** 2))
    pedicles = ellipse(np.abs(x), phase, (10, -3), (3.2, 4.5))
    process = ellipse(x, phase, (0, 5), (3.0, 7.0))
    return (column * (5 * disc + 2 * plates) + 2.5 * pedicles + 3 * process) / 10
