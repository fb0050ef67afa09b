"""Metrics of a predicted mask against a reference, for one radiograph and for a set."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lungfield.errors import DataError
from lungfield.mask.components import bounding_box, eroded
from lungfield.records import Spacing

RATIOS = ("dice", "iou", "mean_iou", "accuracy", "precision", "recall")
DISTANCES = ("hd95", "assd")
METRICS = (*RATIOS, *DISTANCES)
"""The names of the metrics, in the order in which tables show them."""

_RESAMPLES = 2000


@dataclass(frozen=True)
class Agreement:
    """Agreement of a prediction with a reference, lungs against background.

    Attributes:
        dice: Dice coefficient, in [0, 1].
        iou: intersection over union of the lungs (Jaccard index), in [0, 1].
        mean_iou: mean of the IoU of the lungs and of the background, in [0, 1].
        accuracy: fraction of the pixels that agree, in [0, 1].
        precision: fraction of the predicted lung that is lung in the reference, in [0, 1].
        recall: fraction of the reference's lung that was predicted, in [0, 1].
        hd95: the larger of the two directed 95th percentiles of the surface distances, in `distance_unit`.
        assd: average symmetric surface distance, over the pixels of both surfaces, in `distance_unit`.
        distance_unit: 'mm', or 'px' without a spacing.
    """

    dice: float
    iou: float
    mean_iou: float
    accuracy: float
    precision: float
    recall: float
    hd95: float
    assd: float
    distance_unit: str


@dataclass(frozen=True)
class Summary:
    """The distribution of one metric over a set of radiographs; NaN if there are too few values.

    Attributes:
        count: number of values.
        undefined: number of further values that were NaN (a distance to an empty mask).
        mean: of the values.
        sd: sample standard deviation (n - 1).
        median: of the values; likewise `minimum` and `maximum`.
        ci95_low: lower end of the 95 % confidence interval of the mean; `ci95_high` is the upper one.
    """

    count: int
    undefined: int
    mean: float
    sd: float
    median: float
    minimum: float
    maximum: float
    ci95_low: float
    ci95_high: float


def agreement(
    prediction: NDArray[np.generic], reference: NDArray[np.generic], *, spacing: Spacing | None
) -> Agreement:
    """Compare two masks of the lungs, (H, W) bool or label maps, in which non-zero pixels are lung.

    The surface of a mask is its pixels that are next to a background pixel or the edge of the image.
    Percentiles are interpolated linearly. If both masks are empty, every ratio is 1 and every distance 0. If
    only one is empty, the ratios of the lungs are 0 and the distances NaN. Distances are in the plane of
    `spacing`, or in pixels without it.

    Raises:
        DataError: the masks differ in shape.
    """
    if prediction.shape != reference.shape:
        raise DataError(
            f"The prediction has (rows, columns) {prediction.shape} and the reference {reference.shape}; "
            "compare masks of the same radiograph."
        )
    a, b = prediction != 0, reference != 0
    pixels = a.size
    box = bounding_box(a | b)
    if box is None:
        unit = "px" if spacing is None else "mm"
        return Agreement(1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.0, 0.0, unit)
    # Outside of the box, both masks are background.
    a, b = a[box], b[box]
    both = int(np.count_nonzero(a & b))
    only_a = int(np.count_nonzero(a)) - both
    only_b = int(np.count_nonzero(b)) - both
    either = both + only_a + only_b
    iou = both / either
    neither = pixels - either
    # If both masks have no background, its IoU is 1.
    background_iou = neither / (pixels - both) if both < pixels else 1.0
    hd95, assd = _surface_distances(a, b, spacing)
    return Agreement(
        dice=2 * both / (2 * both + only_a + only_b),
        iou=iou,
        mean_iou=(iou + background_iou) / 2,
        accuracy=(both + neither) / pixels,
        precision=both / (both + only_a) if both else 0.0,
        recall=both / (both + only_b) if both else 0.0,
        hd95=hd95,
        assd=assd,
        distance_unit="px" if spacing is None else "mm",
    )


def summarise(agreements: Sequence[Agreement]) -> dict[str, Summary]:
    """Summarise every metric over a set of radiographs.

    The confidence interval of the mean is a percentile bootstrap over radiographs (2000 resamples, fixed
    seed), because overlaps near 1 are too skewed for a normal interval.

    Returns:
        A summary for each name in `RATIOS`, then for the distances by unit, `hd95_mm`, `assd_mm`, `hd95_px`,
        `assd_px`, as far as they occur: mm and pixels are never averaged. NaN values are left out and
        counted.

    Raises:
        DataError: `agreements` is empty.
    """
    if not agreements:
        raise DataError("There are no comparisons to summarise: no prediction had a reference mask.")
    summaries = {name: _summary(np.array([getattr(one, name) for one in agreements])) for name in RATIOS}
    for unit in sorted({one.distance_unit for one in agreements}):
        of_unit = [one for one in agreements if one.distance_unit == unit]
        for name in DISTANCES:
            summaries[f"{name}_{unit}"] = _summary(np.array([getattr(one, name) for one in of_unit]))
    return summaries


def _surface_distances(
    a: NDArray[np.bool_], b: NDArray[np.bool_], spacing: Spacing | None
) -> tuple[float, float]:
    """`hd95` and `assd` of two cropped masks; NaN if one of them is empty."""
    if not a.any() or not b.any():
        return math.nan, math.nan
    # Imported on use: most runs compare nothing, and the import takes a tenth of a second.
    from scipy.spatial import KDTree

    scale = (1.0, 1.0) if spacing is None else (spacing.row_mm, spacing.column_mm)
    points_a, points_b = (np.argwhere(mask & ~eroded(mask)) * scale for mask in (a, b))
    # Surfaces have few points: a nearest-neighbour search takes less time than two distance transforms.
    a_to_b, _ = KDTree(points_b).query(points_a)
    b_to_a, _ = KDTree(points_a).query(points_b)
    hd95 = max(np.percentile(a_to_b, 95), np.percentile(b_to_a, 95))
    assd = np.concatenate([a_to_b, b_to_a]).mean()
    return float(hd95), float(assd)


def _summary(values: NDArray[np.float64]) -> Summary:
    known = values[~np.isnan(values)]
    undefined = values.size - known.size
    if known.size == 0:
        return Summary(0, undefined, *[math.nan] * 7)
    if known.size == 1:
        value = float(known[0])
        return Summary(1, undefined, value, math.nan, value, value, value, math.nan, math.nan)
    rng = np.random.default_rng(0)
    means = [known[rng.integers(known.size, size=known.size)].mean() for _ in range(_RESAMPLES)]
    ci95_low, ci95_high = np.percentile(means, (2.5, 97.5))
    return Summary(
        count=known.size,
        undefined=undefined,
        mean=float(known.mean()),
        sd=float(known.std(ddof=1)),
        median=float(np.median(known)),
        minimum=float(known.min()),
        maximum=float(known.max()),
        ci95_low=float(ci95_low),
        ci95_high=float(ci95_high),
    )
