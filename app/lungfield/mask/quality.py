"""Quality flags for unusual masks, and a confidence, to select the masks that a user should check.

The constants below were calibrated by `scripts/calibrate_flags.py` on real radiographs, good and corrupted;
docs/quality-flags.md explains every flag and reports their sensitivity.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lungfield.mask.features import SIDES, Features, extract_features
from lungfield.mask.heart import HeartMeasurements
from lungfield.records import Radiograph


class Flag(StrEnum):
    """Unusual properties of a mask or its radiograph; docs/quality-flags.md explains each."""

    NO_LUNG = "no-lung"
    ONE_LUNG = "one-lung"
    AREA_SMALL = "area-small"
    AREA_LARGE = "area-large"
    ASYMMETRIC = "asymmetric"
    TOUCHES_BORDER = "touches-border"
    MISPLACED = "misplaced"
    ODD_SHAPE = "odd-shape"
    LOW_CONFIDENCE = "low-confidence"
    UNSTABLE = "unstable"
    BRIGHT_LUNGS = "bright-lungs"
    FLAT_CONTRAST = "flat-contrast"
    DOUBTFUL_WINDOW = "doubtful-window"
    TAG_CONTRADICTION = "tag-contradiction"
    ORIENTATION_CORRECTED = "orientation-corrected"
    POLARITY_CORRECTED = "polarity-corrected"
    NO_HEART = "no-heart"
    HEART_TOUCHES_BORDER = "heart-touches-border"
    UNUSUAL_RATIO = "unusual-ratio"
    AP_RATIO = "ap-ratio"


@dataclass(frozen=True)
class Quality:
    """The automatic quality assessment of a mask.

    Attributes:
        flags: in the order of `Flag`; empty for a mask without unusual properties.
        confidence: in [0, 1], the estimated probability that the mask agrees with a reference by a Dice of at
            least 0.90; 0 without lung.
        features: from which both are computed, by name, all finite (docs/quality-flags.md). If a lung is
            missing, the features of its shape are missing too.
    """

    flags: tuple[Flag, ...]
    confidence: float
    features: Features = field(repr=False)


# Thresholds, just outside of the range of good masks on training and validation radiographs. Sizes and
# positions are fractions of the image.
_MIN_AREA_FRACTION, _MAX_AREA_FRACTION = 0.12, 0.46
_MIN_SECOND_LUNG, _MIN_LEFT_RIGHT_RATIO = 0.10, 0.50
_MAX_BORDER_CONTACT = 0.02
_MIN_ROW, _MAX_ROW = 0.28, 0.58
_MAX_OFF_CENTRE = 0.12
_MIN_ROW_OVERLAP = 0.85
_MIN_LIKENESS = 0.77
_MIN_SOLIDITY = 0.75
_MIN_ASPECT, _MAX_ASPECT = 1.1, 3.2
_MIN_CONFIDENCE = 0.5
_MIN_FLIP_AGREEMENT = 0.95
_MIN_LUNG_CONTRAST = 0.35
_MIN_MIDLINE_BRIGHTNESS = 0.40
_MIN_GREY_SPREAD = 0.03
_MAX_CLIPPED_FRACTION = 0.20
# From the lungs of a small child to those of a large adult, with the magnification of the projection.
_MIN_HEIGHT_MM, _MAX_HEIGHT_MM = 100.0, 420.0

# Of the cardiothoracic ratio. Reference masks of JSRT give 0.35 to 0.64.
_MIN_RATIO, _MAX_RATIO = 0.30, 0.75

# Logistic regression of a Dice of at least 0.90, fitted by scripts/calibrate_flags.py --fit
INTERCEPT = -12.91
COEFFICIENTS = {"contour_confidence": 17.58, "shape_likeness": 3.32, "lung_contrast": 2.0}


def assess(
    label_map: NDArray[np.uint8],
    probabilities: NDArray[np.float32],
    radiograph: Radiograph,
    *,
    flipped: NDArray[np.float32] | None = None,
    heart: HeartMeasurements | None = None,
) -> Quality:
    """Assess a mask by its shape, the network's certainty and the radiograph's grey values.

    Args:
        label_map: (H, W) uint8 with the values of `lungfield.labels`, on the radiograph's pixels or coarser.
        probabilities: (h, w) float32 in [0, 1], the probability of lung on the network's grid.
        radiograph: the segmented radiograph.
        flipped: (h, w) probabilities of the mirrored radiograph, mirrored back; None if not computed.
        heart: the measurements of the heart; None if the network does not segment it.
    """
    features = extract_features(label_map, probabilities, radiograph, flipped=flipped)
    confidence = logistic(features, INTERCEPT, COEFFICIENTS)
    found = _flags(features, confidence) | _contradictions(features, radiograph.header)
    found |= {Flag(name) for name in radiograph.corrections}
    if heart is not None and features["area_fraction"]:
        found |= _flags_of_heart(heart, radiograph.view)
    return Quality(tuple(flag for flag in Flag if flag in found), confidence, features)


def logistic(features: Features, intercept: float, coefficients: Mapping[str, float]) -> float:
    """A probability by logistic regression on features of a mask; 0 without lung."""
    if not features["area_fraction"]:
        return 0.0
    log_odds = intercept + sum(weight * features[name] for name, weight in coefficients.items())
    return 1 / (1 + math.exp(-max(-30.0, min(30.0, log_odds))))


def _flags(features: Features, confidence: float) -> set[Flag]:
    """The flags from the features and the confidence."""
    found = {
        Flag.NO_LUNG: not features["area_fraction"],
        Flag.LOW_CONFIDENCE: confidence < _MIN_CONFIDENCE,
        Flag.UNSTABLE: features.get("flip_agreement", 1.0) < _MIN_FLIP_AGREEMENT,
        # An inverted radiograph: bright air, or a dark midline.
        Flag.BRIGHT_LUNGS: features["midline_brightness"] < _MIN_MIDLINE_BRIGHTNESS
        or features.get("lung_contrast", 1.0) < _MIN_LUNG_CONTRAST,
        Flag.FLAT_CONTRAST: features["grey_spread"] < _MIN_GREY_SPREAD,
        Flag.DOUBTFUL_WINDOW: features["clipped_fraction"] > _MAX_CLIPPED_FRACTION,
    }
    if features["area_fraction"]:
        ratio = features["left_right_ratio"]
        found |= {
            Flag.ONE_LUNG: ratio < _MIN_SECOND_LUNG,
            Flag.ASYMMETRIC: _MIN_SECOND_LUNG <= ratio < _MIN_LEFT_RIGHT_RATIO,
            Flag.AREA_SMALL: features["area_fraction"] < _MIN_AREA_FRACTION,
            Flag.AREA_LARGE: features["area_fraction"] > _MAX_AREA_FRACTION,
            Flag.TOUCHES_BORDER: features["border_contact"] > _MAX_BORDER_CONTACT,
            Flag.MISPLACED: not _MIN_ROW <= features["row"] <= _MAX_ROW
            or abs(features["column"] - 0.5) > _MAX_OFF_CENTRE
            or features.get("row_overlap", 1.0) < _MIN_ROW_OVERLAP,
            Flag.ODD_SHAPE: _odd_shape(features),
        }
    return {flag for flag, is_set in found.items() if is_set}


def _flags_of_heart(heart: HeartMeasurements, view: str | None) -> set[Flag]:
    """The flags of heart and cardiothoracic ratio, for a view as in `Radiograph.view`."""
    ratio = heart.cardiothoracic_ratio
    found = {
        Flag.NO_HEART: not heart.heart_area_px,
        Flag.HEART_TOUCHES_BORDER: heart.heart_touches_edge,
        Flag.UNUSUAL_RATIO: ratio is not None and not _MIN_RATIO <= ratio <= _MAX_RATIO,
        # In AP views the heart is farther from the detector than in PA views, so it is magnified more.
        Flag.AP_RATIO: ratio is not None and view == "AP",
    }
    return {flag for flag, is_set in found.items() if is_set}


def _odd_shape(features: Features) -> bool:
    """Whether the mask does not look like upright lungs."""
    solidities, aspects = (
        [features[f"{side}_{what}"] for side in SIDES if f"{side}_{what}" in features]
        for what in ("solidity", "aspect")
    )
    return (
        features["shape_likeness"] < _MIN_LIKENESS
        or any(solidity < _MIN_SOLIDITY for solidity in solidities)
        or any(not _MIN_ASPECT <= aspect <= _MAX_ASPECT for aspect in aspects)
    )


def _contradictions(features: Features, header: Any) -> set[Flag]:
    """The flag of a header whose spacing or orientation contradicts the mask."""
    height_mm = features.get("height_mm")
    # The directions of a row and of a column (DICOM PS3.3, C.7.6.1.1.1).
    orientation = (
        [] if header is None else [str(value).upper() for value in header.get("PatientOrientation") or []]
    )
    not_frontal = any(value.startswith(("A", "P")) for value in orientation)
    impossible = height_mm is not None and not _MIN_HEIGHT_MM <= height_mm <= _MAX_HEIGHT_MM
    return {Flag.TAG_CONTRADICTION} if not_frontal or impossible else set()
