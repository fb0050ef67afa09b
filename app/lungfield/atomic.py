"""Write files atomically: a file is either complete or does not exist."""

from __future__ import annotations

import contextlib
import os
import uuid
from collections.abc import Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import BinaryIO

from lungfield.errors import OutputError


def write_whole(path: Path, content: bytes, *, together: bool = True) -> None:
    """Write a file atomically; its folder is created if missing.

    The content is written to a hidden file in the same folder, synced to disk and renamed; an existing file
    is replaced. On failure the hidden file is removed.

    Args:
        path: the file.
        content: all of it.
        together: within `written_together`, sync and rename wait for the end of the block; False to do both
            now, for a file that is no result.

    Raises:
        OutputError: the file could not be written (no permission, a file in a folder's place, disk full).
    """
    path = Path(path)
    with _errors_of(path):
        part = _Part(path, content)
        group = _group.get()
        if group is None or not together:
            part.finish()
        else:
            group.append(part)


@contextlib.contextmanager
def written_together() -> Iterator[None]:
    """A context at whose end all files written in it are synced and renamed.

    The first sync also writes most of the other files' data, so this is faster than one sync after each file.
    If the block raises, none of the files is renamed.

    Raises:
        OutputError: a file could not be written.
    """
    parts: list[_Part] = []
    token = _group.set(parts)
    try:
        yield
        for part in parts:
            with _errors_of(part.path):
                part.finish()
    finally:
        _group.reset(token)
        for part in parts:
            part.discard()


class _Part:
    """A hidden file that will be renamed to its final name."""

    def __init__(self, path: Path, content: bytes) -> None:
        self.path = path
        self._hidden = path.with_name(f".{uuid.uuid4().hex}.part")
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file: BinaryIO = self._hidden.open("xb")
        try:
            self._file.write(content)
            self._file.flush()
        except BaseException:
            self.discard()
            raise

    def finish(self) -> None:
        """Sync the file and rename it."""
        try:
            os.fsync(self._file.fileno())
            self._file.close()
            self._hidden.replace(self.path)
        finally:
            self.discard()

    def discard(self) -> None:
        """Remove the hidden file, unless it was renamed."""
        with contextlib.suppress(OSError):  # the disk may still be unwritable
            self._file.close()
        self._hidden.unlink(missing_ok=True)


_group: ContextVar[list[_Part] | None] = ContextVar("group", default=None)


@contextlib.contextmanager
def _errors_of(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OutputError(
            f"{path}: cannot be written: {error.strerror or type(error).__name__}; "
            "check that its folder can be created and written to, and that there is space."
        ) from error
