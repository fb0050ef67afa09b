"""The node as a Storage SCP (DICOM PS3.4, annex B): C-ECHO, C-STORE, and storage commitment reports."""

from __future__ import annotations

import ipaddress
import logging
import ssl
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydicom.dataset import Dataset
from pynetdicom import AE, _config, evt
from pynetdicom.sop_class import StorageCommitmentPushModel, Verification

from lungfield.errors import DataError, LungfieldError, OutputError, UnreadableError
from lungfield.node import storage_service
from lungfield.node.guard import Admission, Connection, Refusal, Server
from lungfield.node.incoming import Incoming
from lungfield.node.records import Receipt
from lungfield.node.settings import Limits, Settings, Tls

logger = logging.getLogger(__name__)

_LONGEST_COMMENT = 64
_STOP_LIMIT_S = 10.0
_POLL_S = 0.1
_ANSWER_S = 0.1
"""Time for the last answers to be sent."""

Commitment = Callable[[Dataset], bool]
"""Called with the data set of an N-EVENT-REPORT (PS3.4, J.3.3); returns whether it knows the transaction."""


class Receiver:
    """Listens until it is closed.

    Args:
        settings: of the node.
        incoming: stores the objects.
        committed: called with storage commitment reports.

    Raises:
        DataError: an address is invalid, or a certificate is missing or wrong.
        OutputError: the node cannot listen on the address.
    """

    def __init__(
        self, settings: Settings, incoming: Incoming, committed: Commitment = lambda _: False
    ) -> None:
        _quiet()
        self._settings = settings
        self._incoming = incoming
        self._committed = committed
        self._closing = False
        self.refused = 0
        limits = settings.limits
        admission = Admission(
            limits, [_network(one) for one in settings.calling_addresses], self._refusal, incoming.part
        )
        entity = _Entity(settings.ae_title, limits)
        entity.require_calling_aet = list(settings.calling_ae_titles)
        entity.require_called_aet = not settings.any_called_ae_title
        entity.maximum_pdu_size = limits.pdu_bytes
        entity.acse_timeout, entity.network_timeout = limits.request_s, limits.idle_s
        for uid in storage_service.RADIOGRAPHS:
            entity.add_supported_context(uid, list(storage_service.TRANSFER_SYNTAXES))
        entity.add_supported_context(Verification)
        # A report comes from the archive, which is the SCP of the commitment but requests the association
        # (role selection, PS3.7, D.3.3.4).
        entity.add_supported_context(StorageCommitmentPushModel, scu_role=True, scp_role=True)
        tls = server_tls(settings.tls) if settings.tls.on else None
        try:
            self._server = Server(
                entity,
                (settings.host, settings.port),
                settings.ae_title,
                entity.supported_contexts,
                evt_handlers=[
                    (evt.EVT_C_ECHO, lambda _: storage_service.SUCCESS),
                    (evt.EVT_C_STORE, self._store),
                    (evt.EVT_N_EVENT_REPORT, self._report),
                    (evt.EVT_REJECTED, self._rejected),
                ],
                request_handler=Connection,
                admission=admission,
                tls=tls,
            )
        except OSError as error:
            raise OutputError(
                f"The node cannot listen on {settings.host}:{settings.port}: {error.strerror}; check whether "
                "another program uses the port, and whether the address is one of this machine."
            ) from error
        entity._servers.append(self._server)
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(_POLL_S,), name="receiver", daemon=True
        )
        self._thread.start()

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return int(self._server.server_address[1])

    @property
    def associations(self) -> int:
        """The current number of associations."""
        return self._server.established()

    def close(self) -> None:
        """Refuse new objects, answer those that are being stored, and end all associations."""
        if self._closing:
            return
        self._closing = True
        self._server.shutdown()
        self._thread.join(_STOP_LIMIT_S)
        self._incoming.wait_for_rest(_STOP_LIMIT_S)
        time.sleep(_ANSWER_S)
        self._server.end_all()

    def _refusal(self) -> Refusal | None:
        if self._closing:
            return Refusal(storage_service.OUT_OF_RESOURCES, "the node is being stopped")
        if not self._incoming.has_space():
            logger.warning("an object was refused: the disk is nearly full", extra={"status": "0xA700"})
            return Refusal(storage_service.OUT_OF_RESOURCES, "the disk is nearly full")
        return None

    def _store(self, event: Any) -> Dataset:
        """Answer a C-STORE once its object is durable (PS3.4, B.2.3)."""
        refusal = event.assoc.dimse.refusals.pop(event.message_id, None)
        if refusal is None:
            refusal = self._kept(event)
        if refusal is None:
            return _answer(storage_service.SUCCESS)
        self.refused += 1
        logger.warning(
            "a C-STORE was refused: %s", refusal.comment, extra={"status": f"{refusal.status:#06x}"}
        )
        return _answer(refusal.status, refusal.comment)

    def _kept(self, event: Any) -> Refusal | None:
        request = event.request
        path: Path | None = request._dataset_path
        if path is None:
            return Refusal(storage_service.CANNOT_UNDERSTAND, "the request has no data set")
        try:
            receipt = self._incoming.keep(
                path,
                source="dicom",
                calling_ae_title=event.assoc.requestor.ae_title.strip(),
                expected=(str(request.AffectedSOPClassUID), str(request.AffectedSOPInstanceUID)),
            )
        except UnreadableError:
            return Refusal(storage_service.CANNOT_UNDERSTAND, "the data set cannot be read, or has no UIDs")
        except OutputError as error:
            logger.error("%s", error)
            return Refusal(storage_service.OUT_OF_RESOURCES, "the object cannot be written")
        except DataError:
            return Refusal(storage_service.DOES_NOT_MATCH, "the object's UIDs are not those of the request")
        except LungfieldError as error:  # pragma: no cover (no other error is raised today)
            return Refusal(storage_service.CANNOT_UNDERSTAND, type(error).__name__)
        logger.info("an object was received: %s", receipt, extra={"receipt": str(receipt)})
        if receipt is Receipt.OWN:
            return Refusal(storage_service.NOT_AUTHORIZED, "results of this software are not accepted")
        return None

    def _report(self, event: Any) -> tuple[int, None]:
        """Answer an N-EVENT-REPORT of storage commitment."""
        try:
            known = self._committed(event.event_information)
        except LungfieldError as error:
            logger.error("a storage commitment could not be stored: %s", error)
            return 0x0110, None  # processing failure: the archive may report again
        # An unknown transaction may belong to a delivery that was parked meanwhile; ignore it.
        logger.info("a storage commitment was reported", extra={"known": known})
        return storage_service.SUCCESS, None

    def _rejected(self, event: Any) -> None:
        logger.warning(
            "an association was rejected: its AE titles are not allowed, or there are too many",
            extra={"address": event.assoc.requestor.address_info.address},
        )


class _Entity(AE):
    """An application entity whose limit counts associations, not connections without a request."""

    def __init__(self, ae_title: str, limits: Limits) -> None:
        self._limit = limits.associations
        super().__init__(ae_title)

    @property
    def maximum_associations(self) -> int:
        """The limit of association threads, including the one that asks."""
        waiting = sum(1 for one in self.active_associations if not one.is_established)
        return self._limit + max(waiting - 1, 0)

    @maximum_associations.setter
    def maximum_associations(self, value: int) -> None:
        pass


def server_tls(tls: Tls) -> ssl.SSLContext:
    """The TLS context of a server (PS3.15, B.9: TLS 1.2 or later).

    Raises:
        DataError: a certificate is missing or wrong.
    """
    if tls.certificate is None or (tls.mutual and tls.ca is None):
        raise DataError(
            "TLS needs a certificate and its key; if clients need certificates (mutual), it also needs their "
            "certificate authorities (ca)."
        )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(tls.certificate, tls.key)
        if tls.mutual:
            context.load_verify_locations(tls.ca)
            context.verify_mode = ssl.CERT_REQUIRED
    except OSError as error:
        raise DataError(
            f"The certificates {tls.certificate}, {tls.key}, {tls.ca} cannot be used: "
            f"{error.strerror or error}."
        ) from error
    return context


def _quiet() -> None:
    """Switch off pynetdicom's log, which quotes identifiers and headers."""
    _config.LOG_HANDLER_LEVEL = "none"
    logging.getLogger("pynetdicom").setLevel(logging.CRITICAL + 1)


def _network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError as error:
        raise DataError(
            f"'{text}' is no address or network; give, for example, 10.1.2.3 or 10.1.0.0/16."
        ) from error


def _answer(status: int, comment: str = "") -> Dataset:
    answer = Dataset()
    answer.Status = status
    if comment:
        answer.ErrorComment = comment[:_LONGEST_COMMENT]
    return answer
