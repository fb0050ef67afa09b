"""C-STORE and storage commitment as SCU (PS3.4, annexes B and J), with one association for many objects."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pydicom
from pydicom import Dataset
from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian, generate_uid
from pynetdicom import AE, build_context, evt
from pynetdicom.association import Association
from pynetdicom.dimse_messages import N_EVENT_REPORT_RSP
from pynetdicom.pdu import P_DATA_TF
from pynetdicom.presentation import PresentationContext

from lungfield.errors import first_line
from lungfield.node import commitment
from lungfield.node.commitment import Commitments
from lungfield.node.connections import client_context
from lungfield.node.parcels import Asked, Item, Outcome, Parcel, Refused, Taken, UnreachableError, unreadable
from lungfield.node.settings import Destination

TRANSFER_SYNTAXES = (ExplicitVRLittleEndian, ImplicitVRLittleEndian)
_SUCCESS, _DUPLICATE = 0x0000, 0x0111
_WARNINGS = range(0xB000, 0xC000)
STATUSES = (
    (range(0xA700, 0xA800), "out of resources"),
    (range(0xA900, 0xAA00), "the data set does not match the SOP class"),
    (range(0xC000, 0xD000), "it cannot understand the object"),
    (range(0x0122, 0x0123), "it does not support the SOP class"),
    (range(0x0124, 0x0125), "not authorized"),
)
"""PS3.4, table B.2-1; PS3.7, annex C."""
_LONGEST_CONNECT_S = 10.0
_REPORT_WAIT_S = 5.0
"""How long an association stays open for a commitment report; a later report comes on a new association."""


class _LostError(Exception):
    """The association has ended, or the peer did not answer in time."""


class _CommitmentReports:
    """Handles the commitment reports on an association, and waits until they are answered.

    pynetdicom answers reports in its own thread. If the association were released before the answer, the
    archive would send the report again.
    """

    def __init__(self, commitments: Commitments) -> None:
        self._commitments = commitments
        self._answering = False
        self._answered = threading.Event()
        self._answered.set()

    @property
    def handlers(self) -> list[tuple[Any, Callable[[Any], Any]]]:
        """The event handlers for the association."""
        return [
            (evt.EVT_N_EVENT_REPORT, self._hear),
            (evt.EVT_DIMSE_SENT, self._answer),
            (evt.EVT_PDU_SENT, self._sent),
        ]

    def wait_for_answer(self, limit_s: float) -> None:
        """Wait until the reports so far are answered."""
        self._answered.wait(limit_s)

    def _hear(self, event: Any) -> tuple[int, None]:
        self._answered.clear()
        return self._commitments.answer(event)

    def _answer(self, event: Any) -> None:
        self._answering |= isinstance(event.message, N_EVENT_REPORT_RSP)

    def _sent(self, event: Any) -> None:
        if self._answering and isinstance(event.pdu, P_DATA_TF):
            self._answering = False
            self._answered.set()


class DicomSender:
    """The sender for a Storage SCP.

    Args:
        destination: of kind 'dicom'.
        ae_title: the node's own.
        commitments: stores the reports that arrive on the association.

    Raises:
        DataError: a file of certificates cannot be read.
    """

    def __init__(self, destination: Destination, ae_title: str, commitments: Commitments) -> None:
        self._destination = destination
        self._commitments = commitments
        self._hearing = _CommitmentReports(commitments)
        self._closing = threading.Event()
        self._connection: socket.socket | None = None
        self._tls = None
        if destination.tls.on:
            self._tls = (client_context(destination.tls), destination.host)
        self._ae = AE(ae_title=ae_title)
        self._ae.acse_timeout = self._ae.dimse_timeout = self._ae.network_timeout = destination.timeout_s
        self._ae.connection_timeout = min(destination.timeout_s, _LONGEST_CONNECT_S)

    def send(self, parcels: Sequence[Parcel]) -> Iterator[tuple[Parcel, Outcome]]:
        """Send parcels over one association; see `Sender`.

        An object counts as stored if the status of its C-STORE is success, a warning (0xB000 to 0xBFFF), or
        0x0111 (duplicate: the archive has it, as the UID depends on the content). Others are refusals.
        """
        wanted = self._destination.commitment
        with self._associated(_storage_contexts(parcels), ask=wanted != "never") as association:
            offered = any(
                one.abstract_syntax == commitment.SOP_CLASS for one in association.accepted_contexts
            )
            if wanted == "required" and not offered:
                raise UnreachableError("it offers no storage commitment, but the settings require it")
            accepted: list[tuple[Parcel, str]] = []
            lost = False
            for parcel in parcels:
                if self._closing.is_set():
                    return
                try:
                    outcome: Outcome = self._store(association, parcel)
                except _LostError as error:
                    yield parcel, Refused(str(error))
                    lost = True
                    break
                if offered and isinstance(outcome, Taken):
                    accepted.append((parcel, outcome.warning))
                else:
                    yield parcel, outcome
            if not lost:
                yield from self._commit(association, accepted)
                return
        if not accepted and parcel is parcels[0]:
            raise UnreachableError("it ended the association at the first object")
        if accepted:
            with self._associated([], ask=True) as association:
                yield from self._commit(association, accepted)

    def close(self) -> None:
        """Abort the current association, from another thread."""
        self._closing.set()
        connection = self._connection
        if connection is not None:
            # This wakes a thread that waits for the peer.
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    # One association

    @contextlib.contextmanager
    def _associated(self, contexts: list[PresentationContext], *, ask: bool) -> Iterator[Association]:
        """A context with an association, released at the end, or aborted on an error."""
        if ask:
            contexts = [*contexts, build_context(commitment.SOP_CLASS)]
        destination = self._destination
        handlers: list[tuple[Any, Callable[[Any], Any]]] = [
            (evt.EVT_CONN_OPEN, self._opened),
            *self._hearing.handlers,
        ]
        try:
            association = self._ae.associate(
                destination.host,
                destination.port,
                contexts=contexts,
                ae_title=destination.ae_title,
                tls_args=self._tls,
                evt_handlers=handlers,
            )
        except OSError as error:  # for example, the host name is unknown
            raise UnreachableError(f"no connection: {first_line(error)}") from error
        try:
            if not association.is_established:
                raise UnreachableError(self._why_not(association))
            yield association
            if association.is_established and not self._closing.is_set():
                association.release()
        finally:
            if association.is_established:
                association.abort()
            self._connection = None

    def _opened(self, event: Any) -> None:
        """Set a timeout for sending: pynetdicom would wait forever for a peer that does not read."""
        self._connection = event.assoc.dul.socket.socket
        self._connection.settimeout(self._destination.timeout_s)
        # Without this, each object waits 40 ms for the acknowledgement of its command.
        self._connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._closing.is_set():
            self.close()

    def _why_not(self, association: Association) -> str:
        """Why there is no association: pynetdicom only reports that a connection failed."""
        if association.is_rejected:
            answer = association.acceptor.primitive
            return (
                f"it rejected the association: {answer.reason_str}"
                if answer
                else "it rejected the association"
            )
        destination = self._destination
        address = (destination.host, destination.port)
        try:
            with socket.create_connection(address, self._ae.connection_timeout) as connection:
                if self._tls is not None:
                    context, name = self._tls
                    connection.settimeout(self._ae.connection_timeout)
                    context.wrap_socket(connection, server_hostname=name).close()
        except OSError as error:
            reason = getattr(error, "verify_message", "") or error.strerror or first_line(error)
            return f"no connection: {reason}"
        return "it did not answer the request for an association, or aborted it"

    # What is sent

    def _store(self, association: Association, parcel: Parcel) -> Taken | Refused:
        """Send all objects of a parcel, also after a refused one.

        Raises:
            _LostError: the association has ended.
        """
        errors, warnings = [], [f"no {one} could be made" for one in parcel.missing]
        for item in parcel.items:
            try:
                dataset = pydicom.dcmread(item.path)
                fits = _fit(dataset, association.accepted_contexts)
            except Exception as error:  # of the file: pydicom raises anything
                return Refused(unreadable(item, error), final=True)
            if not fits:
                errors.append(
                    f"accepts no {item.format} ({UID(item.sop_class_uid).name}) in a transfer syntax we have"
                )
                continue
            status = self._status(association, dataset, item)
            if status in _WARNINGS:
                warnings.append(f"stored the {item.format} with the warning {status:#06x}")
            elif status == _DUPLICATE:
                warnings.append(f"already had the {item.format}")
            elif status != _SUCCESS:
                errors.append(f"refused the {item.format}: {_described(status)}")
        return Refused("; ".join(errors)) if errors else Taken("; ".join(warnings))

    def _status(self, association: Association, dataset: Dataset, item: Item) -> int:
        """The status of a C-STORE."""
        if not association.is_established:
            raise _LostError("ended the association")
        answer = association.send_c_store(dataset)
        if "Status" not in answer:
            association.abort()
            raise _LostError(f"did not answer, or ended the association, at the {item.format}")
        return int(answer.Status)

    def _commit(
        self, association: Association, accepted: Sequence[tuple[Parcel, str]]
    ) -> Iterator[tuple[Parcel, Outcome]]:
        """Request the commitment for all accepted objects in one transaction.

        No further request is sent on the association: it could collide with a report of the archive.
        """
        if not accepted:
            return
        transaction_uid = generate_uid()
        reported = self._commitments.expect(transaction_uid)
        try:
            for parcel, warning in accepted:
                yield parcel, Asked(transaction_uid, warning)
            error = self._ask(
                association, transaction_uid, [one for parcel, _ in accepted for one in parcel.items]
            )
            if error:
                yield from ((parcel, Refused(error)) for parcel, _ in accepted)
                return
            end = time.monotonic() + min(_REPORT_WAIT_S, self._destination.timeout_s)
            while association.is_established and not self._closing.is_set() and time.monotonic() < end:
                if reported.wait(0.05):
                    self._hearing.wait_for_answer(max(0.0, end - time.monotonic()))
                    return
        finally:
            self._commitments.forget(transaction_uid)

    def _ask(self, association: Association, transaction_uid: str, items: Sequence[Item]) -> str:
        """Send the N-ACTION, and return why it was refused, or ''."""
        request = commitment.request_of(transaction_uid, items)
        try:
            answer, _ = association.send_n_action(
                request, commitment.REQUEST_COMMITMENT, commitment.SOP_CLASS, commitment.SOP_INSTANCE
            )
        except (RuntimeError, ValueError):  # the association has ended, or has no such context
            return "ended the association before storage commitment was requested"
        if "Status" not in answer:
            association.abort()
            return "did not answer the request for storage commitment"
        if int(answer.Status) == _SUCCESS or int(answer.Status) in _WARNINGS:
            return ""
        return (
            f"offers storage commitment, but refuses it: {_described(int(answer.Status))}; enter this node's "
            "AE title, address and port there, or set the destination's commitment to never"
        )


def _storage_contexts(parcels: Sequence[Parcel]) -> list[PresentationContext]:
    """The proposed contexts: each SOP class in the transfer syntax of its file, and uncompressed."""
    contexts: dict[tuple[str, str], PresentationContext] = {}
    for item in (one for parcel in parcels for one in parcel.items):
        contexts[item.sop_class_uid, ""] = build_context(item.sop_class_uid, list(TRANSFER_SYNTAXES))
        syntax = _syntax_of(item)
        if syntax not in TRANSFER_SYNTAXES:
            contexts[item.sop_class_uid, syntax] = build_context(item.sop_class_uid, syntax)
    return list(contexts.values())


def _syntax_of(item: Item) -> UID:
    """The transfer syntax of a file; if it cannot be read, a default, as sending reports the error."""
    try:
        return UID(pydicom.filereader.read_file_meta_info(item.path).TransferSyntaxUID)
    except Exception:
        return ExplicitVRLittleEndian


def _fit(dataset: Dataset, accepted: Sequence[PresentationContext]) -> bool:
    """Convert an object to an accepted transfer syntax; return False if there is none."""
    syntaxes = {one.transfer_syntax[0] for one in accepted if one.abstract_syntax == dataset.SOPClassUID}
    own = dataset.file_meta.TransferSyntaxUID
    if own in syntaxes or (own in TRANSFER_SYNTAXES and syntaxes & set(TRANSFER_SYNTAXES)):
        return True
    if not syntaxes & set(TRANSFER_SYNTAXES):
        return False
    # An object in another encoding keeps its SOP Instance UID (PS3.5, 10).
    dataset.decompress(generate_instance_uid=False)
    return True


def _described(status: int) -> str:
    meaning = next((text for statuses, text in STATUSES if status in statuses), "")
    return f"{status:#06x}{', ' if meaning else ''}{meaning}"
