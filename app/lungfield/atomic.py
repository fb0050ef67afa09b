"""Writing files whole: a result is either there, complete, under its name, or not there at all."""

from __future__ import annotations

import contextlib
import os
import uuid
from collections.abc import Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import BinaryIO

from lungfield.errors import OutputError


def write_whole(path: Path, content: bytes) -> None:
    """Write a file so that nobody ever finds half of it; its folder is made where it is missing.

    The bytes go to a hidden file in the same folder, reach the disk, and then take the final name in one
    step; an older file of that name is replaced. Whatever fails on the way, the hidden file is removed.
    Within `written_together`, the last two steps wait for the end of that block.

    Raises:
        OutputError: the file could not be written (no permission, a file in a folder's place, disk full).
    """
    path = Path(path)
    with _errors_of(path):
        part = _Part(path, content)
        group = _group.get()
        if group is None:
            part.finish()
        else:
            group.append(part)


@contextlib.contextmanager
def written_together() -> Iterator[None]:
    """Let all files that the block writes reach the disk at its end, one after the other.

    The first brings most of what the others have written with it: one wait for the disk instead of many. If
    the block fails, none of its files takes its name.

    Raises:
        OutputError: one of them could not be written.
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
    """A hidden file on its way to its final name."""

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
        """Let it reach the disk and take its name."""
        try:
            os.fsync(self._file.fileno())
            self._file.close()
            self._hidden.replace(self.path)
        finally:
            self.discard()

    def discard(self) -> None:
        """Remove what has not taken its name; nothing where it has."""
        with contextlib.suppress(OSError):  # of what could not be written before
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
            "check that its folder can be made and written to, and that there is space."
        ) from error
