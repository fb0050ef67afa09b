"""Files in memory, with the methods of `Path` that readers use."""

from __future__ import annotations

from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, NamedTuple


class Status(NamedTuple):
    """The fields of `Path.stat` that readers use."""

    st_size: int


@dataclass(frozen=True)
class InMemory:
    """A file in memory. It is never written to disk, as it may identify a patient.

    Attributes:
        content: its bytes.
        name: its name in messages.
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
"""A file on disk or in memory."""


def path_of(file: File) -> Path:
    """The path of a file on disk; the name of a file in memory as a path."""
    return file if isinstance(file, Path) else Path(file.name)
