"""Find the orientation and polarity of a radiograph from its mask, if its file does not give them.

Other poses and the opposite polarity are only tried if the first mask does not look like lungs. The constants
below were calibrated by `scripts/measure_corrections.py` on real radiographs; docs/orientation.md reports
their accuracy.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np

from lungfield.mask import Flag, Quality, logistic
from lungfield.pose import MIRRORED, QUARTER_TURNS, UPRIGHT, Pose
from lungfield.records import Radiograph

_Trial = TypeVar("_Trial")

# Logistic regression that a mask is that of an upright chest with dark lungs. The shape has more weight than
# in the confidence, as a network can be equally certain of lungs that are upside down.
_INTERCEPT = -15.74
_COEFFICIENTS = {"contour_confidence": 12.17, "shape_likeness": 11.67, "lung_contrast": 2.83}
# A mask is doubtful below this plausibility, or with one of these flags.
_MIN_PLAUSIBILITY = 0.8
_DOUBTS = {
    Flag.NO_LUNG,
    Flag.ONE_LUNG,
    Flag.AREA_SMALL,
    Flag.AREA_LARGE,
    Flag.MISPLACED,
    Flag.ODD_SHAPE,
    Flag.LOW_CONFIDENCE,
    Flag.BRIGHT_LUNGS,
}
# A change is accepted if its mask has this plausibility, and this gain in log odds over the first mask.
_MIN_CHANGED_PLAUSIBILITY = 0.3
_MIN_GAIN = 1.5
# Trials use a copy whose shorter side has at least this number of pixels.
_REDUCED_SIDE_PX = 400


@dataclass(frozen=True)
class Change:
    """A change of orientation and polarity to try on a radiograph.

    Attributes:
        pose: the assumed pose of the radiograph, after the pose in its file was applied.
        inverted: whether to invert the grey values.
    """

    pose: Pose = UPRIGHT
    inverted: bool = False

    def mirrored(self) -> Change:
        """The same change, plus mirroring."""
        return replace(self, pose=self.pose.then(MIRRORED))

    def applied_to(self, radiograph: Radiograph) -> Radiograph:
        """The changed radiograph, with the corresponding flags and warnings."""
        changed = radiograph.in_pose(self.pose)
        if self.inverted:
            pixels = 1 - changed.pixels
            if changed.valid is not None:
                pixels[~changed.valid] = 0
            changed = replace(changed, pixels=pixels)
        flags, warnings = self._remarks(radiograph)
        return replace(
            changed, corrections=radiograph.corrections + flags, warnings=radiograph.warnings + warnings
        )

    def _remarks(self, radiograph: Radiograph) -> tuple[tuple[str, ...], tuple[str, ...]]:
        flags, warnings = [], []
        if not self.pose.is_upright:
            directions = "\\".join(radiograph.pose.then(self.pose).directions)
            flags.append(Flag.ORIENTATION_CORRECTED)
            warnings.append(
                "The file gives no orientation; according to the mask, its rows and columns have the "
                f"directions {directions} (as in PatientOrientation)."
            )
        if self.inverted:
            flags.append(Flag.POLARITY_CORRECTED)
            warnings.append("According to the mask, the lungs were bright: the picture was inverted.")
        return tuple(map(str, flags)), tuple(warnings)


def possible_changes(radiograph: Radiograph, quality: Quality) -> list[Change]:
    """The changes to try on a radiograph, given the quality of its first mask.

    Empty if the mask is plausible, or the file gives orientation and polarity. For bright lungs, inversion is
    tried even if the file gives the polarity, as the picture contradicts it.
    """
    flags = set(quality.flags)
    if plausibility(quality) >= _MIN_PLAUSIBILITY and not flags & _DOUBTS:
        return []
    poses = (UPRIGHT,) if radiograph.pose_is_known else QUARTER_TURNS
    doubtful = Flag.BRIGHT_LUNGS in flags or not radiograph.polarity_is_known
    changes = [Change(pose, inverted) for inverted in (False, True)[: 1 + doubtful] for pose in poses]
    return [change for change in changes if change != Change()]


def best_change(
    first: Quality, tried: Sequence[tuple[Change, Quality, _Trial]]
) -> tuple[Change, _Trial] | None:
    """The change with the most plausible mask, if it is clearly better than the first mask; else None.

    Args:
        first: quality of the first mask.
        tried: changes, each with the quality of its mask and any further value.

    Returns:
        The change and its further value.
    """
    change, quality, trial = max(tried, key=lambda one: plausibility(one[1]))
    gain = _log_odds(plausibility(quality)) - _log_odds(plausibility(first))
    if plausibility(quality) < _MIN_CHANGED_PLAUSIBILITY or gain < _MIN_GAIN:
        return None
    return change, trial


def plausibility(quality: Quality) -> float:
    """The probability, in [0, 1], that a mask is that of an upright chest with dark lungs."""
    return logistic(quality.features, _INTERCEPT, _COEFFICIENTS)


def reduced(radiograph: Radiograph) -> Radiograph:
    """A copy of a radiograph reduced by an integer factor, for trials; each pixel is the mean of a square."""
    factor = min(radiograph.shape) // _REDUCED_SIDE_PX
    if factor <= 1:
        return radiograph
    rows, columns = (side // factor * factor for side in radiograph.shape)
    # Imported on use: few radiographs are corrected.
    from skimage.measure import block_reduce

    pixels = block_reduce(radiograph.pixels[:rows, :columns], (factor, factor), np.mean)
    spacing = radiograph.spacing
    if spacing is not None:
        spacing = replace(spacing, row_mm=spacing.row_mm * factor, column_mm=spacing.column_mm * factor)
    return replace(
        radiograph,
        pixels=pixels.astype(np.float32),
        valid=None if radiograph.valid is None else radiograph.valid[:rows:factor, :columns:factor],
        spacing=spacing,
    )


def _log_odds(probability: float) -> float:
    bounded = min(max(probability, 1e-9), 1 - 1e-9)
    return math.log(bounded / (1 - bounded))
