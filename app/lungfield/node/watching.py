"""Watch folders for new files: each complete file is read once, and stays where it is."""

from __future__ import annotations

import logging
import os
import shutil
import stat
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

from lungfield.errors import LungfieldError, OutputError, Reason, UnreadableError
from lungfield.node.completeness import check_complete
from lungfield.node.incoming import Incoming
from lungfield.node.settings import Settings
from lungfield.node.store import Store
from lungfield.radiograph.limits import DEFAULT_LIMITS

_LOG = logging.getLogger(__name__)
EVERY_S = 2.0
"""The pause between two scans, in seconds; a file that is unchanged between two scans counts as complete."""
_LONGEST_PAUSE_S = 60.0


class Watcher(threading.Thread):
    """Scans a folder and its sub-folders until it is closed.

    A file is read once its size and modification time are unchanged between two scans and it holds all of its
    pixels. Processed files are remembered, also across restarts, by a digest of path, size and time, so a
    changed file is read again. Hidden files are ignored, as programs use them for files that they rename
    later, and so are links to folders.

    Args:
        settings: of the node.
        store: remembers processed files.
        incoming: stores the objects.
        folder: the folder to watch.
        every_s: pause between two scans, in seconds.
    """

    def __init__(
        self, settings: Settings, store: Store, incoming: Incoming, folder: Path, *, every_s: float = EVERY_S
    ) -> None:
        super().__init__(name="watch", daemon=True)
        self._store = store
        self._incoming = incoming
        self._folder = folder
        self._every_s = every_s
        self._limits = replace(DEFAULT_LIMITS, max_file_bytes=settings.limits.object_bytes)
        self._stopping = threading.Event()
        self._done: set[str] = set()  # saves a query of the queue for each file in each scan
        self._changing: dict[str, str] = {}
        self._logged: set[str] = set()

    def close(self) -> None:
        """Stop soon, after the current file."""
        self._stopping.set()

    def run(self) -> None:
        """Scan until `close`."""
        while not self._stopping.is_set():
            begin = time.monotonic()
            try:
                self.look()
            except LungfieldError as error:  # of the queue or the disk; the files are retried
                self._log_once("queue", "%s", error)
            except Exception as error:  # the thread must go on: without it, no file would be read
                self._log_once(type(error).__name__, "unexpected %s; please report it", type(error).__name__)
            # Pause longer after a long scan, such as of a folder with very many files.
            spent = time.monotonic() - begin
            self._stopping.wait(max(self._every_s, min(spent, _LONGEST_PAUSE_S)))

    def look(self) -> None:
        """Read the new and complete files.

        Raises:
            LungfieldError: the queue or the state folder cannot be written to; unread files are retried.
        """
        there: set[str] = set()
        changing: dict[str, str] = {}
        for entry in self._files():
            if self._stopping.is_set():
                return
            try:
                about = entry.stat()
            except OSError:  # the file no longer exists
                continue
            if not stat.S_ISREG(about.st_mode):
                continue
            path_key = sha256(os.fsencode(entry.path)).hexdigest()
            key = f"watch:{path_key}:{about.st_size}:{about.st_mtime_ns}"
            there.add(key)
            if key in self._done:
                continue
            unchanged = self._changing.get(path_key) == key
            if self._store.knows(key) or (unchanged and self._take(Path(entry.path), key, about)):
                self._done.add(key)
            else:
                changing[path_key] = key
        self._done &= there
        self._logged &= there | {"space", "folder"}
        self._changing = changing

    def _files(self) -> Iterator[os.DirEntry[str]]:
        """All files that are not hidden; a folder that cannot be listed is logged once."""
        folders = [str(self._folder)]
        while folders:
            try:
                with os.scandir(folders.pop()) as entries:
                    found = [one for one in entries if not one.name.startswith(".")]
            except OSError as error:
                self._log_once("folder", "a folder cannot be listed (%s)", error.strerror)
                continue
            for one in found:
                if one.is_dir(follow_symlinks=False):
                    folders.append(one.path)
                else:
                    yield one

    def _take(self, path: Path, key: str, about: os.stat_result) -> bool:
        """Read one file; return whether it is finished."""
        if not self._incoming.has_space():
            self._log_once("space", "the disk of the state folder is nearly full: nothing is taken")
            return False
        if about.st_size > self._limits.max_file_bytes:
            _LOG.warning("a file %s is ignored: %s", _marks(about), Reason.OVER_LIMIT)
            self._store.remember(key)
            return True
        try:
            part = self._copied(path, about)
        except OutputError:
            raise
        except OSError as error:
            self._log_once(key, "a file %s cannot be read (%s)", _marks(about), error.strerror)
            return False
        if part is None:
            return False
        try:
            check_complete(part, self._limits)
            receipt = self._incoming.keep(part, source="watch")
            _LOG.info("a watched file was received: %s", receipt, extra={"receipt": str(receipt)})
        except UnreadableError as error:
            level = logging.INFO if error.reason is Reason.OTHER_OBJECT else logging.WARNING
            _LOG.log(
                level, "a file %s is ignored: %s", _marks(about), error.reason, extra={"code": error.reason}
            )
        except LungfieldError:  # of the queue or the disk
            raise
        except Exception as error:
            # Any error: it must not block the other files. The next process retries the file.
            _LOG.error("a file %s is ignored: unexpected %s", _marks(about), type(error).__name__)
            return True
        finally:
            part.unlink(missing_ok=True)
        self._store.remember(key)
        return True

    def _copied(self, path: Path, about: os.stat_result) -> Path | None:
        """Copy a file to the state folder; None if the file changed meanwhile.

        Raises:
            OutputError: the copy cannot be written.
            OSError: the file cannot be read.
        """
        with path.open("rb") as source:
            try:
                target = self._incoming.part()
            except OSError as error:
                raise OutputError(f"The state folder cannot be written to: {error.strerror}.") from error
            part = Path(target.name)
            try:
                with target:
                    shutil.copyfileobj(source, target, 1 << 20)
                now = os.fstat(source.fileno())
            except OSError:
                part.unlink(missing_ok=True)
                raise
        if (now.st_size, now.st_mtime_ns) != (about.st_size, about.st_mtime_ns):
            part.unlink(missing_ok=True)
            return None
        return part

    def _log_once(self, once: str, text: str, *values: object) -> None:
        """Log a lasting problem only once."""
        if once not in self._logged:
            self._logged.add(once)
            _LOG.error(text, *values)


def _marks(about: os.stat_result) -> str:
    """Size and time of a file, to find it (`find -size`) without its name, which may be a patient's."""
    changed = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(about.st_mtime))
    return f"of {about.st_size} bytes, changed {changed},"
