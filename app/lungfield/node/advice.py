"""Advice for the operator: a sentence for each reason code, and notices about the node as a whole."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lungfield.errors import Reason
from lungfield.node.formatting import duration, number, size
from lungfield.node.records import BY_HAND, CONFLICT, NOT_DELIVERED, Sending, State

if TYPE_CHECKING:
    from lungfield.node.status import Deliveries, Status

SLOW_S = 900.0
"""Age in seconds from which a waiting instance or delivery is reported as stuck."""

_SEND_AGAIN = "Send the radiograph again from its source under a new SOP Instance UID, or leave it parked."

ADVICE: dict[str, str] = {
    Reason.OTHER_OBJECT: "None needed: it is no radiograph. Make the sender's rule select CR and DX only.",
    Reason.OTHER_BODY_PART: "None needed if it shows no chest. Otherwise correct BodyPartExamined at the "
    "modality, or set `views: any`.",
    Reason.OTHER_VIEW: "None needed if it is a lateral view. Otherwise correct ViewPosition at the modality, "
    "or set `views: any`.",
    Reason.SEVERAL_FRAMES: "None needed: a cine or a volume is not segmented.",
    Reason.LABEL_MAP: "None needed: it is a mask, not a radiograph.",
    Reason.UNKNOWN_FORMAT: _SEND_AGAIN,
    Reason.DAMAGED: f"Look at it in a viewer. {_SEND_AGAIN}",
    Reason.UNSUPPORTED: "Make the sender use another transfer syntax, such as Explicit VR Little Endian.",
    Reason.OVER_LIMIT: "Look at it in a viewer: it is larger than a radiograph.",
    Reason.TOO_SMALL: "None needed: a thumbnail is not segmented.",
    Reason.UNIFORM: "Look at it in a viewer: all its pixels have the same value.",
    Reason.INACCESSIBLE: "Check that the state folder exists and belongs to the node's user, then retry.",
    Reason.CHANGED: "Retry.",
    Reason.CRASHED: "Retry once. If a decoder crashes again, make the sender use another transfer syntax.",
    Reason.TIMED_OUT: "Retry when the machine is less busy, or raise `time_limit_s`.",
    Reason.OUT_OF_MEMORY: "Retry with fewer `workers`, or raise `memory_limit_bytes`.",
    Reason.NOT_WRITTEN: "Check that the disk of the state folder has space, then retry.",
    Reason.INTERNAL: "Retry once. If it happens again, report it with the log lines of this number.",
    CONFLICT: "A different object arrived with a known SOP Instance UID. Compare both at their source; retry "
    "only if this one is the right one.",
    NOT_DELIVERED: "Check that the destination is up and knows the node's AE title or token, then retry.",
    BY_HAND: "A person parked it: retry it once the cause is resolved.",
}
"""What to do, by reason code."""

UNKNOWN = "See the node's log, then retry."
"""The advice for a code that is not in `ADVICE`."""


def advice(code: str) -> str:
    """The advice for a reason code."""
    return ADVICE.get(code, UNKNOWN)


@dataclass(frozen=True)
class Notice:
    """A problem of the node as a whole that needs a person.

    Attributes:
        text: what is wrong.
        advice: what to do.
    """

    text: str
    advice: str


def notices(status: Status) -> Iterator[Notice]:
    """The problems that need a person, the most urgent first."""
    threshold = status.disk_threshold_bytes
    if threshold is not None and status.disk_free_bytes < threshold:
        yield Notice(
            f"The disk of the state folder has {size(status.disk_free_bytes)} free, less than "
            f"{size(threshold)}: the node refuses new radiographs (status A700) until there is more.",
            "Free space or lower `retention`. Senders still have refused objects; accepted objects are safe.",
        )
    waits = next(one for one in status.queue if one.state == State.RECEIVED)
    if (waits.oldest_s or 0) > SLOW_S:
        yield Notice(
            f"{number(waits.count, 'radiograph')} to be segmented; the oldest has waited for "
            f"{duration(waits.oldest_s)}.",
            "If the number falls, wait, or give the node more `workers`. Otherwise see the log, and restart "
            "the node: no object is lost.",
        )
    for one in status.deliveries:
        yield from _of_deliveries(one)
    parked = status.count(State.PARKED)
    if parked:
        yield Notice(
            f"{number(parked, 'radiograph is', 'radiographs are')} parked.", "Resolve the cause, then retry."
        )


def _of_deliveries(one: Deliveries) -> Iterator[Notice]:
    if not one.open:
        return
    if not one.configured:
        yield Notice(
            f"{one.destination}: {number(one.open, 'radiograph')} to be delivered, but the node's settings "
            "do not define this destination.",
            "Add it to `send_to` again, or park them.",
        )
    elif one.error:
        when = "now" if not one.next_attempt_s else f"in {duration(one.next_attempt_s)}"
        yield Notice(
            f"{one.destination}: {number(one.open, 'radiograph')} to be delivered, for "
            f"{duration(one.oldest_s)} and up to {number(one.attempts, 'try', 'tries')}; the next is {when}. "
            f"It said: {one.error}",
            "Check that it is up, reachable from here, and knows the node's AE title or token.",
        )
    elif one.counts[Sending.SENT] and (one.oldest_s or 0) > SLOW_S:
        yield Notice(
            f"{one.destination}: accepted {number(one.counts[Sending.SENT], 'radiograph')} up to "
            f"{duration(one.oldest_s)} ago, and has not confirmed that they are stored.",
            "Check that it may connect to the node's DICOM port for the storage commitment, or set "
            "`commitment: never`.",
        )
