"""Senders for STOW-RS (PS3.18, section 10.5), and for HL7 and FHIR messages by POST or as files."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pydicom
import requests

from lungfield.atomic import write_whole
from lungfield.errors import DataError, HeaderError, OutputError
from lungfield.node import fhir, hl7
from lungfield.node.connections import archive_of, http_session
from lungfield.node.messages import Message, message_of
from lungfield.node.parcels import Outcome, Parcel, Refused, Taken, UnreachableError, unreadable
from lungfield.node.settings import Destination

_OF_ALL = (401, 403, 404, 405, 407, 408, 429, 502, 503, 504)
"""HTTP statuses that do not depend on the content: all deliveries to the destination are retried later."""


class DicomwebSender:
    """The sender for a DICOMweb archive: one request per parcel, over one connection.

    Args:
        destination: of kind 'dicomweb'.

    Raises:
        DataError: a file of certificates is missing.
    """

    def __init__(self, destination: Destination) -> None:
        self._archive = archive_of(destination, http_session(destination), destination.timeout_s)
        self._closing = threading.Event()

    def send(self, parcels: Sequence[Parcel]) -> Iterator[tuple[Parcel, Outcome]]:
        """Send parcels; see `Sender`. An object that the archive's answer does not name is not stored."""
        for parcel in parcels:
            if self._closing.is_set():
                return
            yield parcel, self._store(parcel)

    def close(self) -> None:
        """Send nothing more; what is under way ends by itself, or by its limit of time."""
        self._closing.set()

    def _store(self, parcel: Parcel) -> Outcome:
        datasets = []
        for item in parcel.items:
            try:
                datasets.append(pydicom.dcmread(item.path))
            except Exception as error:  # of the file: pydicom raises anything
                return Refused(unreadable(item, error), final=True)
        try:
            remarks = self._archive.send(*datasets, insist=True)
        except OutputError as error:
            return Refused(_without_address(error, self._archive.url))
        except DataError as error:
            response = getattr(error.__cause__, "response", None)
            text = _without_address(error, self._archive.url)
            if response is None or response.status_code in _OF_ALL:
                raise UnreachableError(text) from error
            return Refused(text)
        return Taken("; ".join([*(f"no {one} could be made" for one in parcel.missing), *remarks]))


@dataclass(frozen=True)
class MessageFormat:
    """A format of messages.

    Attributes:
        suffix: of files.
        content_type: of a POST.
        encode: encodes a message as bytes.
        refusal: returns why a receiver refused a message, from the bytes of its answer; None if it did not.
        headers: returns further headers of a POST.
    """

    suffix: str
    content_type: str
    encode: Callable[[Message], bytes]
    refusal: Callable[[bytes], str | None] = field(default=lambda answer: None)  # noqa: ARG005
    headers: Callable[[Message], dict[str, str]] = field(default=lambda message: {})  # noqa: ARG005


HL7 = MessageFormat(".hl7", hl7.CONTENT_TYPE, hl7.oru_r01, hl7.refusal)
FHIR = MessageFormat(
    ".json",
    fhir.CONTENT_TYPE,
    fhir.to_json,
    headers=lambda message: {"If-None-Exist": fhir.search_of_identifier(message), "Prefer": "return=minimal"},
)


class MessageSender:
    """The sender for a receiver of messages.

    Args:
        destination: of kind 'hl7' or 'fhir', with the address or the folder of the receiver.
        language: the format of its messages.

    Raises:
        DataError: a file of certificates is missing.
    """

    def __init__(self, destination: Destination, language: MessageFormat) -> None:
        self._destination = destination
        self._language = language
        self._session = http_session(destination)
        self._closing = threading.Event()

    def send(self, parcels: Sequence[Parcel]) -> Iterator[tuple[Parcel, Outcome]]:
        """Send a message for each parcel; see `Sender`."""
        for parcel in parcels:
            if self._closing.is_set():
                return
            yield parcel, self._tell(parcel)

    def close(self) -> None:
        """Send nothing more; what is under way ends by itself, or by its limit of time."""
        self._closing.set()

    def _tell(self, parcel: Parcel) -> Outcome:
        instance = parcel.instance
        try:
            message = message_of(parcel.radiograph, instance.row or {}, instance.received_at)
        except HeaderError as error:
            return Refused(str(error), final=True)
        if self._destination.url:
            return self._post(message)
        folder = self._destination.folder or Path()
        try:
            # Named by a digest: repeated messages replace the same file, and the name holds no identity.
            write_whole(
                folder / f"{parcel.radiograph.stem}{self._language.suffix}", self._language.encode(message)
            )
        except OutputError as error:
            raise UnreachableError(str(error)) from error
        return Taken()

    def _post(self, message: Message) -> Outcome:
        try:
            answer = self._session.post(
                self._destination.url,
                data=self._language.encode(message),
                headers={"Content-Type": self._language.content_type, **self._language.headers(message)},
                timeout=self._destination.timeout_s,
                allow_redirects=False,  # requests would follow with a GET, and report success
            )
        except requests.RequestException as error:
            raise UnreachableError(f"no connection, or no answer in time ({type(error).__name__})") from error
        if answer.status_code in _OF_ALL:
            raise UnreachableError(f"it answered {answer.status_code}")
        if not 200 <= answer.status_code < 300:
            return Refused(f"it answered {answer.status_code}")
        refusal = self._language.refusal(answer.content)
        return Taken() if refusal is None else Refused(refusal)


def _without_address(error: Exception, url: str) -> str:
    """The text of an error without the address; messages show the destination's name instead."""
    return str(error).removeprefix(f"{url}: ")
