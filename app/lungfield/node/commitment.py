"""Storage commitment as SCU (PS3.4, annex J): an object is delivered once the archive commits to storing it.

The archive reports on the association of the request, or on one that it opens to the node's own port.
`Commitments.note` handles both.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from typing import Any

from pydicom import Dataset
from pydicom.uid import UID
from pynetdicom.sop_class import StorageCommitmentPushModel, StorageCommitmentPushModelInstance

from lungfield.errors import DataError, LungfieldError
from lungfield.node.parcels import Item, parcel_of
from lungfield.node.records import Delivery
from lungfield.node.retries import record_failure
from lungfield.node.settings import Destination, Settings
from lungfield.node.store import Store

_LOG = logging.getLogger(__name__)
SOP_CLASS: UID = StorageCommitmentPushModel
SOP_INSTANCE: UID = StorageCommitmentPushModelInstance
REQUEST_COMMITMENT = 1
"""Action Type ID (PS3.4, J.3.2.1)."""
_SUCCESS, _PROCESSING_FAILURE = 0x0000, 0x0110
_PAUSES = 6
_REASONS = {
    0x0110: "processing failure",
    0x0112: "it has no such object",
    0x0119: "the object is of another class",
    0x0122: "it does not support the class",
    0x0131: "the transaction was requested before",
    0x0213: "it is out of resources",
}


def wait_s(destination: Destination) -> float:
    """The time limit for a commitment, in seconds: an hour by default."""
    return _PAUSES * max(destination.longest_retry_s, destination.timeout_s)


def request_of(transaction_uid: str, items: Sequence[Item]) -> Dataset:
    """The action information of a commitment request (PS3.4, table J.3-1)."""
    request = Dataset()
    request.TransactionUID = transaction_uid
    request.ReferencedSOPSequence = []
    for one in items:
        reference = Dataset()
        reference.ReferencedSOPClassUID = one.sop_class_uid
        reference.ReferencedSOPInstanceUID = one.sop_instance_uid
        request.ReferencedSOPSequence.append(reference)
    return request


class Commitments:
    """Stores the reports of archives in the queue. Thread-safe.

    Args:
        settings: of the node.
        store: its queue.
    """

    def __init__(self, settings: Settings, store: Store) -> None:
        self._settings = settings
        self._store = store
        self._awaited: dict[str, threading.Event] = {}

    def expect(self, transaction_uid: str) -> threading.Event:
        """An event that is set once the report of a transaction is stored; call `forget` afterwards."""
        return self._awaited.setdefault(transaction_uid, threading.Event())

    def forget(self, transaction_uid: str) -> None:
        """Drop the event of a transaction; its report is still stored."""
        self._awaited.pop(transaction_uid, None)

    def note(self, report: Dataset) -> bool:
        """Store a report in the queue.

        Args:
            report: the event information of an N-EVENT-REPORT (PS3.4, table J.3-2).

        Returns:
            Whether a delivery waited for it.

        Raises:
            DataError: the report cannot be read.
            OutputError: the queue cannot be written.
        """
        try:
            transaction_uid = str(report.TransactionUID)
            kept = {str(one.ReferencedSOPInstanceUID) for one in report.get("ReferencedSOPSequence") or ()}
            failed = {
                str(one.ReferencedSOPInstanceUID): int(one.get("FailureReason") or 0)
                for one in report.get("FailedSOPSequence") or ()
            }
        except Exception as error:  # pydicom raises anything; its messages may quote the report
            raise DataError(
                f"A report on storage commitment cannot be read ({type(error).__name__}); "
                "see the archive's log."
            ) from error
        deliveries = self._store.by_transaction(transaction_uid)
        for delivery in deliveries:
            destination = self._settings.destination(delivery.destination)
            if destination is not None:
                self._settle(destination, delivery, kept, failed)
        if awaited := self._awaited.get(transaction_uid):
            awaited.set()
        return bool(deliveries)

    def answer(self, event: Any) -> tuple[int, None]:
        """Answer a report that arrives on the association of the request."""
        try:
            self.note(event.event_information)
        except LungfieldError as error:
            _LOG.error("a storage commitment could not be stored: %s", error)
            return _PROCESSING_FAILURE, None
        return _SUCCESS, None

    def _settle(
        self, destination: Destination, delivery: Delivery, kept: set[str], failed: dict[str, int]
    ) -> None:
        items = parcel_of(self._settings, self._store, destination, delivery).items
        for one in items:
            if one.sop_instance_uid in failed:
                reason = failed[one.sop_instance_uid]
                error = f"does not commit to the {one.format}: {reason:#06x}"
                error += f", {_REASONS[reason]}" if reason in _REASONS else ""
            elif one.sop_instance_uid not in kept:
                error = f"its commitment does not name the {one.format}"
            else:
                continue
            record_failure(self._store, destination, delivery, error)
            return
        self._store.delivered(delivery.id, delivery.error)
