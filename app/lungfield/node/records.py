"""What the store keeps: rows of its tables, and the words for their states."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any


class State(StrEnum):
    """Of an instance: received -> segmented -> delivered; or skipped, or parked."""

    RECEIVED = "received"
    SEGMENTED = "segmented"
    DELIVERED = "delivered"
    SKIPPED = "skipped"
    PARKED = "parked"


class Sending(StrEnum):
    """Of a delivery: waiting -> sent (accepted, commitment asked for) -> delivered; or parked, or replaced.

    A replaced one was given over to the fallback of its destination.
    """

    WAITING = "waiting"
    SENT = "sent"
    DELIVERED = "delivered"
    PARKED = "parked"
    REPLACED = "replaced"


class Receipt(StrEnum):
    """What an object that arrives is to the store."""

    NEW = "new"
    KNOWN = "known"
    """The same was received before: there is nothing to do."""
    CONFLICT = "conflict"
    """Another content came under a known SOP Instance UID: kept, and parked for a person to decide."""
    OWN = "own"
    """A result of this node came back: not kept."""


CONFLICT = "conflict"
"""The reason code of a parked conflict."""
NOT_DELIVERED = "not-delivered"
"""The reason code where no try to deliver is left."""
BY_HAND = "by-hand"
"""The reason code where a person parked it."""


@dataclass(frozen=True)
class Received:
    """An object that has reached the disk.

    Attributes:
        sop_instance_uid: SOPInstanceUID.
        sop_class_uid: SOPClassUID.
        transfer_syntax_uid: of the file.
        study_instance_uid: StudyInstanceUID; '' where it has none.
        series_instance_uid: SeriesInstanceUID; '' where it has none.
        content_sha256: of what it says, in hexadecimal; the same for one content in any uncompressed transfer
            syntax.
        size: of the file in bytes.
        path: of the file, below the state folder.
        source: 'dicom', 'watch' or 'dicomweb'.
        calling_ae_title: who sent it; '' where nobody said.
    """

    sop_instance_uid: str
    sop_class_uid: str
    transfer_syntax_uid: str
    study_instance_uid: str
    series_instance_uid: str
    content_sha256: str
    size: int
    path: str
    source: str
    calling_ae_title: str = ""


@dataclass(frozen=True)
class Instance(Received):
    """A received object and how far it is.

    Attributes:
        id: its number.
        state: how far it is.
        reason_code: why it is parked or skipped, as a code; else ''.
        reason: the same in words.
        flags: of the quality of its masks.
        row: what the worker said of it: areas, bundle, ...; empty before.
        attempts: how often a worker had it in hand to an end.
        received_at: in seconds since 1970.
        changed_at: of its last change of state, in seconds since 1970.
        purged: whether its files were deleted by retention.
    """

    id: int = 0
    state: State = State.RECEIVED
    reason_code: str = ""
    reason: str = ""
    flags: tuple[str, ...] = ()
    row: Mapping[str, Any] | None = None
    attempts: int = 0
    received_at: float = 0.0
    changed_at: float = 0.0
    purged: bool = False

    @property
    def skipped_code(self) -> str:
        """The code of why it was skipped, also while a notice of that is on its way; else ''."""
        said = self.row or {}
        return str(said.get("reason_code") or "") if said.get("status") == State.SKIPPED else ""


@dataclass(frozen=True)
class Result:
    """An object that was made of an instance.

    Attributes:
        format: by the names of `lungfield.batch.FORMATS`.
        path: of the file, below the folder of results.
        sop_class_uid: SOPClassUID; '' where it is no DICOM object.
        sop_instance_uid: SOPInstanceUID; '' where it is no DICOM object.
        series_instance_uid: SeriesInstanceUID; '' where it is no DICOM object.
    """

    format: str
    path: str
    sop_class_uid: str = ""
    sop_instance_uid: str = ""
    series_instance_uid: str = ""


@dataclass(frozen=True)
class Delivery:
    """One instance on its way to one destination.

    Attributes:
        id: its number.
        instance_id: of what is delivered.
        destination: its name.
        state: how far it is.
        attempts: how often sending was tried.
        since: since when it is tried, in seconds since 1970.
        next_attempt_at: not before this time; of a sent one, until when its commitment must have come.
        error: why the last try failed, or a warning of the destination.
        transaction_uid: of the storage commitment that was asked for; else ''.
        changed_at: in seconds since 1970.
    """

    id: int
    instance_id: int
    destination: str
    state: Sending
    attempts: int
    since: float
    next_attempt_at: float
    error: str
    transaction_uid: str
    changed_at: float


@dataclass(frozen=True)
class OpenDeliveries:
    """What one destination has not got yet, and is still tried.

    Attributes:
        destination: its name.
        since: since when the oldest is tried, in seconds since 1970.
        attempts: the most tries that one took.
        next_attempt_at: when one that failed is tried again, in seconds since 1970; None where none has.
        error: of the last try that failed; else ''.
    """

    destination: str
    since: float
    attempts: int
    next_attempt_at: float | None
    error: str


@dataclass(frozen=True)
class Transition:
    """A change of state.

    Attributes:
        instance_id: of what changed.
        destination: whose delivery changed; None where the instance did.
        from_state: '' at the beginning.
        to_state: the new state.
        reason: why; '' where that goes without saying.
        at: in seconds since 1970.
    """

    instance_id: int
    destination: str | None
    from_state: str
    to_state: str
    reason: str
    at: float


@dataclass(frozen=True)
class Failure:
    """What a person has to look at: a parked instance, and its deliveries that failed.

    Attributes:
        instance: the parked instance.
        deliveries: those of it that are parked.
    """

    instance: Instance
    deliveries: tuple[Delivery, ...]


def whole(root: Path, place: str) -> Path:
    """A path that a row names, below the folder that it is kept relative to."""
    return root / place
