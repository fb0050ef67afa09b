"""Store objects that arrive: first the file durably, then its row in the queue, then the answer."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import IO

from lungfield.errors import DataError, OutputError, Reason, UnreadableError
from lungfield.export.derived import MANUFACTURER
from lungfield.node.content import Content, read_content
from lungfield.node.records import Instance, Receipt, Received
from lungfield.node.settings import Settings
from lungfield.node.storage_service import RADIOGRAPHS
from lungfield.node.store import Store
from lungfield.node.transcoding import is_transcoded
from lungfield.radiograph.limits import DEFAULT_LIMITS

_PARTS = ".parts"
_READERS = 4
"""Number of objects that are read at the same time, as a deflated one is inflated in memory."""


class Incoming:
    """Adds objects to the queue, for the SCP, watched folders and polled archives. Thread-safe.

    Args:
        settings: of the node.
        store: its queue.
        arrived: called in the receiving thread after a new object is in the queue.
    """

    def __init__(self, settings: Settings, store: Store, arrived: Callable[[], None] = lambda: None) -> None:
        self._settings = settings
        self._store = store
        self._arrived = arrived
        self._parts = settings.incoming / _PARTS
        self._reading = threading.Semaphore(_READERS)
        self._comparing = threading.Lock()
        self._busy = 0
        self._rest = threading.Condition()
        # A data set may be as large as an object, inflated or not; the workers check its content.
        size = settings.limits.object_bytes
        self._limits = replace(DEFAULT_LIMITS, max_file_bytes=size + (1 << 20), max_inflated_bytes=size)

    def prepare(self) -> None:
        """Create the folders, and remove partial files of a killed process.

        Raises:
            OutputError: the folders cannot be written.
        """
        try:
            shutil.rmtree(self._parts, ignore_errors=True)
            self._parts.mkdir(parents=True, mode=0o700)
        except OSError as error:
            raise OutputError(
                f"The state folder {self._settings.state} cannot be written to: {error.strerror}."
            ) from error

    def remove_strays(self) -> int:
        """Remove files that no row names, as their senders got no answer, and return their number."""
        strays = [
            path
            for path in self._settings.incoming.glob("??/*.dcm")
            if not self._store.is_kept(path.relative_to(self._settings.state).as_posix())
        ]
        for path in strays:
            path.unlink(missing_ok=True)
        return len(strays)

    def has_space(self) -> bool:
        """Whether the disk of the state folder has more space than the threshold."""
        try:
            return shutil.disk_usage(self._settings.state).free >= self._settings.limits.disk_free_bytes
        except OSError:
            return False

    def part(self) -> IO[bytes]:
        """Create a file for an arriving object on the disk of the state folder; then call `keep`.

        Raises:
            OSError: the file cannot be created.
        """
        return tempfile.NamedTemporaryFile(dir=self._parts, suffix=".dcm", delete=False)

    def keep(
        self, part: Path, *, source: str, calling_ae_title: str = "", expected: tuple[str, str] | None = None
    ) -> Receipt:
        """Store an object durably and add it to the queue, unless it is known or a result of this node.

        Args:
            part: path of a complete file from `part`; it is moved or removed.
            source: 'dicom', 'watch' or 'dicomweb'.
            calling_ae_title: of the sender; '' if unknown.
            expected: the SOPClassUID and SOPInstanceUID of the request, if any.

        Returns:
            Whether the object is new, known, in conflict, or a result of this node.

        Raises:
            UnreadableError: the object cannot be read, or is no radiograph by its SOP Class.
            DataError: its UIDs are not those of the request.
            OutputError: it could not be written; nothing is stored.
        """
        with self._rest:
            self._busy += 1
        try:
            with self._reading:
                content = read_content(part, self._limits)
            self._check(content, expected)
            if self._is_own(content):
                return Receipt.OWN
            receipt = self._keep(part, content, source, calling_ae_title)
        except OSError as error:
            raise OutputError(
                f"An object could not be written to {self._settings.incoming}: {error.strerror}."
            ) from error
        finally:
            part.unlink(missing_ok=True)
            with self._rest:
                self._busy -= 1
                self._rest.notify_all()
        if receipt is Receipt.NEW:
            self._arrived()
        return receipt

    def wait_for_rest(self, limit_s: float) -> bool:
        """Wait until no call of `keep` is active; return False after `limit_s` seconds."""
        with self._rest:
            return self._rest.wait_for(lambda: not self._busy, limit_s)

    def _check(self, content: Content, expected: tuple[str, str] | None) -> None:
        found = (content.sop_class_uid, content.sop_instance_uid)
        if not content.sop_instance_uid:
            raise UnreadableError("the object has no SOPInstanceUID", reason=Reason.DAMAGED)
        if expected is not None and found != expected:
            raise DataError("the object's UIDs are not those of its request")
        if content.sop_class_uid not in RADIOGRAPHS:
            raise UnreadableError("the object is no radiograph by its SOP Class", reason=Reason.OTHER_OBJECT)

    def _is_own(self, content: Content) -> bool:
        """Whether the object is a result of this software, from this or from another node."""
        made_here = self._store.is_own(content.sop_instance_uid)
        return made_here or (content.manufacturer == MANUFACTURER and content.is_derived)

    def _keep(self, part: Path, content: Content, source: str, calling_ae_title: str) -> Receipt:
        uid, digest = content.sop_instance_uid, content.sha256
        known = self._store.find(uid)
        name = hashlib.sha256(f"{uid}#{digest}".encode()).hexdigest()
        if known is not None and (
            known.content_sha256 == digest or self._is_known_otherwise(part, content, known, name)
        ):
            return Receipt.KNOWN
        path = self._settings.incoming / name[:2] / f"{name}.dcm"
        if not path.parent.is_dir():
            path.parent.mkdir(mode=0o700, exist_ok=True)
            sync_folder(path.parent.parent)
        with part.open("rb") as stream:
            os.fsync(stream.fileno())
            size = os.fstat(stream.fileno()).st_size
        part.replace(path)
        sync_folder(path.parent)
        try:
            receipt = self._store.receive(
                Received(
                    *(uid, content.sop_class_uid, content.transfer_syntax_uid),
                    *(content.study_instance_uid, content.series_instance_uid, digest),
                    size,
                    path.relative_to(self._settings.state).as_posix(),
                    *(source, calling_ae_title),
                )
            )
        except BaseException:
            self._discard(path)
            raise
        if receipt is Receipt.OWN:
            self._discard(path)
        return receipt

    def _is_known_otherwise(self, part: Path, content: Content, known: Instance, name: str) -> bool:
        """Whether an object is the known one with another compression of its pixels.

        If the file of the known one is deleted already, they cannot be compared, and the answer is False.
        """
        key = f"transcoded:{name}"
        if self._store.knows(key):
            return True
        if content.transfer_syntax_uid == known.transfer_syntax_uid or known.purged:
            return False
        with self._comparing:
            same = is_transcoded(
                part, self._settings.state / known.path, memory_bytes=self._settings.memory_limit_bytes
            )
        if same:
            self._store.remember(key)
        return same

    def _discard(self, path: Path) -> None:
        """Remove a file whose row could not be written, unless another thread wrote the row."""
        place = path.relative_to(self._settings.state).as_posix()
        if not self._store.is_kept(place):
            path.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Sync a folder, so that the names of its files are on disk."""
    descriptor = os.open(folder, os.O_RDONLY | getattr(os, "O_DIRECTORY", 0))
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
