"""What a node is doing, told from its queue: one description for page, metrics and `lungfield node status`.

It tells of nobody: an instance is named by the number of its row, and UIDs that a text may hold are struck
out. It only reads, so it works beside a running node as without one.
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
"""The formats that a picture is made from, the first of them that there is."""

_LONGEST_TEXT = 400
_MOST_PARKED = 50
_MOST_WAITING = 10
_MOST_OUTCOMES = 24


@dataclass(frozen=True)
class Queued:
    """The instances in one state.

    Attributes:
        state: which, by the words of `State`.
        count: how many.
        oldest_s: for how long the oldest has been in it, in seconds; None where there is none, or where the
            state is an end.
    """

    state: str
    count: int
    oldest_s: float | None


@dataclass(frozen=True)
class Deliveries:
    """What is on its way to one destination.

    Attributes:
        destination: its name.
        counts: instances by the words of `Sending`.
        oldest_s: for how long the oldest that is not there yet is tried, in seconds; None where all are.
        attempts: the most tries that one of these took.
        next_attempt_s: until the next try of one that failed before, in seconds; None where there is none.
        error: of the last try that failed, where its instance still waits; else ''.
        configured: whether the settings name it, as far as they are known.
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
        """How many are not there yet, and still tried."""
        return self.counts[Sending.WAITING] + self.counts[Sending.SENT]


@dataclass(frozen=True)
class Parked:
    """An instance that a person has to look at.

    Attributes:
        instance: its number.
        code: the reason's code.
        reason: the reason in words.
        advice: what to do.
        destinations: those that it could not be delivered to, each with its last error.
        attempts: how often it was tried, by the workers or by the destination that was tried most.
        parked_s: for how long it has been parked, in seconds.
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
    """An instance on its way.

    Attributes:
        instance: its number.
        state: by the words of `State`.
        destinations: those that it is still to be delivered to, each with the error of the last try or ''.
        age_s: since it was received, in seconds.
    """

    instance: int
    state: str
    destinations: Mapping[str, str]
    age_s: float


@dataclass(frozen=True)
class Outcome:
    """An instance that was segmented or skipped lately.

    Attributes:
        instance: its number.
        state: by the words of `State`.
        code: of one that was skipped, or of which a notice is on its way, the reason's code; else ''.
        flags: of the quality of its mask.
        confidence: in [0, 1]; None where nothing was segmented.
        right_cm2: area of the right lung in cm²; None where it or the spacing is not known.
        left_cm2: the same of the left lung.
        seconds: what a worker took, in seconds; None where it is not known.
        ago_s: since its last change, in seconds.
        picture: whether there is a picture of it.
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
    """What a node is doing.

    Attributes:
        at: when it was asked, in seconds since 1970.
        queue: the instances by state, in the order of their way.
        deliveries: by destination, those that are configured first.
        parked: the last that were parked, at most 50.
        waiting: those that have been on their way longest, at most 10.
        failures: how many instances are parked, by reason code.
        skipped: how many were skipped, by reason code.
        outcomes: the last that were segmented or skipped, at most 24.
        disk_free_bytes: on the disk of the state folder.
        disk_threshold_bytes: below this, objects are refused; None where the settings are not known.
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
        """What needs a person, the most urgent first."""
        return tuple(notices(self))

    def count(self, state: str) -> int:
        """How many instances are in a state."""
        return next(one.count for one in self.queue if one.state == state)

    def to_json(self) -> dict[str, Any]:
        """The same as plain values."""
        return asdict(self) | {"notices": [asdict(one) for one in self.notices]}


def status_of(
    store: Reading,
    folder: Path,
    *,
    destinations: Sequence[str] | None = None,
    disk_threshold_bytes: int | None = None,
    now: float | None = None,
) -> Status:
    """Describe a node.

    Args:
        store: its queue.
        folder: its state folder.
        destinations: names of those that are configured, which are told also before anything went there;
            None where the settings are not known.
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
    """A parked instance as it is told at a time (seconds since 1970)."""
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
    told = []
    for name in dict.fromkeys((*(configured or ()), *sorted(counts))):
        one = store.open_deliveries(name)
        next_at = one.next_attempt_at if one else None
        told.append(
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
    return tuple(told)


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
    """A text of a row as it may be shown: on one line, not endless, and without UIDs."""
    text = without_uids(shown(text))
    return text if len(text) <= _LONGEST_TEXT else f"{text[:_LONGEST_TEXT]}..."
