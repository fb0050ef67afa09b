"""Poll archives for new radiographs, with QIDO-RS and WADO-RS (PS3.18, chapter 10)."""

from __future__ import annotations

import logging
import re
import threading
import time
from dataclasses import dataclass, replace
from datetime import date, timedelta
from hashlib import sha256
from pathlib import Path

import requests
from pydicom import Dataset

from lungfield.errors import DataError, LungfieldError, OutputError, Reason, UnreadableError
from lungfield.node.completeness import check_complete
from lungfield.node.connections import archive_of, http_session
from lungfield.node.incoming import Incoming
from lungfield.node.settings import Poll, Settings
from lungfield.node.storage_service import RADIOGRAPHS
from lungfield.node.store import Store
from lungfield.radiograph.limits import DEFAULT_LIMITS

_LOG = logging.getLogger(__name__)
MODALITIES = ("CR", "DX")
_TIMEOUT_S = 30.0
_LONGEST_PAUSE_S = 600.0
_LONGEST_ABSENCE_S = 3600.0
_AS_STORED = 'multipart/related; type="application/dicom"; transfer-syntax=*'
_UID = re.compile(r"[0-9.]{1,64}")
_BLOCK_BYTES = 1 << 20
_ENVELOPE_BYTES = 1 << 16


@dataclass
class _Absence:
    """An object that could not be fetched: number of failures, and time of the next try."""

    failures: int = 0
    again_at: float = 0.0


class Poller(threading.Thread):
    """Polls one archive until it is closed.

    It queries the CR and DX series of studies of the last days. Each object is fetched once, in the transfer
    syntax of the archive; fetched and known objects are remembered in the queue, also across restarts. An
    object that cannot be fetched completely is retried, and does not block others.

    Args:
        settings: of the node.
        store: remembers the fetched objects.
        incoming: stores the objects.
        poll: the archive.

    Raises:
        DataError: its certificates cannot be used.
    """

    def __init__(self, settings: Settings, store: Store, incoming: Incoming, poll: Poll) -> None:
        super().__init__(name=f"poll-{poll.name}", daemon=True)
        self._store = store
        self._incoming = incoming
        self._poll = poll
        self._session = http_session(poll)
        self._archive = archive_of(poll, self._session, _TIMEOUT_S)
        self._largest = settings.limits.object_bytes
        self._limits = replace(DEFAULT_LIMITS, max_file_bytes=self._largest)
        self._stopping = threading.Event()
        self._failures = 0
        self._about: dict[str, object] = {"source": poll.name}
        self._absent: dict[str, _Absence] = {}

    def close(self) -> None:
        """End soon."""
        self._stopping.set()

    def run(self) -> None:
        """Ask until `close`."""
        while not self._stopping.is_set():
            try:
                self.ask()
            except LungfieldError as error:
                self._failures += 1
                if not self._stopping.is_set():
                    _LOG.error("%s", error, extra=self._about)
            except Exception as error:  # the thread must go on: without it, nothing would be fetched
                self._failures += 1
                _LOG.error("unexpected %s; please report it", type(error).__name__, extra=self._about)
            else:
                self._failures = 0
            pause = self._poll.every_s * 2 ** min(self._failures, 10)
            self._stopping.wait(max(self._poll.every_s, min(pause, _LONGEST_PAUSE_S)))

    def ask(self) -> None:
        """Fetch new objects.

        Raises:
            DataError: the archive does not answer, or refuses.
            OutputError: the state folder cannot be written to, or is nearly full.
        """
        since = date.today() - timedelta(days=self._poll.days)
        for modality in MODALITIES:
            for series in self._archive.series({"Modality": modality, "StudyDate": f"{since:%Y%m%d}-"}):
                if self._stopping.is_set():
                    return
                self._fetch_series(series)

    def _fetch_series(self, series: Dataset) -> None:
        """Fetch the new objects of a series, unless its number of objects is unchanged."""
        study, uid = str(series.get("StudyInstanceUID", "")), str(series.get("SeriesInstanceUID", ""))
        if not _UID.fullmatch(study) or not _UID.fullmatch(uid):
            return
        count = series.get("NumberOfSeriesRelatedInstances")
        key = self._key(uid, str(count or ""))
        if count and self._store.knows(key):
            return
        complete = True
        for instance in self._archive.instances(study, uid):
            if self._stopping.is_set():
                return
            complete &= self._fetch_once(study, uid, instance)
        if count and complete:
            self._store.remember(key)

    def _fetch_once(self, study: str, series: str, header: Dataset) -> bool:
        """Fetch an object unless it is known; return whether it needs no further try."""
        uid, kind = str(header.get("SOPInstanceUID", "")), str(header.get("SOPClassUID", ""))
        if not _UID.fullmatch(uid) or (kind and kind not in RADIOGRAPHS):
            return True
        key = self._key(uid)
        if self._store.knows(key):
            return True
        absence = self._absent.get(key, _Absence())
        if time.monotonic() < absence.again_at:
            return False
        if self._store.find(uid) is None:
            try:
                self._fetch(study, series, uid)
            except OutputError:
                raise
            except Exception as error:
                # Any error, also a broken connection: the next objects are fetched before this one.
                self._note_absence(key, absence, error)
                if isinstance(error, requests.ConnectionError):
                    raise DataError("the archive no longer answers; it is polled again later") from None
                return False
        self._absent.pop(key, None)
        self._store.remember(key)
        return True

    def _note_absence(self, key: str, absence: _Absence, error: Exception) -> None:
        absence.failures += 1
        pause = min(self._poll.every_s * 2**absence.failures, _LONGEST_ABSENCE_S)
        absence.again_at = time.monotonic() + pause
        self._absent[key] = absence
        response = getattr(error, "response", None)
        status = type(error).__name__ if response is None else f"it answered {response.status_code}"
        about = self._about | {"attempts": absence.failures, "next_attempt_s": pause}
        _LOG.error("an object could not be fetched (%s); it is tried again", status, extra=about)

    def _fetch(self, study: str, series: str, uid: str) -> None:
        """Fetch an object and store it; an object that is no radiograph is ignored.

        Raises:
            requests.RequestException: the archive does not return it.
            ValueError: the answer is not one object.
            UnreadableError: the object is damaged.
            OutputError: it cannot be stored.
        """
        if not self._incoming.has_space():
            raise OutputError("the disk of the state folder is nearly full: nothing is fetched")
        content = self._content(f"{self._poll.url}/studies/{study}/series/{series}/instances/{uid}")
        try:
            with self._incoming.part() as target:
                target.write(content)
        except OSError as error:
            raise OutputError(f"The state folder cannot be written to: {error.strerror}.") from error
        part = Path(target.name)
        try:
            check_complete(part, self._limits)
            receipt = self._incoming.keep(part, source="dicomweb")
            _LOG.info("an object was received: %s", receipt, extra=self._about | {"receipt": str(receipt)})
        except UnreadableError as error:
            if error.reason is Reason.DAMAGED:
                raise
            _LOG.info("an object was ignored", extra=self._about | {"code": str(error.reason)})
        finally:
            part.unlink(missing_ok=True)

    def _content(self, url: str) -> bytes:
        """The bytes of an object as the archive stores them.

        Raises:
            requests.RequestException: the archive does not return them.
            ValueError: the object is over the limit, or the answer is not one object.
        """
        answer = bytearray()
        with self._session.get(
            url, headers={"Accept": _AS_STORED}, timeout=_TIMEOUT_S, stream=True
        ) as response:
            response.raise_for_status()
            for block in response.iter_content(_BLOCK_BYTES):
                answer += block
                if len(answer) > self._largest + _ENVELOPE_BYTES or self._stopping.is_set():
                    raise ValueError("the object is over the limit")
            return _only_part(bytes(answer), response.headers.get("Content-Type", ""))

    def _key(self, *parts: str) -> str:
        """The key of a series or an object in the queue; a digest, as UIDs can identify a patient."""
        return f"poll:{sha256('|'.join((self._poll.url, *parts)).encode()).hexdigest()}"


def _only_part(answer: bytes, content_type: str) -> bytes:
    """The single part of a multipart answer (RFC 2046, 5.1); all of an answer that is not multipart.

    Raises:
        ValueError: the answer is incomplete or has several parts.
    """
    found = re.search(r'boundary="?([^";]+)', content_type)
    if not content_type.lower().startswith("multipart/") or found is None:
        return answer
    boundary = b"--" + found[1].encode()
    start = answer.index(b"\r\n\r\n", answer.index(boundary)) + 4
    end = answer.index(b"\r\n" + boundary, start)
    if not answer[end + 2 + len(boundary) :].startswith(b"--"):
        raise ValueError("the archive returned several objects, or an incomplete one")
    return answer[start:end]
