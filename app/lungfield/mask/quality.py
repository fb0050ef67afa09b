"""Which masks a user should look at: flags for what is odd about a mask, and a confidence in it.

The constants below were measured by `scripts/calibrate_flags.py` on real radiographs, good and spoiled;
docs/quality-flags.md explains every flag and shows what they are worth.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import ConvexHull

from lungfield.labels import LEFT_LUNG, RIGHT_LUNG
from lungfield.mask.components import bounding_box, dilated, eroded
from lungfield.mask.sampling import occupancy, sampled
from lungfield.records import Radiograph

Mask = NDArray[np.bool_]
Features = dict[str, float]


class Flag(StrEnum):
    """What is odd about a mask or its radiograph; docs/quality-flags.md has a line on each."""

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


@dataclass(frozen=True)
class Quality:
    """How far a mask can be trusted before anyone has looked at it.

    Attributes:
        flags: what is odd, in the order of `Flag`; empty where nothing is.
        confidence: in [0, 1], the estimated probability that the mask agrees with a reference by a Dice of at
            least 0.90; 0 where there is no lung.
        features: what both were taken from, by name, all finite (docs/quality-flags.md). Where a lung is
            missing, the features of its shape are missing too.
    """

    flags: tuple[Flag, ...]
    confidence: float
    features: Features


_LUNG_FROM = 0.5  # probability
_SIDES = {"right": RIGHT_LUNG, "left": LEFT_LUNG}

# Thresholds: just outside of what good masks show on training and validation radiographs. Sizes and places
# are in parts of the image.
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
# From a small child's lungs to more than any adult's, enlarged by the projection.
_MIN_HEIGHT_MM, _MAX_HEIGHT_MM = 100.0, 420.0

# Log odds of a Dice of at least 0.90: scripts/calibrate_flags.py --fit
INTERCEPT = -12.91
COEFFICIENTS = {"contour_confidence": 17.58, "shape_likeness": 3.32, "lung_contrast": 2.0}

# How often a place in the lungs' bounding box is lung, in ninths: the mean of the training references and of
# their mirror images. scripts/calibrate_flags.py --fit
_ATLAS_ROWS = (
    "0013674114763100",
    "0137996226997310",
    "0279997227999720",
    "1589986116899851",
    "2699985115899962",
    "2799984114899972",
    "3899973003799983",
    "4899973003799984",
    "4899852002589984",
    "5998741001478995",
    "6998641001468996",
    "6987531001357896",
    "7875321001235787",
    "7742110000112477",
    "6310000000000136",
    "3100000000000013",
)
_ATLAS = np.array([list(row) for row in _ATLAS_ROWS]).astype(np.float64) / 9


def assess(
    label_map: NDArray[np.uint8],
    probabilities: NDArray[np.float32],
    radiograph: Radiograph,
    *,
    flipped: NDArray[np.float32] | None = None,
) -> Quality:
    """Judge a mask by its shape, by how sure the network was of it, and by the grey values beneath it.

    Args:
        label_map: (H, W) uint8 with the values of `lungfield.labels`, on the radiograph's pixels or coarser.
        probabilities: (h, w) float32 in [0, 1], that of lung, on the network's grid.
        radiograph: what was segmented.
        flipped: (h, w) probabilities of the mirrored radiograph, mirrored back, if they were computed.

    Returns:
        Flags, confidence, and the features that they were taken from.
    """
    features = extract_features(label_map, probabilities, radiograph, flipped=flipped)
    confidence = estimate_confidence(features)
    found = _flags(features, confidence) | _contradictions(features, radiograph.header)
    found |= {Flag(name) for name in radiograph.corrections}
    return Quality(tuple(flag for flag in Flag if flag in found), confidence, features)


def flip_agreement(probabilities: NDArray[np.floating], flipped: NDArray[np.floating]) -> float:
    """The Dice of what two maps of probabilities, both (h, w), call lung; 1 where neither finds any.

    Args:
        probabilities: of a radiograph.
        flipped: of its mirror image, mirrored back.
    """
    return _dice(probabilities > _LUNG_FROM, flipped > _LUNG_FROM)


def extract_features(
    label_map: NDArray[np.uint8],
    probabilities: NDArray[np.float32],
    radiograph: Radiograph,
    *,
    flipped: NDArray[np.float32] | None = None,
) -> Features:
    """What `assess` takes flags and confidence from; arguments as there."""
    labels = sampled(label_map)
    pixels = sampled(radiograph.pixels, labels.shape)
    valid = np.ones(labels.shape, dtype=bool)
    if radiograph.valid is not None:
        valid = sampled(radiograph.valid, labels.shape)
    rows, columns = radiograph.shape
    features = _grey_features(pixels, valid) | {"area_fraction": float(np.mean(labels != 0))}
    if labels.any():
        features |= _shape_features(labels, aspect=rows / columns * radiograph.pixel_aspect)
        features |= _contrast_features(pixels, labels != 0, valid)
        features |= _network_features(sampled(probabilities), label_map)
        if radiograph.spacing is not None:
            features["height_mm"] = features["height"] * rows * radiograph.spacing.row_mm
    if flipped is not None:
        features["flip_agreement"] = flip_agreement(probabilities, flipped)
    return features


def estimate_confidence(features: Features) -> float:
    """The estimated probability that a mask with these features has a Dice of at least 0.90."""
    return logistic(features, INTERCEPT, COEFFICIENTS)


def logistic(features: Features, intercept: float, coefficients: Mapping[str, float]) -> float:
    """A probability by logistic regression on features of a mask; 0 where there is no lung."""
    if not features["area_fraction"]:
        return 0.0
    log_odds = intercept + sum(weight * features[name] for name, weight in coefficients.items())
    return 1 / (1 + math.exp(-max(-30.0, min(30.0, log_odds))))


def _flags(features: Features, confidence: float) -> set[Flag]:
    """The flags of what was measured on mask, probabilities and pixels."""
    of_picture = {
        Flag.NO_LUNG: not features["area_fraction"],
        Flag.LOW_CONFIDENCE: confidence < _MIN_CONFIDENCE,
        Flag.UNSTABLE: features.get("flip_agreement", 1.0) < _MIN_FLIP_AGREEMENT,
        Flag.BRIGHT_LUNGS: _bright_lungs(features),
        Flag.FLAT_CONTRAST: features["grey_spread"] < _MIN_GREY_SPREAD,
        Flag.DOUBTFUL_WINDOW: features["clipped_fraction"] > _MAX_CLIPPED_FRACTION,
    }
    of_mask = _flags_of_mask(features) if features["area_fraction"] else {}
    return {flag for flag, is_set in (of_picture | of_mask).items() if is_set}


def _flags_of_mask(features: Features) -> dict[Flag, bool]:
    ratio = features["left_right_ratio"]
    return {
        Flag.ONE_LUNG: ratio < _MIN_SECOND_LUNG,
        Flag.ASYMMETRIC: _MIN_SECOND_LUNG <= ratio < _MIN_LEFT_RIGHT_RATIO,
        Flag.AREA_SMALL: features["area_fraction"] < _MIN_AREA_FRACTION,
        Flag.AREA_LARGE: features["area_fraction"] > _MAX_AREA_FRACTION,
        Flag.TOUCHES_BORDER: features["border_contact"] > _MAX_BORDER_CONTACT,
        Flag.MISPLACED: (
            not _MIN_ROW <= features["row"] <= _MAX_ROW
            or abs(features["column"] - 0.5) > _MAX_OFF_CENTRE
            or features.get("row_overlap", 1.0) < _MIN_ROW_OVERLAP
        ),
        Flag.ODD_SHAPE: _odd_shape(features),
    }


def _odd_shape(features: Features) -> bool:
    """Whether the mask does not look like lungs with their apices up."""
    solidities, aspects = (
        [features[f"{side}_{what}"] for side in _SIDES if f"{side}_{what}" in features]
        for what in ("solidity", "aspect")
    )
    return (
        features["shape_likeness"] < _MIN_LIKENESS
        or any(solidity < _MIN_SOLIDITY for solidity in solidities)
        or any(not _MIN_ASPECT <= aspect <= _MAX_ASPECT for aspect in aspects)
    )


def _bright_lungs(features: Features) -> bool:
    """Whether the picture is the negative of a chest: air bright, or the middle of it dark."""
    return (
        features["midline_brightness"] < _MIN_MIDLINE_BRIGHTNESS
        or features.get("lung_contrast", 1.0) < _MIN_LUNG_CONTRAST
    )


def _contradictions(features: Features, header: Any) -> set[Flag]:
    """The flag of a header that does not fit a mask of lungs: its spacing, or its orientation."""
    height_mm = features.get("height_mm")
    # The directions of a row and of a column (DICOM PS3.3, C.7.6.1.1.1).
    orientation = (
        [] if header is None else [str(value).upper() for value in header.get("PatientOrientation") or []]
    )
    not_frontal = any(value.startswith(("A", "P")) for value in orientation)
    impossible = height_mm is not None and not _MIN_HEIGHT_MM <= height_mm <= _MAX_HEIGHT_MM
    return {Flag.TAG_CONTRADICTION} if not_frontal or impossible else set()


def _network_features(probabilities: NDArray[np.float32], label_map: NDArray[np.uint8]) -> Features:
    """How sure the network was of the mask."""
    mask = sampled(label_map, probabilities.shape) != 0
    contour = dilated(mask) ^ eroded(mask)
    total = float(probabilities.sum()) + np.count_nonzero(mask)
    return {
        # The overlap to expect with a reference that is drawn pixel by pixel from the probabilities.
        "expected_dice": 2 * float(probabilities[mask].sum()) / total if total else 0.0,
        # 1 where every probability beside the contour is 0 or 1, 0 where all are 0.5.
        "contour_confidence": float(np.abs(2 * probabilities[contour] - 1).mean()) if contour.any() else 0.0,
    }


def _shape_features(labels: NDArray[np.uint8], *, aspect: float) -> Features:
    """Sizes and places in parts of the image's rows and columns.

    Args:
        labels: (n, m) uint8 on a grid over the whole image, not all 0.
        aspect: height / width of the image.
    """
    mask = labels != 0
    box = _box(mask)
    row, column = ndimage.center_of_mass(mask)
    sides = {name: labels == label.value for name, label in _SIDES.items()}
    areas = [int(np.count_nonzero(side)) for side in sides.values()]
    features = {
        "border_contact": float(np.concatenate([mask[0], mask[-1], mask[:, 0], mask[:, -1]]).mean()),
        "row": float(row + 0.5) / mask.shape[0],
        "column": float(column + 0.5) / mask.shape[1],
        "height": (box[0].stop - box[0].start) / mask.shape[0],
        "shape_likeness": _likeness(mask[box]),
        "left_right_ratio": min(areas) / max(1, *areas),
    }
    boxes = {name: _box(side) for name, side in sides.items() if side.any()}
    for name, (rows, columns) in boxes.items():
        height = (rows.stop - rows.start) / mask.shape[0]
        width = (columns.stop - columns.start) / mask.shape[1]
        features[f"{name}_aspect"] = aspect * height / width
        features[f"{name}_solidity"] = _solidity(sides[name][rows, columns])
    if len(boxes) == 2:
        (right, _), (left, _) = boxes.values()
        shared = min(right.stop, left.stop) - max(right.start, left.start)
        features["row_overlap"] = max(0, shared) / min(right.stop - right.start, left.stop - left.start)
    return features


def _likeness(mask: Mask) -> float:
    """How much a mask, cropped to its bounding box, looks like lungs: soft Dice with the atlas, in [0, 1]."""
    occupied = occupancy(mask)
    return float(2 * np.minimum(occupied, _ATLAS).sum() / (occupied.sum() + _ATLAS.sum()))


def _solidity(mask: Mask) -> float:
    """The area of a mask by that of its convex hull, in [0, 1]."""
    rows = np.flatnonzero(mask.any(axis=1))
    first = mask[rows].argmax(axis=1)
    stop = mask.shape[1] - mask[rows, ::-1].argmax(axis=1)
    # The corners of the outermost pixels of every row.
    corners = [np.stack([rows + below, columns], axis=1) for below in (0, 1) for columns in (first, stop)]
    return float(np.count_nonzero(mask) / ConvexHull(np.concatenate(corners)).volume)


def _grey_features(pixels: NDArray[np.float32], valid: Mask) -> Features:
    """Features of the picture, whatever the mask; both (n, m)."""
    rows, columns = (length // 16 for length in pixels.shape)
    middle = np.s_[4 * rows : 12 * rows + 1, 7 * columns : 9 * columns + 1]
    low, median, high = np.percentile(pixels[valid] if valid.any() else pixels, [2, 50, 98])
    return {
        "grey_spread": float(high - low),
        "clipped_fraction": 0.0,
        # The spine and the heart are brighter than most of a chest radiograph.
        "midline_brightness": float((pixels[middle] > median).mean()),
    }


def _contrast_features(pixels: NDArray[np.float32], mask: Mask, valid: Mask) -> Features:
    """Grey values in the bounding box of the lungs, inside and between them; all (n, m)."""
    box = _box(mask)
    pixels, mask, valid = pixels[box], mask[box], valid[box]
    inside = eroded(mask, 2) & valid
    between = ~dilated(mask, 2) & valid
    low, high = np.percentile(pixels, [5, 95])
    contrast = 0.0
    if inside.any() and between.any() and high > low:
        contrast = float(pixels[between].mean() - pixels[inside].mean()) / float(high - low)
    return {
        "lung_contrast": contrast,
        "clipped_fraction": float(np.mean((pixels <= 0) | (pixels >= 1), where=valid))
        if valid.any()
        else 0.0,
    }


def _dice(one: Mask, other: Mask) -> float:
    total = np.count_nonzero(one) + np.count_nonzero(other)
    return 2 * np.count_nonzero(one & other) / total if total else 1.0


def _box(mask: Mask) -> tuple[slice, slice]:
    """The bounding box of a mask that is not empty."""
    box = bounding_box(mask)
    return (slice(0, 0), slice(0, 0)) if box is None else box
