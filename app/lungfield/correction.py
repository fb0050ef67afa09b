"""Finding out how a radiograph lies, and which of its values are dark, where its file does not say.

Only a radiograph whose first mask is not that of lungs pays for it. The constants below were measured by
`scripts/measure_corrections.py` on real radiographs; docs/orientation.md shows what they are worth.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
from skimage.measure import block_reduce

from lungfield.mask import Flag, Quality, logistic
from lungfield.pose import MIRRORED, QUARTER_TURNS, UPRIGHT, Pose
from lungfield.records import Radiograph

_Trial = TypeVar("_Trial")

# Log odds that a mask is that of an upright chest with dark lungs. The shape counts for more than in the
# confidence: a network may be as sure of lungs that lie upside down.
_INTERCEPT = -15.74
_COEFFICIENTS = {"contour_confidence": 12.17, "shape_likeness": 11.67, "lung_contrast": 2.83}
# A mask is doubted below this plausibility, or where one of these flags is set.
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
# A change is believed where its mask is as plausible as this, with log odds so much above those of the first.
_MIN_CHANGED_PLAUSIBILITY = 0.3
_MIN_GAIN = 1.5
# Trials are run on a copy whose shorter side has at least so many pixels.
_REDUCED_SIDE_PX = 400


@dataclass(frozen=True)
class Change:
    """What may bring a radiograph upright and make its lungs dark.

    `pose` is how it seems to lie, after what its file says was done.
    """

    pose: Pose = UPRIGHT
    inverted: bool = False

    def mirrored(self) -> Change:
        """The same, and mirrored."""
        return replace(self, pose=self.pose.then(MIRRORED))

    def applied_to(self, radiograph: Radiograph) -> Radiograph:
        """The radiograph turned and inverted, with flags and warnings that say so."""
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
                "The file does not say how the picture lies; by its mask, its rows and columns run to "
                f"{directions} (as in PatientOrientation)."
            )
        if self.inverted:
            flags.append(Flag.POLARITY_CORRECTED)
            warnings.append("By its mask, the lungs are bright as the file asks to show them: inverted.")
        return tuple(map(str, flags)), tuple(warnings)


def possible_changes(radiograph: Radiograph, quality: Quality) -> list[Change]:
    """What to try on a radiograph by the quality of its first mask.

    Nothing where the mask is plausible or the file is clear. Bright lungs are tried to be inverted whatever
    the file says: the picture contradicts it.
    """
    flags = set(quality.flags)
    if plausibility(quality) >= _MIN_PLAUSIBILITY and not flags & _DOUBTS:
        return []
    poses = (UPRIGHT,) if radiograph.pose_told else QUARTER_TURNS
    doubtful = Flag.BRIGHT_LUNGS in flags or not radiograph.polarity_told
    changes = [Change(pose, inverted) for inverted in (False, True)[: 1 + doubtful] for pose in poses]
    return [change for change in changes if change != Change()]


def best_change(
    first: Quality, tried: Sequence[tuple[Change, Quality, _Trial]]
) -> tuple[Change, _Trial] | None:
    """The change whose mask is that of lungs, if there is one that is clearly better than the first mask.

    `tried` are changes, with the quality of their masks and whatever belongs to them.
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
    """A small copy to try changes on: each pixel the mean of a square of pixels."""
    factor = min(radiograph.shape) // _REDUCED_SIDE_PX
    if factor <= 1:
        return radiograph
    rows, columns = (side // factor * factor for side in radiograph.shape)
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
