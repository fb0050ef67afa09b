"""Writing files whole: a result is either there, complete, under its name, or not there at all."""

from __future__ import annotations

import os
import uuid
from pathlib import Path

from lungfield.errors import OutputError


def write_whole(path: Path, content: bytes) -> None:
    """Write a file so that nobody ever finds half of it.

    The bytes go to a hidden file in the same folder, reach the disk, and then take the final name in one
    step; an older file of that name is replaced. Whatever fails on the way, the hidden file is removed.

    Args:
        path: where to; its folder is made where it is missing.
        content: all of the file.

    Raises:
        OutputError: the file could not be written (no permission, a file in a folder's place, disk full).
    """
    path = Path(path)
    part = path.with_name(f".{uuid.uuid4().hex}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with part.open("xb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(
            f"{path}: cannot be written: {error.strerror or type(error).__name__}; "
            "check that its folder can be made and written to, and that there is space."
        ) from error
