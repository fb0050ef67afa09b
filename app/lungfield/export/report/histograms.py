"""The distribution of a column, as bars."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lungfield.export.report.columns import Column

_MOST_BARS = 40
_FEWEST_VALUES = 5
_FENCE = 3.0


@dataclass(frozen=True)
class Bar:
    """One bar of a histogram.

    Attributes:
        x: its left end, as a fraction of the chart's width.
        width: as a fraction of the chart's width.
        height: as a fraction of the chart's height.
        text: its label.
        collects: whether it is an outermost bar that includes all values farther out.
    """

    x: float
    width: float
    height: float
    text: str
    collects: bool


@dataclass(frozen=True)
class Histogram:
    """The distribution of the known values of a column.

    Attributes:
        edges: the edges of the bins, ascending, one more than `counts`.
        counts: number of values in each bin.
        minimum: the smallest value; below the first edge if the first bin collects outliers.
        maximum: the largest value; above the last edge if the last bin collects outliers.
        median: of the values.
    """

    column: Column
    edges: tuple[float, ...]
    counts: tuple[int, ...]
    minimum: float
    maximum: float
    median: float

    @property
    def count(self) -> int:
        """The number of values."""
        return sum(self.counts)

    @property
    def median_x(self) -> float:
        """The position of the median on the axis, in [0, 1]."""
        return (self.median - self.edges[0]) / (self.edges[-1] - self.edges[0])

    @property
    def first_label(self) -> str:
        """The label at the left end of the axis: the smallest value."""
        return self.column.show(min(self.minimum, self.edges[0]))

    @property
    def last_label(self) -> str:
        """The label at the right end of the axis: the largest value."""
        return self.column.show(max(self.maximum, self.edges[-1]))

    def bars(self) -> Iterator[Bar]:
        """The bars from left to right; the tallest has height 1."""
        last = len(self.counts) - 1
        for place, count in enumerate(self.counts):
            below = place == 0 and self.minimum < self.edges[0]
            above = place == last and self.maximum > self.edges[-1]
            low = self.column.show(self.minimum if below else self.edges[place])
            high = self.column.show(self.maximum if above else self.edges[place + 1])
            yield Bar(
                x=place / len(self.counts),
                width=1 / len(self.counts),
                height=count / max(self.counts),
                text=f"{low} to {high}: {count:,}",
                collects=below or above,
            )


def histogram(column: Column, values: Iterable[float | None]) -> Histogram | None:
    """Count the known values of a column in bins of equal width; None for fewer than five known values.

    The number of bins follows the Rice rule, twice the cube root of the number of values. Values beyond
    Tukey's far fences (three times the interquartile range outside the quartiles) are counted in the
    outermost bins, so that a few outliers do not compress all others into one bar.
    """
    known = np.array([value for value in values if value is not None], dtype=np.float64)
    if known.size < _FEWEST_VALUES:
        return None
    low, high = _axis(known, column)
    bins = min(_MOST_BARS, math.ceil(2 * known.size ** (1 / 3)))
    counts, edges = np.histogram(np.clip(known, low, high), bins=bins, range=(low, high))
    return Histogram(
        column,
        tuple(edges.tolist()),
        tuple(counts.tolist()),
        float(known.min()),
        float(known.max()),
        float(np.median(known)),
    )


def _axis(known: NDArray[np.float64], column: Column) -> tuple[float, float]:
    """The ends of the axis: the values' range, cut at the far fences."""
    low, high = float(known.min()), float(known.max())
    lower, upper = (float(quartile) for quartile in np.percentile(known, (25, 75)))
    reach = _FENCE * (upper - lower)
    if reach > 0:
        low, high = max(low, lower - reach), min(high, upper + reach)
    if low == high:
        margin = 0.5 * 10.0 ** -(column.digits or 0)
        low, high = low - margin, high + margin
    return low, high
