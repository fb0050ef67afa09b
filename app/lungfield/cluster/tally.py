"""Statistics over many rows, computed per shard and merged, in memory that does not grow with the rows."""

from __future__ import annotations

import hashlib
import heapq
import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from lungfield.batch.jobs import DONE, FAILED
from lungfield.mask import Summary
from lungfield.mask.metrics import DISTANCES, METRICS

SAMPLED = 500
"""Largest number of files in each sample: failed, worst, flagged and random."""

_NORMAL_95 = 1.959964
_CONFIDENCE_DIGITS = 3

Place = tuple[float, int, int]
"""Rank of a file in a sample (lowest first), its shard, and its index there."""


@dataclass
class Moments:
    """Mean and variance of a metric, updated by the pairwise algorithm of Chan et al.

    Attributes:
        count: number of values that are not NaN.
        undefined: number of NaN.
        mean: of the values.
        squares: sum of the squared differences from the mean.
        minimum: smallest value.
        maximum: largest value.
    """

    count: int = 0
    undefined: int = 0
    mean: float = 0.0
    squares: float = 0.0
    minimum: float = math.inf
    maximum: float = -math.inf

    def merge(self, other: Moments) -> None:
        """Add the values of another."""
        self.undefined += other.undefined
        if not other.count:
            return
        count, apart = self.count + other.count, other.mean - self.mean
        self.squares += other.squares + apart * apart * self.count * other.count / count
        self.mean += apart * other.count / count
        self.count = count
        self.minimum, self.maximum = min(self.minimum, other.minimum), max(self.maximum, other.maximum)

    def add(self, value: float) -> None:
        """Add a value."""
        if math.isnan(value):
            self.undefined += 1
        else:
            self.merge(Moments(1, 0, value, 0.0, value, value))

    def summary(self) -> Summary:
        """A `Summary` without a median, with the confidence interval of a normally distributed mean."""
        if self.count < 2:
            mean = self.mean if self.count else math.nan
            return Summary(self.count, self.undefined, *(mean, *(math.nan,) * 6))
        sd = math.sqrt(self.squares / (self.count - 1))
        half = _NORMAL_95 * sd / math.sqrt(self.count)
        return Summary(
            count=self.count,
            undefined=self.undefined,
            mean=self.mean,
            sd=sd,
            median=math.nan,
            minimum=self.minimum,
            maximum=self.maximum,
            ci95_low=self.mean - half,
            ci95_high=self.mean + half,
        )


@dataclass
class Tally:
    """Counts of a run or of a shard.

    Attributes:
        counts: number of files by status, and of those that are `flagged` and `compared`.
        reasons: number of files by status and reason.
        flags: number of files by quality flag.
        confidences: number of files by confidence, rounded to thousandths.
        metrics: agreement with the references, by metric.
        samples: files for the report: failed, worst, flagged and random.
    """

    counts: Counter[str] = field(default_factory=Counter)
    reasons: Counter[tuple[str, str]] = field(default_factory=Counter)
    flags: Counter[str] = field(default_factory=Counter)
    confidences: Counter[float] = field(default_factory=Counter)
    metrics: dict[str, Moments] = field(default_factory=dict)
    samples: dict[str, list[Place]] = field(default_factory=dict)

    def add_shard(self, shard: int, rows: Iterable[Mapping[str, Any]]) -> None:
        """Add the rows of a shard."""
        places: dict[str, list[Place]] = {}
        for number, row in enumerate(rows):
            self._count(row)
            for kind, rank in _ranks(row).items():
                places.setdefault(kind, []).append((rank, shard, number))
        self._sample(places)

    def merge(self, other: Tally) -> None:
        """Add the counts of another."""
        self.counts += other.counts
        self.reasons += other.reasons
        self.flags += other.flags
        self.confidences += other.confidences
        for name, moments in other.metrics.items():
            self.metrics.setdefault(name, Moments()).merge(moments)
        self._sample(other.samples)

    def sampled(self) -> dict[int, list[int]]:
        """The files of all samples: the indices in each shard."""
        chosen = {place[1:] for places in self.samples.values() for place in places}
        shards: dict[int, list[int]] = {}
        for shard, number in sorted(chosen):
            shards.setdefault(shard, []).append(number)
        return shards

    def median_confidence(self) -> float | None:
        """The median confidence, to a thousandth; None if no file has one."""
        half, before = self.confidences.total() / 2, 0
        for value, count in sorted(self.confidences.items()):
            before += count
            if before >= half:
                return value
        return None

    def _count(self, row: Mapping[str, Any]) -> None:
        self.counts[row["status"]] += 1
        self.counts["flagged"] += bool(row.get("flags"))
        self.flags.update(row.get("flags") or ())
        if row["status"] != DONE:
            self.reasons[row["status"], row["reason_code"]] += 1
        if row.get("confidence") is not None:
            self.confidences[round(row["confidence"], _CONFIDENCE_DIGITS)] += 1
        if "dice" in row:
            self.counts["compared"] += 1
            for name in METRICS:
                # Distances in millimetres and in pixels are separate metrics, as in `summarise`.
                named = f"{name}_{row['distance_unit']}" if name in DISTANCES else name
                self.metrics.setdefault(named, Moments()).add(row[name])

    def _sample(self, more: Mapping[str, list[Place]]) -> None:
        for kind, places in more.items():
            self.samples[kind] = heapq.nsmallest(SAMPLED, [*self.samples.get(kind, ()), *places])


def _ranks(row: Mapping[str, Any]) -> dict[str, float]:
    """The samples of a file, and its rank in each; the random rank is a hash of its name, so reproducible."""
    digest = hashlib.sha256(row["file"].encode("utf-8", "surrogateescape")).digest()
    chance = float(int.from_bytes(digest[:6], "big"))
    if row["status"] == FAILED:
        return {"failed": chance}
    if row["status"] != DONE:
        return {}
    score = next((row[name] for name in ("dice", "confidence") if row.get(name) is not None), 1.0)
    return {"worst": score, "random": chance} | ({"flagged": chance} if row.get("flags") else {})
