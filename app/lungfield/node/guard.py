"""Limits on peers: length of PDUs, size of objects, time, and number of connections.

pynetdicom reads a PDU of any declared length into memory, without a time limit, and starts two threads for
every connection. The classes here replace its socket, its DIMSE provider and its server, and leave the rest
of the protocol to pynetdicom.
"""

from __future__ import annotations

import contextlib
import ipaddress
import queue
import socket
import ssl
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

from pydicom.filewriter import write_file_meta_info
from pynetdicom import evt
from pynetdicom.association import Association
from pynetdicom.dimse import DIMSEServiceProvider
from pynetdicom.dimse_messages import C_STORE_RQ
from pynetdicom.dsutils import create_file_meta
from pynetdicom.pdu_primitives import P_DATA
from pynetdicom.transport import AssociationSocket, RequestHandler, ThreadedAssociationServer

from lungfield.node import storage_service
from lungfield.node.settings import Limits

_COMMAND_BYTES = 64 << 10
_OTHER_DATA_BYTES = 4 << 20
"""Limit of data sets that are no object, such as a storage commitment report, which names each object."""
_WAITING_MESSAGES = 2
"""A peer may send no more than the message that is being answered and the next (PS3.7, D.3.3.3)."""
_REQUEST_BYTES = 256 << 10
"""Limit of an association request, as DICOM sets none; 128 presentation contexts take some 100 KB."""
_REACTOR_WAIT_S = 0.02
_DUL_WAIT_S = 0.004
"""Longer waits for pynetdicom's two threads per association, which poll a thousand times a second each."""
_MAKE_ROOM_S = 10.0
_INVALID = "Evt19"
"""Unrecognized or invalid PDU (PS3.8, 9.2): the association is aborted."""


@dataclass(frozen=True)
class Refusal:
    """Why an object is refused.

    Attributes:
        status: of the response.
        comment: ErrorComment, 64 characters at most.
    """

    status: int
    comment: str


@dataclass(frozen=True)
class Admission:
    """The conditions for accepting objects.

    Attributes:
        limits: on peers.
        networks: addresses that may connect; empty for all.
        refusal: returns why objects are refused now, or None.
        part: creates the file that an object is written to.
    """

    limits: Limits
    networks: Sequence[ipaddress.IPv4Network | ipaddress.IPv6Network]
    refusal: Callable[[], Refusal | None]
    part: Callable[[], IO[bytes]]


class _Socket(AssociationSocket):
    """A connection with limits on the length of each PDU and on the time to receive it."""

    def __init__(self, association: Association, connection: socket.socket, limits: Limits) -> None:
        super().__init__(association, client_socket=connection)
        self._largest = max(limits.pdu_bytes, _REQUEST_BYTES)
        self._limit_s = limits.idle_s

    def recv(self, nr_bytes: int) -> bytearray:
        """Receive `nr_bytes` bytes, or fewer if the peer has closed the connection.

        Raises:
            OSError: the PDU is over the limit, or did not arrive in time.
        """
        if nr_bytes > self._largest:
            raise OSError("a PDU claims to be longer than the limit")
        connection = cast(socket.socket, self.socket)
        content = bytearray(nr_bytes)
        view, read = memoryview(content), 0
        end = time.monotonic() + self._limit_s
        while read < nr_bytes:
            connection.settimeout(max(end - time.monotonic(), 0.001))
            count = connection.recv_into(view[read:])
            if not count:
                break
            read += count
        connection.settimeout(self._limit_s)  # for sending
        view.release()
        return content[:read]


class _Dimse(DIMSEServiceProvider):
    """Writes objects to files as they arrive, and limits all other data that a peer can fill memory with."""

    def __init__(self, association: Association, admission: Admission) -> None:
        super().__init__(association)
        self._admission = admission
        self._bytes = 0
        self._refused: Refusal | None = None
        self._invalid = False
        self.refusals: dict[int, Refusal] = {}

    def get_msg(self, block: bool = False) -> Any:
        """The next message; the reactor, which polls without blocking, waits here a little for it."""
        if block:
            return super().get_msg(block=True)
        with contextlib.suppress(queue.Empty):
            return self.msg_queue.get(timeout=_REACTOR_WAIT_S)
        return None, None

    def receive_primitive(self, primitive: P_DATA) -> None:
        """Process one P-DATA, a fragment at a time."""
        for context_id, fragment in primitive.presentation_data_value_list:
            if self._invalid:
                return
            if not fragment or not self._is_within(fragment) or context_id not in self.assoc._accepted_cx:
                self._invalid = True
                self.dul.event_queue.put(_INVALID)
                return
            one = P_DATA()
            # A refused object is read to its end and discarded, so that the request can be answered.
            one.presentation_data_value_list = [
                [context_id, fragment[:1] if self._drops(fragment) else fragment]
            ]
            try:
                super().receive_primitive(one)
            except OSError:
                self._drop(Refusal(storage_service.OUT_OF_RESOURCES, "the object cannot be written"))
                one.presentation_data_value_list = [[context_id, fragment[:1]]]
                super().receive_primitive(one)
            self._begin_object(context_id)

    def discard(self) -> None:
        """Remove the files of objects that are incomplete or will not be answered."""
        files = [getattr(self.message, "_data_set_file", None)]
        with contextlib.suppress(queue.Empty):
            while True:
                files.append(getattr(self.msg_queue.get_nowait()[1], "_dataset_file", None))
        for file in filter(None, files):
            file.close()
            Path(file.name).unlink(missing_ok=True)

    def _is_within(self, fragment: bytes) -> bool:
        if self.message is None:
            self._bytes, self._refused = 0, None
            if self.msg_queue.qsize() >= _WAITING_MESSAGES:
                return False
        self._bytes += len(fragment)
        if fragment[0] & 1:
            return self._bytes <= _COMMAND_BYTES
        if isinstance(self.message, C_STORE_RQ):
            if self._bytes > self._admission.limits.object_bytes + _COMMAND_BYTES and self._refused is None:
                self._drop(Refusal(storage_service.OUT_OF_RESOURCES, "the object is larger than the limit"))
            return True
        return self._bytes <= _OTHER_DATA_BYTES

    def _drops(self, fragment: bytes) -> bool:
        return self._refused is not None and not fragment[0] & 1

    def _begin_object(self, context_id: int) -> None:
        """Open the file for an object, after the command of its C-STORE and before its data set."""
        message = self.message
        if not isinstance(message, C_STORE_RQ) or message._data_set_file or self._refused:
            return
        refusal = self._admission.refusal()
        if refusal is not None:
            self._drop(refusal)
            return
        try:
            file = self._admission.part()
        except OSError:
            self._drop(Refusal(storage_service.OUT_OF_RESOURCES, "the object cannot be written"))
            return
        message._data_set_file = cast(Any, file)
        message._data_set_path = Path(file.name)
        try:
            file.write(bytes(128) + b"DICM")
            meta = create_file_meta(
                sop_class_uid=message.command_set.AffectedSOPClassUID,
                sop_instance_uid=message.command_set.AffectedSOPInstanceUID,
                transfer_syntax=self.assoc._accepted_cx[context_id].transfer_syntax[0],
            )
            write_file_meta_info(cast(Any, file), meta)
        except OSError:
            self._drop(Refusal(storage_service.OUT_OF_RESOURCES, "the object cannot be written"))
        except Exception:  # a request without UIDs, or with UIDs that pydicom does not write
            self._drop(Refusal(storage_service.CANNOT_UNDERSTAND, "the request lacks its UIDs"))

    def _drop(self, refusal: Refusal) -> None:
        """Refuse the current object and discard its data."""
        self._refused = refusal
        message = cast(C_STORE_RQ, self.message)
        self.refusals[int(message.command_set.get("MessageID") or 0)] = refusal
        if message._data_set_file is not None:
            with contextlib.suppress(OSError):
                message._data_set_file.close()
            Path(message._data_set_file.name).unlink(missing_ok=True)
            message._data_set_file = message._data_set_path = None


@dataclass
class _Peer:
    """A connection, with its association once it is requested."""

    connection: socket.socket
    association: Association | None = None

    @property
    def is_silent(self) -> bool:
        return self.association is None or not self.association.is_established

    def shut(self) -> None:
        """End the connection, also while a thread waits on it."""
        if self.association is not None and self.is_silent:
            # pynetdicom does not wake the thread that waits for an association request.
            self.association.dul.to_user_queue.put(cast(Any, None))
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)


class Connection(RequestHandler):
    """One connection, in its own thread until its association ends."""

    server: Server
    request: Any

    def handle(self) -> None:
        """Start TLS if configured, serve one association, and close everything."""
        limits = self.server.admission.limits
        peer = self.server.peers[self.request]
        try:
            if self.server.tls is not None:
                self.request.settimeout(limits.request_s)
                peer.connection = self.request = self.server.tls.wrap_socket(
                    self.request, server_side=True, do_handshake_on_connect=False
                )
                peer.connection.do_handshake()
            peer.connection.settimeout(limits.idle_s)
        except (
            OSError,
            ValueError,
        ):  # the peer speaks no TLS, has no accepted certificate, or was disconnected
            peer.connection.close()
            return
        association = self._create_association()
        association.dul.socket = _Socket(association, peer.connection, limits)
        association.dul.event_queue.get_nowait()  # both sockets have queued the event of the connection
        association.dul._run_loop_delay = _DUL_WAIT_S
        association.dul.daemon = True
        dimse = association.dimse = _Dimse(association, self.server.admission)
        peer.association = association
        try:
            evt.trigger(association, evt.EVT_CONN_OPEN, {"address": self.client_address})
            association.start()
            association.join()
        finally:
            association.dul.kill_dul()
            peer.shut()
            peer.connection.close()
            association.dul.join(limits.idle_s)
            dimse.discard()


class Server(ThreadedAssociationServer):
    """Accepts connections from allowed addresses, up to a limit.

    At the limit, the oldest connection without an association request is closed for a new one, so that silent
    connections cannot lock others out.
    """

    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(
        self, *args: Any, admission: Admission, tls: ssl.SSLContext | None = None, **kwargs: Any
    ) -> None:
        self.admission = admission
        self.tls = tls
        self.peers: dict[socket.socket, _Peer] = {}
        self._changed = threading.Condition()
        super().__init__(*args, **kwargs)

    def verify_request(self, request: Any, client_address: Any) -> bool:
        """Whether a connection is served."""
        if not admits(self.admission.networks, client_address[0]):
            return False
        room = self.admission.limits.connections
        with self._changed:
            silent = self._silent()
            for peer in silent[: len(silent) - room + 1] if len(silent) >= room else ():
                peer.shut()
            # Until it is closed, further connections wait in the system's queue.
            if not self._changed.wait_for(lambda: len(self._silent()) < 2 * room, _MAKE_ROOM_S):
                return False
            self.peers[request] = _Peer(request)
        return True

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Serve a connection that `verify_request` has accepted."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            with self._changed:
                del self.peers[request]
                self._changed.notify_all()

    def established(self) -> int:
        """The number of associations."""
        with self._changed:
            return sum(not one.is_silent for one in self.peers.values())

    def end_all(self) -> None:
        """Close all connections."""
        with self._changed:
            for peer in self.peers.values():
                peer.shut()

    def _silent(self) -> list[_Peer]:
        return [one for one in self.peers.values() if one.is_silent]

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Do nothing: socketserver would print a traceback for each protocol error of a peer."""


def admits(networks: Sequence[ipaddress.IPv4Network | ipaddress.IPv6Network], address: str) -> bool:
    """Whether an address lies in one of the networks; True without networks."""
    if not networks:
        return True
    one = ipaddress.ip_address(address.partition("%")[0])
    mapped = getattr(one, "ipv4_mapped", None) or one
    return any(mapped in network for network in networks if network.version == mapped.version)
