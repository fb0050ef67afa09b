"""The settings of a node: addresses, access, formats, destinations, limits and retention."""

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
"""The formats that are DICOM objects and can be sent, by the names of `lungfield.batch.FORMATS`."""

_GIB = 1 << 30
_AE_TITLE = re.compile(r"[\x20-\x5b\x5d-\x7e]{1,16}")  # DICOM PS3.5, 6.2: no backslash, no control characters
_DICOM_ADDRESS = re.compile(r"(?P<title>[^@]+)@(?P<host>\[[^\]]+\]|[^:@]+):(?P<port>\d+)")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,39}")


@dataclass(frozen=True)
class Tls:
    """The TLS settings of a connection (DICOM PS3.15, annex B).

    Attributes:
        on: whether to use TLS; always used for https addresses.
        ca: certificates (PEM) of the authorities that are trusted for the peer's certificate; None for those
            of the system.
        certificate: our own (PEM); a server needs one, a client only if the server requests it.
        key: of our own certificate (PEM).
        mutual: as a server, require a certificate from every client.
    """

    on: bool = False
    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    mutual: bool = False


class _WithSecrets:
    """A base class for settings whose secrets are in environment variables with their name."""

    name: str

    @property
    def token(self) -> str | None:
        """The bearer token in `LUNGFIELD_NODE_TOKEN_<NAME>`, or None."""
        return secret("TOKEN", self.name)

    @property
    def password(self) -> str | None:
        """The password in `LUNGFIELD_NODE_PASSWORD_<NAME>`, or None."""
        return secret("PASSWORD", self.name)


@dataclass(frozen=True)
class Destination(_WithSecrets):
    """A destination of results.

    Attributes:
        name: of the destination, in messages, metrics and the names of its secrets' variables.
        kind: 'dicom' (C-STORE), 'dicomweb' (STOW-RS), 'hl7' (ORU^R01) or 'fhir' (DiagnosticReport).
        ae_title: the called AE title, for 'dicom'.
        host: its name or address, for 'dicom'.
        port: its port, for 'dicom'.
        url: the root of its DICOMweb services, or the URL for POSTs of messages; else empty.
        folder: the folder for messages as files, for 'hl7' or 'fhir' without `url`.
        formats: the objects that it gets; empty for messages.
        commitment: whether an object counts as delivered only after storage commitment (PS3.4, annex J), for
            'dicom': 'auto' (if the archive offers it), 'required' or 'never'.
        fallback: name of the destination that gets the objects that this one does not accept within
            `retry_for_s`.
        user: for HTTP basic authentication; the password comes from the environment.
        retry_for_s: time from the first attempt in which a delivery is retried, in seconds.
        first_retry_s: the first pause between two attempts, in seconds; it doubles with each failure.
        longest_retry_s: the longest pause, in seconds.
        timeout_s: time limit for an answer, in seconds.
        tls: TLS settings.
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
    """A DICOMweb archive that is polled for new radiographs.

    Attributes:
        url: the root of its DICOMweb services.
        every_s: pause between two queries, in seconds.
        name: in messages and in the names of its secrets' variables.
        user: for HTTP basic authentication; the password comes from the environment.
        days: age of the oldest studies that are queried, in days.
        tls: TLS settings for https.
    """

    url: str
    every_s: float = 30.0
    name: str = "poll"
    user: str = ""
    days: int = 2
    tls: Tls = field(default_factory=Tls)


@dataclass(frozen=True)
class Limits:
    """Limits on peers and on the disk.

    Attributes:
        associations: largest number of open associations.
        connections: largest number of TCP connections without an association request.
        pdu_bytes: largest PDU, in bytes (PS3.8, D.1).
        object_bytes: largest object, in bytes.
        request_s: time limit for the association request of a connection, in seconds (ARTIM, PS3.8, 9.1.5).
        idle_s: time after which an idle association is aborted, in seconds.
        disk_free_bytes: free space on the state folder's disk below which objects are refused (A700), in
            bytes.
        drain_s: time that the node may take to stop after SIGTERM, in seconds.
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
    """When the files of delivered and skipped radiographs are deleted; no others ever are.

    Attributes:
        days: time for which radiographs and results are kept after their delivery, in days.
        bytes: largest total size of all files, in bytes; the oldest are deleted first.
        forget_days: time for which rows are kept, to recognise a radiograph that arrives again, in days.
    """

    days: float = 7.0
    bytes: int = 50 * _GIB
    forget_days: float = 400.0


@dataclass(frozen=True)
class Settings:
    """The settings of a node.

    Attributes:
        state: the folder of queue, radiographs and results.
        ae_title: its own.
        host: address to listen on for DICOM.
        port: port to listen on for DICOM; 0 for a free one.
        send_to: the destinations.
        formats: the objects that are made of each radiograph; also the default of the destinations' formats.
        bundle: name of a shipped bundle, or the folder of another that you trust; '' for the default.
        http: 'HOST:PORT' of page, health and metrics; '' for none.
        http_hosts: further names and addresses under which browsers, proxies and Prometheus reach the page;
            requests for others are refused.
        http_tls: certificate and key of the page; without them it is not encrypted.
        http_thumbnails: whether the page shows thumbnails, in which burnt-in text may identify a patient.
        calling_ae_titles: who may send; empty for all.
        calling_addresses: addresses and networks ('10.1.0.0/16') that may connect; empty for all.
        any_called_ae_title: whether peers may use another called AE title than `ae_title`.
        watch: folders that are watched for new files.
        poll: DICOMweb archives that are polled for new radiographs.
        tls: of the DICOM port.
        limits: on peers and on the disk.
        retention: when files are deleted.
        device: 'auto', 'cpu', 'cuda', ...
        backend: 'torch', 'openvino', 'openvino-int8' or 'auto'.
        workers: number of worker processes; None for one per core.
        time_limit_s: time limit for one radiograph, in seconds.
        memory_limit_bytes: limit of the memory that a worker may allocate for a radiograph, in bytes.
        views: 'frontal' skips images whose header names another view; 'any' does not.
        structures: the structures in DICOM SEG: 'lungs' (always included), 'heart', 'clavicles'.
        viewer_geometry: give DICOM SEG objects an invented plane, for viewers that require one.
        skipped_notice: for each skipped image, send a secondary capture with the reason to the destinations
            that get secondary captures.
        log_file: file for the log as JSON lines; None for standard error.
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
        """The folder of received objects."""
        return self.state / "incoming"

    @property
    def results(self) -> Path:
        """The folder of results."""
        return self.state / "results"

    @property
    def first_destinations(self) -> tuple[Destination, ...]:
        """The destinations that get every result: all that are no fallback."""
        spare = {one.fallback for one in self.send_to}
        return tuple(one for one in self.send_to if one.name not in spare)

    def destination(self, name: str) -> Destination | None:
        """The destination with a name; None if it is not configured."""
        return next((one for one in self.send_to if one.name == name), None)


def parse_address(text: str) -> dict[str, object]:
    """Parse the address of a destination to attributes of `Destination`.

    Args:
        text: 'AET@HOST:PORT'; the http(s) address of a DICOMweb service; 'hl7:' or 'fhir:' and a folder or an
            http(s) address.

    Raises:
        DataError: the text is none of these.
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
            f"'{text}' is no destination address; give AET@HOST:PORT, the http(s) address of a DICOMweb "
            "service, or hl7: or fhir: and a folder or an http(s) address."
        )
    return {
        "kind": "dicom",
        "ae_title": checked_ae_title(found["title"]),
        "host": found["host"].strip("[]"),
        "port": int(found["port"]),
    }


def checked_ae_title(text: str) -> str:
    """Check an AE title, and strip the blanks around it (PS3.5, 6.2).

    Raises:
        DataError: the text is no AE title.
    """
    if not _AE_TITLE.fullmatch(text) or not text.strip():
        raise DataError(f"'{text}' is no AE title; give 1 to 16 ASCII characters without backslash.")
    return text.strip()


def checked_name(text: str) -> str:
    """Check the name of a destination, which is part of names of environment variables and files.

    Raises:
        DataError: the name has invalid characters.
    """
    if not _NAME.fullmatch(text):
        raise DataError(f"'{text}' is no valid name of a destination; use letters, digits, '-' and '_'.")
    return text


def secret(what: str, name: str) -> str | None:
    """The environment variable `LUNGFIELD_NODE_<WHAT>_<NAME>`; None if it is not set."""
    return os.environ.get(f"LUNGFIELD_NODE_{what}_{re.sub('[^A-Z0-9]', '_', name.upper())}") or None


def _is_url(text: str) -> bool:
    return text.startswith(("http://", "https://"))


def _url(text: str) -> str:
    parts = urlsplit(text)
    if not parts.hostname or parts.username or parts.password:
        raise DataError(
            f"'{parts.scheme}://{parts.hostname or ''}...' is no destination address; give a host and no "
            "password: secrets come from the environment."
        )
    return text.rstrip("/")
