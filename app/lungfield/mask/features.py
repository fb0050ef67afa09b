"""The features for quality flags and confidence, computed from mask, probabilities and grey values.

docs/quality-flags.md explains every feature.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from lungfield.labels import BACKGROUND, LEFT_LUNG, RIGHT_LUNG
from lungfield.mask.components import Projection, dilated, eroded
from lungfield.mask.sampling import occupancy, sampled
from lungfield.records import Radiograph

Mask = NDArray[np.bool_]
Features = dict[str, float]

SIDES = {"right": RIGHT_LUNG, "left": LEFT_LUNG}
_LUNG_FROM = 0.5  # probability

# The lung atlas: the probability, in ninths, that a cell of the lungs' bounding box is lung; the mean of the
# training references and of their mirror images. Computed by scripts/calibrate_flags.py --fit
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


def extract_features(
    label_map: NDArray[np.uint8],
    probabilities: NDArray[np.float32],
    radiograph: Radiograph,
    *,
    flipped: NDArray[np.float32] | None = None,
) -> Features:
    """Compute the features, by name; arguments as in `lungfield.mask.assess`."""
    labels = sampled(label_map)
    pixels = sampled(radiograph.pixels, labels.shape)
    valid = np.ones(labels.shape, dtype=bool)
    if radiograph.valid is not None:
        valid = sampled(radiograph.valid, labels.shape)
    rows, columns = radiograph.shape
    mask = labels != BACKGROUND
    features = _grey_features(pixels, valid) | {"area_fraction": float(np.mean(mask))}
    lungs = Projection.of(mask)
    if lungs is not None:
        features |= _shape_features(labels, lungs, aspect=rows / columns * radiograph.pixel_aspect)
        features |= _contrast_features(pixels[lungs.box], mask[lungs.box], valid[lungs.box])
        features |= _network_features(sampled(probabilities), label_map)
        if radiograph.spacing is not None:
            features["height_mm"] = features["height"] * rows * radiograph.spacing.row_mm
    if flipped is not None:
        features["flip_agreement"] = flip_agreement(probabilities, flipped)
    return features


def flip_agreement(probabilities: NDArray[np.floating], flipped: NDArray[np.floating]) -> float:
    """The Dice of two probability maps, thresholded at 0.5; 1 if both are empty.

    Args:
        probabilities: (h, w) floating in [0, 1], of a radiograph.
        flipped: (h, w) floating in [0, 1], of its mirror image, mirrored back.
    """
    return _dice(probabilities > _LUNG_FROM, flipped > _LUNG_FROM)


def _network_features(probabilities: NDArray[np.float32], label_map: NDArray[np.uint8]) -> Features:
    """Features of the network's certainty."""
    mask = sampled(label_map, probabilities.shape) != 0
    contour = dilated(mask) ^ eroded(mask)
    total = float(probabilities.sum()) + np.count_nonzero(mask)
    return {
        # The expected overlap with a reference whose pixels are drawn from the probabilities.
        "expected_dice": 2 * float(probabilities[mask].sum()) / total if total else 0.0,
        # 1 if every probability beside the contour is 0 or 1, 0 if all are 0.5.
        "contour_confidence": float(np.abs(2 * probabilities[contour] - 1).mean()) if contour.any() else 0.0,
    }


def _shape_features(labels: NDArray[np.uint8], lungs: Projection, *, aspect: float) -> Features:
    """Sizes and positions, as fractions of the image's height and width.

    Args:
        labels: (n, m) uint8 label map on a grid over the whole image.
        lungs: of both lungs.
        aspect: height / width of the image.
    """
    mask, box = labels != BACKGROUND, lungs.box
    row, column = lungs.centre
    sides = {name: labels == label.value for name, label in SIDES.items()}
    areas = [int(np.count_nonzero(side)) for side in sides.values()]
    features = {
        "border_contact": float(np.concatenate([mask[0], mask[-1], mask[:, 0], mask[:, -1]]).mean()),
        "row": (row + 0.5) / mask.shape[0],
        "column": (column + 0.5) / mask.shape[1],
        "height": (box[0].stop - box[0].start) / mask.shape[0],
        "shape_likeness": likeness(mask[box]),
        "left_right_ratio": min(areas) / max(1, *areas),
    }
    boxes = {name: found.box for name, side in sides.items() if (found := Projection.of(side))}
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


def likeness(mask: Mask) -> float:
    """The soft Dice of a mask, cropped to its bounding box, with the lung atlas, in [0, 1]."""
    occupied = occupancy(mask)
    return float(2 * np.minimum(occupied, _ATLAS).sum() / (occupied.sum() + _ATLAS.sum()))


def _solidity(mask: Mask) -> float:
    """The area of a mask divided by that of its convex hull, in [0, 1]."""
    rows = np.flatnonzero(mask.any(axis=1))
    first = mask[rows].argmax(axis=1)
    stop = mask.shape[1] - mask[rows, ::-1].argmax(axis=1)
    # The corners of the outermost pixels of every row.
    corners = [np.stack([rows + below, columns], axis=1) for below in (0, 1) for columns in (first, stop)]
    hull = cv2.convexHull(np.concatenate(corners).astype(np.int32))
    return np.count_nonzero(mask) / cv2.contourArea(hull)


def _grey_features(pixels: NDArray[np.float32], valid: Mask) -> Features:
    """Features of the picture that do not depend on the mask; both arguments are (n, m)."""
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
    """Features of the grey values inside and between the lungs; all cropped to their bounding box."""
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
