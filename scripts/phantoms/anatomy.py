"""The organs of the chest as thicknesses along the rays, and the lung fields that follow from them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import PchipInterpolator

from lungfield.labels import BACKGROUND, HEART, LEFT_LUNG, RIGHT_LUNG
from phantoms.frame import Frame, Plane, ellipse, rounded, smooth_noise, tube
from phantoms.skeleton import skeleton
from phantoms.vessels import vessels


@dataclass(frozen=True)
class Build:
    """The individual properties of a patient; lengths in mm of the average adult.

    Attributes:
        dome_right, dome_left: y of the top of each hemidiaphragm.
        sinus_depth: distance of the costophrenic angles below the domes.
        lung_width: lateral border of the lungs relative to the average.
        heart_size: relative to the average.
        heart_shift: of the heart towards the patient's left.
        depth_cm: front to back of the trunk.
        lung_depth_cm: front to back of the lungs at their widest.
        lung_density: of the inflated lung relative to water.
        breasts_cm: thickness of the breasts, 0 for none to be seen.
        stomach_gas_cm: thickness of the gas bubble under the left dome, 0 for none.
        bone: strength of the skeleton relative to the average.
        arms_out: distance of the arms from the trunk.
    """

    dome_right: float
    dome_left: float
    sinus_depth: float
    lung_width: float
    heart_size: float
    heart_shift: float
    depth_cm: float
    lung_depth_cm: float
    lung_density: float
    breasts_cm: float
    stomach_gas_cm: float
    bone: float
    arms_out: float

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Build:
        """Draw a build at random."""
        dome_right = rng.uniform(180, 208)
        depth_cm = rng.uniform(19, 25)
        return cls(
            dome_right=dome_right,
            dome_left=dome_right + rng.uniform(5, 14),
            sinus_depth=rng.uniform(34, 52),
            lung_width=rng.uniform(0.95, 1.05),
            heart_size=rng.uniform(0.86, 1.1),
            heart_shift=rng.uniform(-4, 6),
            depth_cm=depth_cm,
            lung_depth_cm=depth_cm - rng.uniform(5.0, 6.5),
            lung_density=rng.uniform(0.2, 0.3),
            breasts_cm=float(rng.choice([0.0, 0.0, 1.2, 2.4])),
            stomach_gas_cm=float(rng.choice([0.0, 2.0, 4.5])),
            bone=rng.uniform(0.8, 1.2),
            arms_out=rng.uniform(0, 25),
        )


@dataclass(frozen=True)
class Chest:
    """The thicknesses along the ray of each pixel.

    Attributes:
        soft_cm: (H, W) float32, soft tissue, as the equivalent thickness of water.
        bone_cm: (H, W) float32, compact bone.
        label_map: (H, W) uint8, the lung fields: the parts of the lungs beside heart and mediastinum and
            above the domes.
        structures: (H, W) bool masks of heart and clavicles, by the names of `lungfield.labels`.
    """

    soft_cm: Plane
    bone_cm: Plane
    label_map: NDArray[np.uint8]
    structures: dict[str, NDArray[np.bool_]]


# Lateral border of a lung: distance from the spine at depths below its top, both in mm. The border is
# interpolated over the root of the depth, which makes the top round.
_BORDER_Y = (0, 4, 12, 30, 60, 100, 150, 200, 260, 320)
_LATERAL = (50, 65, 78, 94, 109, 121, 130, 135, 138, 139)
_MEDIAL = (50, 37, 29, 21, 14, 10, 8, 8, 8, 8)

# Right and left border of heart and mediastinum, as distances from the spine over y, for domes at 198: great
# vessels, aortic knob, pulmonary trunk, then the atrium on the right and the ventricle on the left.
_MIDDLE_Y = (-150, -30, 0, 25, 50, 68, 82, 96, 108, 120, 140, 160, 180, 196, 208, 220, 420)
_MIDDLE_RIGHT = (34, 34, 32, 27, 25, 25, 26, 27, 28, 31, 40, 46, 47, 43, 36, 30, 26)
_MIDDLE_LEFT = (34, 36, 34, 28, 26, 33, 38, 36, 32, 36, 48, 63, 76, 82, 78, 55, 28)

# The heart is the lower part of them, from below the pulmonary trunk to where it lies on the diaphragm.
_HEART_MIDDLE_Y, _HEART_HALF_HEIGHT = 154, 52


def build_chest(build: Build, frame: Frame, rng: np.random.Generator) -> Chest:
    """Build a chest in front of the detector."""
    x, y = frame.grid
    body = _body(x, y, build)
    middle = _middle(x, y, build)
    lung_cm = np.zeros(frame.shape, dtype=np.float32)
    label_map = np.full(frame.shape, BACKGROUND, dtype=np.uint8)
    for side, dome_y, label in ((-1, build.dome_right, RIGHT_LUNG), (1, build.dome_left, LEFT_LUNG)):
        inside_mm = _inside_lung(side * x, y, build)
        below_dome_mm = y - _dome(side * x, dome_y, build)
        lung_cm += build.lung_depth_cm * _lung_depth(inside_mm, y, below_dome_mm)
        label_map[(inside_mm > 0) & (below_dome_mm < 0) & (middle == 0)] = label.value
    lung_cm = np.minimum(lung_cm, np.maximum(body - 4, 0))
    lung_cm *= 1 - middle
    density = build.lung_density * _texture(frame, rng)
    vessel_cm = (np.minimum(vessels(frame, rng) / 10, 2.5) + _hila(x, y)) * np.clip(lung_cm / 3, 0, 1)
    soft = body + _breasts(x, y, build) - lung_cm * (1 - density) + vessel_cm
    soft -= np.minimum(_gas(x, y, build), np.maximum(body - 6, 0)) + _airways(frame)
    bone, clavicles = skeleton(frame, _lateral_border(build), rng)
    heart = (middle > 0) & (np.abs(_height(y, build) - _HEART_MIDDLE_Y) < _HEART_HALF_HEIGHT)
    structures = {HEART.name: heart, **clavicles}
    return Chest(np.maximum(soft, 0), build.bone * bone, label_map, structures)


def _lateral_border(build: Build) -> PchipInterpolator:
    return PchipInterpolator(np.sqrt(_BORDER_Y), np.asarray(_LATERAL) * build.lung_width)


def _inside_lung(u: Plane, y: Plane, build: Build) -> Plane:
    """Signed distance of a pixel from a lung's lateral or upper border in mm; negative outside.

    Args:
        u: distance from the spine towards the lung's side.
        y: distance below its top.
        build: of the patient.
    """
    root = np.sqrt(np.clip(y, 0, _BORDER_Y[-1]))
    lateral = _lateral_border(build)(root) - u
    medial = u - PchipInterpolator(np.sqrt(_BORDER_Y), _MEDIAL)(root)
    inside = np.where((y >= 0) & (medial > 0), np.minimum(lateral, y), -1)
    return inside.astype(np.float32)


def _dome(u: Plane, top_y: float, build: Build) -> Plane:
    """Height y of a hemidiaphragm: a dome whose outer slope falls steeply into the costophrenic angle."""
    outer, inner = np.maximum(u - 68, 0) / 68, np.maximum(68 - u, 0) / 60
    return top_y + build.sinus_depth * outer**2.4 + 9 * inner**2


def _lung_depth(inside_mm: Plane, y: Plane, below_dome_mm: Plane) -> Plane:
    """Depth of a lung along the rays, 1 at its widest; behind the dome some of it reaches further down."""
    depth = rounded(inside_mm, 38) * (0.45 + 0.55 * np.clip(y / 90, 0, 1) ** 0.7)
    behind_dome = 0.3 * np.clip(1 - below_dome_mm / 45, 0, 1)
    return np.where(inside_mm > 0, depth * np.where(below_dome_mm < 0, 1, behind_dome), 0)


def _body(x: Plane, y: Plane, build: Build) -> Plane:
    """Thickness of neck, trunk and arms in cm."""
    u = np.abs(x)
    heights = (-140, -75, -58, -45, -30, -12, 20, 70, 110, 200, 300, 420)
    widths = np.array([62, 60, 72, 108, 150, 176, 184, 164, 156, 155, 152, 160], dtype=float)
    widths[4:] += 150 * (build.lung_width - 1)
    depths = np.array([11, 12, 13, 14, 15.5, 17, 20, 22, 22, 22, 22, 23]) * build.depth_cm / 22
    width = PchipInterpolator(heights, widths)(np.clip(y, -140, 420))
    depth = PchipInterpolator(heights, depths)(np.clip(y, -140, 420))
    trunk = depth * rounded(width - u, 95)
    # The arm hangs from the shoulder, more or less away from the trunk.
    axis = 180 + 0.10 * np.maximum(y, 0) + build.arms_out * np.clip(y / 120, 0, 1)
    from_axis = np.hypot(u - axis, np.minimum(y - 24, 0))
    arm = 11 * np.sqrt(np.maximum(1 - (from_axis / 46) ** 2, 0))
    return np.maximum(trunk, arm).astype(np.float32)


def _middle(x: Plane, y: Plane, build: Build) -> Plane:
    """Fraction of the ray's path in heart and mediastinum instead of lung: 0 beside them, 1 at the spine."""
    height = np.clip(_height(y, build), _MIDDLE_Y[0], _MIDDLE_Y[-1])
    # The heart varies in size, the vessels above it hardly.
    size = 1 + (build.heart_size - 1) * np.clip((height - 100) / 40, 0, 1)
    shift = build.heart_shift * np.clip((height - 70) / 60, 0, 1)
    right = PchipInterpolator(_MIDDLE_Y, _MIDDLE_RIGHT)(height) * size - shift
    left = PchipInterpolator(_MIDDLE_Y, _MIDDLE_LEFT)(height) * size + shift
    part = np.abs(x) / np.where(x < 0, right, left)
    return np.sqrt(np.maximum(1 - part**3, 0)).astype(np.float32)


def _height(y: Plane, build: Build) -> Plane:
    """The height y of a position in a patient whose domes are at 198."""
    return y + 198 - 0.5 * (build.dome_right + build.dome_left)


def _texture(frame: Frame, rng: np.random.Generator) -> Plane:
    """Density of the lungs from place to place, about 1: denser towards the base, cloudy, finely grained."""
    y = frame.grid[1]
    clouds = smooth_noise(rng, frame.shape, 14 / frame.spacing_mm)
    grain = smooth_noise(rng, frame.shape, 1.6 / frame.spacing_mm)
    return 0.9 + 0.25 * np.clip(y / 250, 0, 1) + 0.045 * clouds + 0.06 * grain


def _hila(x: Plane, y: Plane) -> Plane:
    """Thickness of the roots of the lungs in cm."""
    return 1.6 * (
        ellipse(x, y, (-38, 126), (18, 30), angle=0.35) + ellipse(x, y, (42, 118), (18, 26), angle=-0.35)
    )


def _breasts(x: Plane, y: Plane, build: Build) -> Plane:
    """Thickness of the breasts in cm."""
    fold_y = build.dome_right + 22
    return build.breasts_cm * ellipse(np.abs(x), y, (84, fold_y - 44), (62, 58))


def _gas(x: Plane, y: Plane, build: Build) -> Plane:
    """Gas in the stomach under the left dome, in cm."""
    bubble = ellipse(x, y, (72, build.dome_left + 27), (30, 15), angle=-0.15)
    return build.stomach_gas_cm * bubble


def _airways(frame: Frame) -> Plane:
    """Air in the trachea and the main bronchi, in cm."""
    trachea = np.array([(0.0, -150.0), (-1.0, 0.0), (-3.0, 60.0), (-4.0, 92.0)])
    bronchi = [
        np.array([(-4.0, 92.0), (-20.0, 108.0), (-32.0, 124.0)]),
        np.array([(-4.0, 92.0), (18.0, 108.0), (38.0, 120.0)]),
    ]
    return (
        np.maximum(tube(frame.distance_to([trachea]), 8.5), 0.8 * tube(frame.distance_to(bronchi), 6.0)) / 10
    )
