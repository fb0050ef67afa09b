"""What a node is told: where it listens, whom it admits, what it makes, and where results go."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from lungfield.errors import DataError
from lungfield.labels import ONLY_LUNGS

Kind = Literal["dicom", "dicomweb", "hl7", "fhir"]
Commitment = Literal["auto", "required", "never"]

OBJECTS = ("seg", "sr", "sc")
"""The formats that destinations get as DICOM objects, by the names of `lungfield.batch.FORMATS`."""

_GIB = 1 << 30
_AE_TITLE = re.compile(r"[\x20-\x5b\x5d-\x7e]{1,16}")  # DICOM PS3.5, 6.2: no backslash, no control characters
_DICOM_ADDRESS = re.compile(r"(?P<title>[^@]+)@(?P<host>\[[^\]]+\]|[^:@]+):(?P<port>\d+)")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,39}")


@dataclass(frozen=True)
class Tls:
    """How a connection is encrypted (DICOM PS3.15, annex B).

    Attributes:
        on: whether it is; for addresses that begin with https it always is.
        ca: certificates of the authorities that the other side's certificate must come from (PEM); None for
            those that the system trusts.
        certificate: our own (PEM); a server needs it, a client where the other side asks for it.
        key: of our own certificate (PEM).
        mutual: as a server, demand a certificate of every client.
    """

    on: bool = False
    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    mutual: bool = False


class _WithSecrets:
    """What has secrets in the environment, under its name."""

    name: str

    @property
    def token(self) -> str | None:
        """The bearer token of `LUNGFIELD_NODE_TOKEN_<NAME>`, None where there is none."""
        return secret("TOKEN", self.name)

    @property
    def password(self) -> str | None:
        """The password of `LUNGFIELD_NODE_PASSWORD_<NAME>`, None where there is none."""
        return secret("PASSWORD", self.name)


@dataclass(frozen=True)
class Destination(_WithSecrets):
    """Where results are sent.

    Attributes:
        name: of the destination, in messages, metrics and the names of its secrets' variables.
        kind: 'dicom' (C-STORE), 'dicomweb' (STOW-RS), 'hl7' (ORU^R01) or 'fhir' (DiagnosticReport).
        ae_title: the called AE title, of a 'dicom' one.
        host: its name or address, of a 'dicom' one.
        port: its port, of a 'dicom' one.
        url: the root of its DICOMweb services, or where messages are posted to; else empty.
        folder: where messages are written as files, of an 'hl7' or 'fhir' one without `url`.
        formats: the objects that it gets; none for messages.
        commitment: whether an object counts as delivered only after the storage commitment of a 'dicom' one
            (PS3.4, annex J): 'auto' where it offers that, 'required', or 'never'.
        fallback: name of the destination that gets what this one has not taken within `retry_for_s`.
        user: of HTTP's basic authentication; the password comes from the environment.
        retry_for_s: how long a delivery is tried again, in seconds from the first time.
        first_retry_s: the first pause between two tries, in seconds; each is twice as long as the last.
        longest_retry_s: the longest pause.
        timeout_s: for an answer of the other side.
        tls: encryption.
    """

    name: str
    kind: Kind
    ae_title: str = ""
    host: str = ""
    port: int = 0
    url: str = ""
    folder: Path | None = None
    formats: tuple[str, ...] = OBJECTS
    commitment: Commitment = "auto"
    fallback: str | None = None
    user: str = ""
    retry_for_s: float = 24 * 3600.0
    first_retry_s: float = 5.0
    longest_retry_s: float = 600.0
    timeout_s: float = 30.0
    tls: Tls = field(default_factory=Tls)


@dataclass(frozen=True)
class Poll(_WithSecrets):
    """A DICOMweb archive that is asked for new radiographs.

    Attributes:
        url: the root of its DICOMweb services.
        every_s: pause between two questions, in seconds.
        name: in messages and in the names of its secrets' variables.
        user: of HTTP's basic authentication.
        days: how far back studies are asked for, in days.
        tls: authorities and certificates for https.
    """

    url: str
    every_s: float = 30.0
    name: str = "poll"
    user: str = ""
    days: int = 2
    tls: Tls = field(default_factory=Tls)


@dataclass(frozen=True)
class Limits:
    """Bounds on what peers can cost, and on disk.

    Attributes:
        associations: open at once.
        connections: TCP connections at once that have not asked for an association yet.
        pdu_bytes: the largest PDU that is received (PS3.8, D.1).
        object_bytes: the largest object that is received.
        request_s: until a connection must have asked for an association (ARTIM, PS3.8, 9.1.5).
        idle_s: until an association on which nothing comes is aborted.
        disk_free_bytes: free space on the state folder's disk below which objects are refused (A700).
        drain_s: how long SIGTERM waits for what is in work.
    """

    associations: int = 32
    connections: int = 64
    pdu_bytes: int = 128 << 10
    object_bytes: int = 256 << 20
    request_s: float = 10.0
    idle_s: float = 60.0
    disk_free_bytes: int = 2 * _GIB
    drain_s: float = 25.0


@dataclass(frozen=True)
class Retention:
    """What is deleted, of that which is delivered or skipped, and of nothing else.

    Attributes:
        days: how long radiographs and results are kept after that.
        bytes: how much of the disk all of them may take; the oldest are deleted first.
        forget_days: how long their rows are kept, by which the same radiograph is known when it comes again.
    """

    days: float = 7.0
    bytes: int = 50 * _GIB
    forget_days: float = 400.0


@dataclass(frozen=True)
class Settings:
    """All that a node is told.

    Attributes:
        state: the folder of queue, radiographs and results.
        ae_title: its own.
        host: address to listen on for DICOM.
        port: port to listen on for DICOM; 0 for a free one.
        send_to: the destinations.
        formats: what is made of each radiograph, and what destinations get that name no formats of their own.
        bundle: a shipped bundle's name, or the folder of another that is trusted; '' for the default.
        http: 'HOST:PORT' of page, health and metrics; '' for none.
        http_hosts: further names and addresses under which browsers, proxies and Prometheus reach the page;
            requests for others are refused.
        http_tls: certificate and key of the page; with none it is not encrypted.
        http_thumbnails: whether the page shows small pictures, in which burnt-in text may tell who it is.
        calling_ae_titles: who may send; empty for all.
        calling_addresses: addresses and networks ('10.1.0.0/16') that may connect; empty for all.
        any_called_ae_title: whether peers may call it by another title than `ae_title`.
        watch: folders whose new files are taken.
        poll: DICOMweb archives that are asked for new radiographs.
        tls: of the DICOM port.
        limits: what peers can cost.
        retention: what is deleted when.
        device: 'auto', 'cpu', 'cuda', ...
        backend: what runs the network: 'torch', 'openvino' or 'auto'.
        workers: processes that segment; None for one a core.
        time_limit_s: how long one radiograph may take, in seconds.
        memory_limit_bytes: what a worker may take for a radiograph.
        views: 'frontal' skips what a header says to be no frontal view; 'any' does not.
        structures: what DICOM SEG holds, of 'lungs' (always there), 'heart' and 'clavicles'.
        viewer_geometry: place DICOM SEG objects in an invented plane, for viewers that insist on one.
        skipped_notice: of an image that is skipped, send a secondary capture that says why, to those
            destinations that get secondary captures.
        log_file: where the log goes as JSON lines; None for standard error.
    """

    state: Path
    ae_title: str = "LUNGFIELD"
    host: str = "127.0.0.1"
    port: int = 11112
    send_to: tuple[Destination, ...] = ()
    formats: tuple[str, ...] = OBJECTS
    bundle: str = ""
    http: str = "127.0.0.1:8080"
    http_hosts: tuple[str, ...] = ()
    http_tls: Tls = field(default_factory=Tls)
    http_thumbnails: bool = True
    calling_ae_titles: tuple[str, ...] = ()
    calling_addresses: tuple[str, ...] = ()
    any_called_ae_title: bool = False
    watch: tuple[Path, ...] = ()
    poll: tuple[Poll, ...] = ()
    tls: Tls = field(default_factory=Tls)
    limits: Limits = field(default_factory=Limits)
    retention: Retention = field(default_factory=Retention)
    device: str = "auto"
    backend: str = "auto"
    workers: int | None = None
    time_limit_s: float = 120.0
    memory_limit_bytes: int = 2 * _GIB
    views: Literal["frontal", "any"] = "frontal"
    structures: tuple[str, ...] = ONLY_LUNGS
    viewer_geometry: bool = False
    skipped_notice: bool = False
    log_file: Path | None = None

    @property
    def database(self) -> Path:
        """The file of the queue."""
        return self.state / "node.sqlite3"

    @property
    def incoming(self) -> Path:
        """The folder of what was received."""
        return self.state / "incoming"

    @property
    def results(self) -> Path:
        """The folder of what was made."""
        return self.state / "results"

    @property
    def first_destinations(self) -> tuple[Destination, ...]:
        """Those that get every result by themselves: none that is another's fallback."""
        spare = {one.fallback for one in self.send_to}
        return tuple(one for one in self.send_to if one.name not in spare)

    def destination(self, name: str) -> Destination | None:
        """The destination of a name, None where it is no longer configured."""
        return next((one for one in self.send_to if one.name == name), None)


def parse_address(text: str) -> dict[str, object]:
    """What an address says of a destination, by the names of `Destination`'s attributes.

    Args:
        text: 'AET@HOST:PORT'; the http(s) address of a DICOMweb service; 'hl7:' or 'fhir:' and a folder or an
            http(s) address.

    Raises:
        DataError: it is none of these.
    """
    kind, separator, rest = text.partition(":")
    if separator and kind in ("hl7", "fhir"):
        where: dict[str, object] = {"url": _url(rest)} if _is_url(rest) else {"folder": Path(rest)}
        return {"kind": kind, "formats": (), **where}
    if _is_url(text):
        return {"kind": "dicomweb", "url": _url(text)}
    found = _DICOM_ADDRESS.fullmatch(text)
    if found is None or not 0 < int(found["port"]) < 1 << 16:
        raise DataError(
            f"'{text}' is no address to send to; give AET@HOST:PORT, the http(s) address of a DICOMweb "
            "service, or hl7: or fhir: and a folder or an http(s) address."
        )
    return {
        "kind": "dicom",
        "ae_title": checked_ae_title(found["title"]),
        "host": found["host"].strip("[]"),
        "port": int(found["port"]),
    }


def checked_ae_title(text: str) -> str:
    """An AE title without the blanks around it (PS3.5, 6.2).

    Raises:
        DataError: it is none.
    """
    if not _AE_TITLE.fullmatch(text) or not text.strip():
        raise DataError(f"'{text}' is no AE title; give 1 to 16 characters of ASCII without backslash.")
    return text.strip()


def checked_name(text: str) -> str:
    """The name of a destination.

    Raises:
        DataError: it has other characters than names of environment variables and files can hold.
    """
    if not _NAME.fullmatch(text):
        raise DataError(f"'{text}' is no name for a destination; give letters, digits, '-' and '_'.")
    return text


def secret(what: str, name: str) -> str | None:
    """A secret of the environment: `LUNGFIELD_NODE_<WHAT>_<NAME>`, None where it is not set."""
    return os.environ.get(f"LUNGFIELD_NODE_{what}_{re.sub('[^A-Z0-9]', '_', name.upper())}") or None


def _is_url(text: str) -> bool:
    return text.startswith(("http://", "https://"))


def _url(text: str) -> str:
    parts = urlsplit(text)
    if not parts.hostname or parts.username or parts.password:
        raise DataError(
            f"'{parts.scheme}://{parts.hostname or ''}...' is no address to send to; give a host and no "
            "password: secrets come from the environment."
        )
    return text.rstrip("/")
