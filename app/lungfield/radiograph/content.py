"""The content of a file that lies in no folder, with what readers ask of a path."""

from __future__ import annotations

from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, NamedTuple


class Status(NamedTuple):
    """What readers ask of `Path.stat`."""

    st_size: int


@dataclass(frozen=True)
class InMemory:
    """A file in memory. It is read as one on the disk, and never written there: it may tell of a patient.

    Attributes:
        content: all of its bytes.
        name: what messages call it.
    """

    content: bytes
    name: str

    def open(self, mode: str = "rb") -> BinaryIO:  # noqa: ARG002
        """The content as a stream at its start."""
        return BytesIO(self.content)

    def read_bytes(self) -> bytes:
        """All of its bytes."""
        return self.content

    def stat(self) -> Status:
        """Its size."""
        return Status(len(self.content))


File = Path | InMemory
"""What is read: a file on the disk, or one in memory."""


def path_of(file: File) -> Path:
    """The path of a file on the disk; of one in memory its name as one."""
    return file if isinstance(file, Path) else Path(file.name)
