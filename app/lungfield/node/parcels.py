"""What goes to a destination in one delivery, and what can come of sending it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from lungfield.errors import LungfieldError
from lungfield.node.records import Delivery, Instance, whole
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
    """All that one destination gets of one instance.

    Attributes:
        delivery: its row.
        instance: the radiograph.
        radiograph: its file.
        items: the results that the destination gets, in the order in which they were made; none for messages.
        missing: formats that the destination should get and that could not be made of this radiograph.
    """

    delivery: Delivery
    instance: Instance
    radiograph: Path
    items: tuple[Item, ...]
    missing: tuple[str, ...] = ()


@dataclass(frozen=True)
class Taken:
    """The destination has everything for good.

    Attributes:
        warning: what it did differently; '' for nothing.
    """

    warning: str = ""


@dataclass(frozen=True)
class Asked:
    """The destination has accepted everything, and will be asked to commit itself to keeping it.

    Attributes:
        transaction_uid: by which the answer names the question.
        warning: what it did differently; '' for nothing.
    """

    transaction_uid: str
    warning: str = ""


@dataclass(frozen=True)
class Refused:
    """The destination did not take everything.

    Attributes:
        error: what it said, without identity.
        final: whether no other try, and no other destination, can do better.
    """

    error: str
    final: bool = False


Outcome = Taken | Asked | Refused


class UnreachableError(LungfieldError):
    """A destination takes nothing at all at the time: it is down, or rejects the node."""


class Sender(Protocol):
    """The way to one destination; used by one thread, and closed by any."""

    def send(self, parcels: Sequence[Parcel]) -> Iterator[tuple[Parcel, Outcome]]:
        """Send parcels, and tell what came of each at once, so that it is noted before the next is sent.

        A parcel that nothing is told of was not tried. One may get a second outcome, after `Asked`.

        Raises:
            UnreachableError: nothing can be sent at the time.
        """

    def close(self) -> None:
        """End what is under way, from another thread; nothing is sent any more."""


def unreadable(item: Item, error: Exception) -> str:
    """What is said of a result whose file cannot be read."""
    return (
        f"the {item.format} in the state folder cannot be read ({type(error).__name__}); check its disk, "
        "and send the radiograph again"
    )


def parcel_of(settings: Settings, store: Store, destination: Destination, delivery: Delivery) -> Parcel:
    """What a delivery consists of.

    Raises:
        UnreachableError: its instance is gone from the queue, which foreign keys do not allow.
    """
    instance = store.instance(delivery.instance_id)
    if instance is None:
        raise UnreachableError(f"delivery {delivery.id} has no instance; the queue is damaged.")
    made = {one.format: one for one in store.results(instance.id) if one.sop_instance_uid}
    items = tuple(
        Item(whole(settings.results, one.path), one.format, one.sop_class_uid, one.sop_instance_uid)
        for one in made.values()
        if one.format in destination.formats
    )
    # Of what was skipped there is a notice alone.
    wanted = () if instance.skipped_code else destination.formats
    missing = tuple(one for one in wanted if one in settings.formats and one not in made)
    return Parcel(delivery, instance, whole(settings.state, instance.path), items, missing)
