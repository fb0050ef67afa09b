"""The content of a delivery to a destination, and the outcomes of sending it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from lungfield.errors import LungfieldError
from lungfield.node.records import Delivery, Instance, full_path
from lungfield.node.settings import Destination, Settings
from lungfield.node.store import Store


@dataclass(frozen=True)
class Item:
    """A DICOM object to be sent.

    Attributes:
        path: of its file.
        format: by the names of `lungfield.batch.FORMATS`.
        sop_class_uid: SOPClassUID.
        sop_instance_uid: SOPInstanceUID.
    """

    path: Path
    format: str
    sop_class_uid: str
    sop_instance_uid: str


@dataclass(frozen=True)
class Parcel:
    """The content of one delivery: the results of one instance for one destination.

    Attributes:
        delivery: its row.
        instance: the radiograph.
        radiograph: the radiograph's file.
        items: the results for the destination, in the order in which they were made; empty for messages.
        missing: formats that the destination should get but that could not be made.
    """

    delivery: Delivery
    instance: Instance
    radiograph: Path
    items: tuple[Item, ...]
    missing: tuple[str, ...] = ()


@dataclass(frozen=True)
class Taken:
    """The destination has stored everything.

    Attributes:
        warning: of the destination; '' for none.
    """

    warning: str = ""


@dataclass(frozen=True)
class Asked:
    """The destination has accepted everything, and storage commitment is requested.

    Attributes:
        transaction_uid: Transaction UID of the request, which the report repeats.
        warning: of the destination; '' for none.
    """

    transaction_uid: str
    warning: str = ""


@dataclass(frozen=True)
class Refused:
    """The destination did not store everything.

    Attributes:
        error: the reason, without identity.
        final: whether neither a retry nor the fallback can succeed.
    """

    error: str
    final: bool = False


Outcome = Taken | Asked | Refused


class UnreachableError(LungfieldError):
    """A destination accepts nothing now: it is down, or rejects the node."""


class Sender(Protocol):
    """Sends parcels to one destination; used by one thread, and closed by any."""

    def send(self, parcels: Sequence[Parcel]) -> Iterator[tuple[Parcel, Outcome]]:
        """Send parcels, and yield the outcome of each before the next is sent.

        A parcel without an outcome was not tried. A parcel may get a second outcome after `Asked`.

        Raises:
            UnreachableError: nothing can be sent now.
        """

    def close(self) -> None:
        """Abort the current transfer, from another thread; nothing is sent afterwards."""


def unreadable(item: Item, error: Exception) -> str:
    """The error text for a result whose file cannot be read."""
    return (
        f"the {item.format} in the state folder cannot be read ({type(error).__name__}); check its disk, "
        "and send the radiograph again"
    )


def parcel_of(settings: Settings, store: Store, destination: Destination, delivery: Delivery) -> Parcel:
    """The parcel of a delivery.

    Raises:
        UnreachableError: its instance is missing in the queue, which foreign keys do not allow.
    """
    instance = store.instance(delivery.instance_id)
    if instance is None:
        raise UnreachableError(f"delivery {delivery.id} has no instance; the queue is damaged.")
    made = {one.format: one for one in store.results(instance.id) if one.sop_instance_uid}
    items = tuple(
        Item(full_path(settings.results, one.path), one.format, one.sop_class_uid, one.sop_instance_uid)
        for one in made.values()
        if one.format in destination.formats
    )
    # A skipped image has a notice only.
    wanted = () if instance.skipped_code else destination.formats
    missing = tuple(one for one in wanted if one in settings.formats and one not in made)
    return Parcel(delivery, instance, full_path(settings.state, instance.path), items, missing)
