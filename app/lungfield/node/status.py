"""The status of a node, read from its queue, for the page, the metrics and `lungfield node status`.

It holds no identities: an instance is named by the number of its row, and UIDs in texts are removed. It only
reads, so it works with and without a running node.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lungfield.names import shown
from lungfield.node.advice import Notice, advice, notices
from lungfield.node.log import without_uids
from lungfield.node.reading import Reading
from lungfield.node.records import Delivery, Failure, Instance, Result, Sending, State

PICTURES = ("overlay", "sc")
"""The formats from which a thumbnail is made; the first that exists is used."""

_LONGEST_TEXT = 400
_MOST_PARKED = 50
_MOST_WAITING = 10
_MOST_OUTCOMES = 24


@dataclass(frozen=True)
class Queued:
    """The instances in one state.

    Attributes:
        state: a value of `State`.
        count: number of instances.
        oldest_s: time for which the oldest has been in the state, in seconds; None for a final state or if
            there is no instance.
    """

    state: str
    count: int
    oldest_s: float | None


@dataclass(frozen=True)
class Deliveries:
    """The deliveries to one destination.

    Attributes:
        destination: its name.
        counts: number of instances by the values of `Sending`.
        oldest_s: time since the start of the oldest open delivery, in seconds; None if none is open.
        attempts: largest number of attempts of an open delivery.
        next_attempt_s: time until the next attempt of a failed delivery, in seconds; None if there is none.
        error: of the last failed attempt of a waiting delivery; else ''.
        configured: whether the settings name it; True if they are not known.
    """

    destination: str
    counts: Mapping[str, int]
    oldest_s: float | None
    attempts: int
    next_attempt_s: float | None
    error: str
    configured: bool = True

    @property
    def open(self) -> int:
        """The number of deliveries that are waiting or sent."""
        return self.counts[Sending.WAITING] + self.counts[Sending.SENT]


@dataclass(frozen=True)
class Parked:
    """A parked instance, which needs a decision by a person.

    Attributes:
        instance: its number.
        code: the reason's code.
        reason: the reason as text.
        advice: what to do.
        destinations: those with failed deliveries, each with its last error.
        attempts: number of attempts of the workers, or the largest number of attempts of a delivery.
        parked_s: time for which it has been parked, in seconds.
    """

    instance: int
    code: str
    reason: str
    advice: str
    destinations: Mapping[str, str]
    attempts: int
    parked_s: float


@dataclass(frozen=True)
class Waiting:
    """An instance that is received or segmented.

    Attributes:
        instance: its number.
        state: a value of `State`.
        destinations: those of its open deliveries, each with the error of the last attempt or ''.
        age_s: time since it was received, in seconds.
    """

    instance: int
    state: str
    destinations: Mapping[str, str]
    age_s: float


@dataclass(frozen=True)
class Outcome:
    """An instance that was recently segmented or skipped.

    Attributes:
        instance: its number.
        state: a value of `State`.
        code: the reason code of a skipped instance, also while its notice is being delivered; else ''.
        flags: quality flags of its masks.
        confidence: in [0, 1]; None if it was not segmented.
        right_cm2: area of the right lung in cm²; None if it or the spacing is not known.
        left_cm2: area of the left lung in cm²; None likewise.
        seconds: time that a worker took, in seconds; None if not known.
        ago_s: time since its last change, in seconds.
        picture: whether it has a thumbnail.
    """

    instance: int
    state: str
    code: str
    flags: tuple[str, ...]
    confidence: float | None
    right_cm2: float | None
    left_cm2: float | None
    seconds: float | None
    ago_s: float
    picture: bool


@dataclass(frozen=True)
class Status:
    """The status of a node.

    Attributes:
        at: time of the status, in seconds since 1970.
        queue: number of instances by state, in the order of processing.
        deliveries: by destination, configured ones first.
        parked: the last parked instances, at most 50.
        waiting: the instances that have waited longest, at most 10.
        failures: number of parked instances, by reason code.
        skipped: number of skipped instances, by reason code.
        outcomes: the last instances that were segmented or skipped, at most 24.
        disk_free_bytes: free space on the disk of the state folder.
        disk_threshold_bytes: free space below which objects are refused; None if the settings are not known.
    """

    at: float
    queue: tuple[Queued, ...]
    deliveries: tuple[Deliveries, ...]
    parked: tuple[Parked, ...]
    waiting: tuple[Waiting, ...]
    failures: Mapping[str, int]
    skipped: Mapping[str, int]
    outcomes: tuple[Outcome, ...]
    disk_free_bytes: int
    disk_threshold_bytes: int | None

    @property
    def notices(self) -> tuple[Notice, ...]:
        """The problems that need a person, the most urgent first."""
        return tuple(notices(self))

    def count(self, state: str) -> int:
        """The number of instances in a state."""
        return next(one.count for one in self.queue if one.state == state)

    def to_json(self) -> dict[str, Any]:
        """The status as JSON-serialisable values."""
        return asdict(self) | {"notices": [asdict(one) for one in self.notices]}


def status_of(
    store: Reading,
    folder: Path,
    *,
    destinations: Sequence[str] | None = None,
    disk_threshold_bytes: int | None = None,
    now: float | None = None,
) -> Status:
    """Read the status of a node.

    Args:
        store: its queue.
        folder: its state folder.
        destinations: names of the configured destinations, which are listed also without deliveries; None if
            the settings are not known.
        disk_threshold_bytes: free space below which the node refuses objects.
        now: in seconds since 1970; by default the time of the clock.

    Raises:
        DataError: the queue is damaged.
        OutputError: it cannot be read.
    """
    now = time.time() if now is None else now
    reasons = store.reason_counts()
    return Status(
        at=now,
        queue=_queue(store),
        deliveries=_deliveries(store, destinations, now),
        parked=tuple(parked_instance(one, now) for one in store.failures(_MOST_PARKED)),
        waiting=tuple(
            _waiting(one, store.deliveries(one.id), now) for one in store.unfinished(_MOST_WAITING)
        ),
        failures={code: count for (state, code), count in reasons.items() if state == State.PARKED},
        skipped={code: count for (state, code), count in reasons.items() if state == State.SKIPPED},
        outcomes=tuple(_outcome(one, store.results(one.id), now) for one in store.ended(_MOST_OUTCOMES)),
        disk_free_bytes=shutil.disk_usage(folder).free,
        disk_threshold_bytes=disk_threshold_bytes,
    )


def parked_instance(failure: Failure, now: float) -> Parked:
    """The status of a parked instance at a time (seconds since 1970)."""
    one, deliveries = failure.instance, failure.deliveries
    return Parked(
        instance=one.id,
        code=one.reason_code,
        reason=_plain(one.reason),
        advice=advice(one.reason_code),
        destinations={each.destination: _plain(each.error) for each in deliveries},
        attempts=max((each.attempts for each in deliveries), default=one.attempts),
        parked_s=max(now - one.changed_at, 0.0),
    )


def _queue(store: Reading) -> tuple[Queued, ...]:
    waiting = (State.RECEIVED, State.SEGMENTED, State.PARKED)
    return tuple(
        Queued(str(state), count, store.oldest(state) if state in waiting else None)
        for state, count in store.counts().items()
    )


def _deliveries(store: Reading, configured: Sequence[str] | None, now: float) -> tuple[Deliveries, ...]:
    counts = store.delivery_counts()
    deliveries = []
    for name in dict.fromkeys((*(configured or ()), *sorted(counts))):
        one = store.open_deliveries(name)
        next_at = one.next_attempt_at if one else None
        deliveries.append(
            Deliveries(
                destination=name,
                counts={str(state): counts.get(name, {}).get(state, 0) for state in Sending},
                oldest_s=max(now - one.since, 0.0) if one else None,
                attempts=one.attempts if one else 0,
                next_attempt_s=None if next_at is None else max(next_at - now, 0.0),
                error=_plain(one.error) if one else "",
                configured=configured is None or name in configured,
            )
        )
    return tuple(deliveries)


def _waiting(one: Instance, deliveries: Sequence[Delivery], now: float) -> Waiting:
    still = (Sending.WAITING, Sending.SENT)
    return Waiting(
        instance=one.id,
        state=str(one.state),
        destinations={each.destination: _plain(each.error) for each in deliveries if each.state in still},
        age_s=max(now - one.received_at, 0.0),
    )


def _outcome(one: Instance, results: Sequence[Result], now: float) -> Outcome:
    said = one.row or {}

    def cm2(side: str) -> float | None:
        area = said.get(f"{side}_area_mm2")
        return None if area is None else area / 100

    return Outcome(
        instance=one.id,
        state=str(one.state),
        code=one.reason_code or one.skipped_code,
        flags=one.flags,
        confidence=said.get("confidence"),
        right_cm2=cm2("right_lung"),
        left_cm2=cm2("left_lung"),
        seconds=said.get("seconds"),
        ago_s=max(now - one.changed_at, 0.0),
        picture=any(result.format in PICTURES for result in results),
    )


def _plain(text: str) -> str:
    """A text of a row for display: on one line, truncated, and without UIDs."""
    text = without_uids(shown(text))
    return text if len(text) <= _LONGEST_TEXT else f"{text[:_LONGEST_TEXT]}..."
