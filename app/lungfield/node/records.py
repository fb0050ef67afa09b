"""The rows of the queue's tables, and their states."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any


class State(StrEnum):
    """States of an instance: received -> segmented -> delivered; or skipped, or parked."""

    RECEIVED = "received"
    SEGMENTED = "segmented"
    DELIVERED = "delivered"
    SKIPPED = "skipped"
    PARKED = "parked"


class Sending(StrEnum):
    """States of a delivery: waiting -> sent (commitment requested) -> delivered; or parked, or replaced.

    A replaced delivery was passed to the fallback of its destination.
    """

    WAITING = "waiting"
    SENT = "sent"
    DELIVERED = "delivered"
    PARKED = "parked"
    REPLACED = "replaced"


class Receipt(StrEnum):
    """How the queue classifies an object that arrives."""

    NEW = "new"
    KNOWN = "known"
    """The same object was received before: nothing to do."""
    CONFLICT = "conflict"
    """A different object with a known SOP Instance UID: stored, and parked for a decision by a person."""
    OWN = "own"
    """A result of this software: not stored."""


CONFLICT = "conflict"
"""The reason code of a parked conflict."""
NOT_DELIVERED = "not-delivered"
"""The reason code after all attempts of a delivery have failed."""
BY_HAND = "by-hand"
"""The reason code of an instance that a person parked."""


@dataclass(frozen=True)
class Received:
    """An object whose file is on disk.

    Attributes:
        sop_instance_uid: SOPInstanceUID.
        sop_class_uid: SOPClassUID.
        transfer_syntax_uid: of the file.
        study_instance_uid: StudyInstanceUID; '' where it has none.
        series_instance_uid: SeriesInstanceUID; '' where it has none.
        content_sha256: digest of its content (`content.read_content`), in hexadecimal; the same in all
            uncompressed transfer syntaxes.
        size: of the file in bytes.
        path: of the file, below the state folder.
        source: 'dicom', 'watch' or 'dicomweb'.
        calling_ae_title: of the sender; '' if not known.
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
    """A received object and its state.

    Attributes:
        id: its number.
        state: its state.
        reason_code: why it is parked or skipped, as a code; else ''.
        reason: the same as text.
        flags: quality flags of its masks.
        row: its row from the worker (areas, bundle, ...); None before it was segmented.
        attempts: number of times that a worker processed it.
        received_at: in seconds since 1970.
        changed_at: of its last change of state, in seconds since 1970.
        purged: whether retention deleted its files.
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
        """The reason code of a skipped instance, also while its notice is being delivered; else ''."""
        said = self.row or {}
        return str(said.get("reason_code") or "") if said.get("status") == State.SKIPPED else ""


@dataclass(frozen=True)
class Result:
    """A file that was made from an instance.

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
    """The delivery of one instance to one destination.

    Attributes:
        id: its number.
        instance_id: of what is delivered.
        destination: its name.
        state: its state.
        attempts: number of attempts to send it.
        since: start of the attempts, in seconds since 1970.
        next_attempt_at: time of the next attempt, in seconds since 1970; for a sent delivery, the deadline of
            its commitment.
        error: why the last try failed, or a warning of the destination.
        transaction_uid: of the requested storage commitment; else ''.
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
    """A summary of the deliveries to one destination that are waiting or sent.

    Attributes:
        destination: its name.
        since: start of the oldest, in seconds since 1970.
        attempts: largest number of attempts.
        next_attempt_at: next attempt of a failed one, in seconds since 1970; None if none has failed.
        error: of the last failed attempt; else ''.
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
        destination: of the delivery that changed; None for a change of the instance.
        from_state: the old state; '' for a new row.
        to_state: the new state.
        reason: why; '' without a reason.
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
    """A parked instance and its parked deliveries, for a person to decide.

    Attributes:
        instance: the parked instance.
        deliveries: those of it that are parked.
    """

    instance: Instance
    deliveries: tuple[Delivery, ...]


def full_path(root: Path, place: str) -> Path:
    """The absolute path of a file that a row names relative to `root`."""
    return root / place
