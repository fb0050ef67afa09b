"""Send results, with one thread per destination, so that one that is down or hangs does not block others."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence

from lungfield.errors import LungfieldError
from lungfield.node.commitment import Commitments, wait_s
from lungfield.node.parcels import Asked, Outcome, Parcel, Sender, Taken, UnreachableError, parcel_of
from lungfield.node.records import Delivery
from lungfield.node.retries import pause_s, record_failure
from lungfield.node.senders import make_sender
from lungfield.node.settings import Destination, Settings
from lungfield.node.store import Store

_LOG = logging.getLogger(__name__)
_AT_ONCE = 20
"""Largest number of deliveries per association."""
_IDLE_S = 0.5
_QUEUE_PAUSE_S = 5.0
_ALL = 1_000_000
_FOREVER = float("inf")


class Delivering:
    """Sends due deliveries to each destination until it is stopped.

    Args:
        settings: of the node.
        store: its queue.
        commitments: stores the reports of archives; the receiver also passes it reports from its port.
        sender: creates the sender for a destination.

    Raises:
        DataError: a destination's certificates cannot be used.
    """

    def __init__(
        self,
        settings: Settings,
        store: Store,
        commitments: Commitments | None = None,
        sender: Callable[[Destination, str, Commitments], Sender] = make_sender,
    ) -> None:
        self._settings = settings
        self._store = store
        self.commitments = commitments or Commitments(settings, store)
        self._couriers = [
            Courier(settings, store, one, sender(one, settings.ae_title, self.commitments))
            for one in settings.send_to
        ]

    def start(self) -> None:
        """Start the threads; deliveries to destinations that are no longer configured are parked."""
        for name in self._store.delivery_counts():
            if self._settings.destination(name) is None:
                self._park_all(name)
            # It is unknown whether a killed process had requested their commitment, so send them again.
            for sent in self._store.overdue(name, _FOREVER, _ALL):
                self._store.failed(sent.id, "the node ended before the commitment arrived", time.time())
        for one in self._couriers:
            one.start()

    def wake(self) -> None:
        """Check for due deliveries at once."""
        for one in self._couriers:
            one.wake()

    def stop(self, limit_s: float = 5.0) -> bool:
        """Stop within `limit_s` seconds, and return whether all threads ended.

        Unfinished deliveries are sent again by the next process.
        """
        end = time.monotonic() + limit_s
        for one in self._couriers:
            one.close()
        for one in filter(threading.Thread.is_alive, self._couriers):
            one.join(max(0.0, end - time.monotonic()))
        return not any(one.is_alive() for one in self._couriers)

    def _park_all(self, name: str) -> None:
        error = f"the destination {name} is no longer configured; configure it again, and retry"
        for one in (*self._store.due(name, _FOREVER, _ALL), *self._store.overdue(name, _FOREVER, _ALL)):
            self._store.park_delivery(one.id, error)


class Courier(threading.Thread):
    """The thread of one destination.

    Args:
        settings: of the node.
        store: its queue.
        destination: its destination.
        sender: of the destination.
    """

    def __init__(self, settings: Settings, store: Store, destination: Destination, sender: Sender) -> None:
        # A daemon: a thread that hangs in a library must not keep the process alive.
        super().__init__(name=f"deliver-{destination.name}", daemon=True)
        self._settings = settings
        self._store = store
        self._destination = destination
        self._sender = sender
        self._stopping, self._woken = threading.Event(), threading.Event()
        self._failures = 0

    def wake(self) -> None:
        """Look at once for what is due."""
        self._woken.set()

    def close(self) -> None:
        """End soon."""
        self._stopping.set()
        self._woken.set()
        self._sender.close()

    def run(self) -> None:
        """Deliver until `close`."""
        while not self._stopping.is_set():
            try:
                pause = self.deliver_due()
            except LungfieldError as error:  # of the queue
                pause = _QUEUE_PAUSE_S
                self._complain("%s", error)
            except Exception as error:  # the thread must go on: without it, nothing would be delivered
                pause = _QUEUE_PAUSE_S
                self._complain("unexpected %s; please report it", type(error).__name__)
            if self._failures:
                self._stopping.wait(pause)  # new work must not shorten the pause after a failure
            else:
                self._woken.wait(pause)
                self._woken.clear()

    def deliver_due(self) -> float:
        """Send a batch of due deliveries, and return the pause until the next batch, in seconds."""
        now = time.time()
        for one in self._store.overdue(self._destination.name, now):
            error = f"no storage commitment arrived within {wait_s(self._destination):.0f} s"
            record_failure(self._store, self._destination, one, error)
        due = self._store.due(self._destination.name, now, _AT_ONCE)
        if not due:
            return _IDLE_S
        tried: set[int] = set()
        parcels = self._sendable(due)
        try:
            for parcel, outcome in self._sender.send(parcels) if parcels else ():
                self._note(parcel, outcome)
                tried.add(parcel.delivery.id)
        except UnreachableError as error:
            if self._stopping.is_set():
                return 0.0
            self._failures += 1
            for parcel in parcels:
                if parcel.delivery.id not in tried:
                    record_failure(self._store, self._destination, parcel.delivery, str(error))
            self._park_expired(str(error))
            return pause_s(self._destination, self._failures)
        except LungfieldError:  # of the queue, which `run` waits for
            raise
        except Exception as error:
            # Any error: a delivery that fails must not block the others.
            text = f"unexpected {type(error).__name__}; please report it"
            self._complain("%s", text)
            left = [one for one in parcels if one.delivery.id not in tried]
            for parcel in left[:1]:
                record_failure(self._store, self._destination, parcel.delivery, text)
        self._failures = 0
        return 0.0

    def _sendable(self, due: Sequence[Delivery]) -> list[Parcel]:
        """The parcels of deliveries; deliveries that can never be sent are parked."""
        parcels = []
        for delivery in due:
            parcel = parcel_of(self._settings, self._store, self._destination, delivery)
            lost = [one.format for one in parcel.items if not one.path.is_file()]
            if lost:
                error = f"the {', '.join(lost)} is missing in the state folder; send the radiograph again"
            elif parcel.instance.skipped_code and not parcel.items:
                error = "the notice of a skipped image is a secondary capture; this destination gets none"
            elif self._destination.formats and not parcel.items:
                error = f"none of {', '.join(self._destination.formats)} could be made; see its warnings"
            else:
                parcels.append(parcel)
                continue
            record_failure(self._store, self._destination, delivery, error, final=True)
        return parcels

    def _note(self, parcel: Parcel, outcome: Outcome) -> None:
        if self._stopping.is_set() and not isinstance(outcome, (Taken, Asked)):
            return  # it failed only because the node was stopped
        delivery = parcel.delivery
        if isinstance(outcome, Taken):
            self._store.delivered(delivery.id, outcome.warning)
        elif isinstance(outcome, Asked):
            until = time.time() + wait_s(self._destination)
            self._store.sent(delivery.id, outcome.transaction_uid, until, outcome.warning)
        else:
            record_failure(self._store, self._destination, delivery, outcome.error, final=outcome.final)

    def _park_expired(self, error: str) -> None:
        """Of a destination that is down, park all deliveries whose time is over, also those not due yet."""
        since = time.time() - self._destination.retry_for_s
        while expired := self._store.expired(self._destination.name, since):
            for one in expired:
                if self._stopping.is_set():
                    return
                record_failure(self._store, self._destination, one, error)

    def _complain(self, text: str, *values: object) -> None:
        if not self._stopping.is_set():
            _LOG.error(text, *values, extra={"destination": self._destination.name})
