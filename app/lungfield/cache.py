"""The user's cache folder, for what takes long to make and can be made again."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Callable, Iterable
from pathlib import Path, PurePath

import platformdirs

from lungfield.atomic import write_whole
from lungfield.errors import OutputError

_DIGEST_BYTES = hashlib.sha256().digest_size


def cache_folder() -> Path:
    """The folder `$LUNGFIELD_CACHE`, or else lungfield's folder in the user's cache. It need not exist.

    Raises:
        OutputError: the user has no home folder, and the variable is not set.
    """
    if folder := os.environ.get("LUNGFIELD_CACHE"):
        return Path(folder)
    try:
        return platformdirs.user_cache_path("lungfield")
    except RuntimeError as error:
        raise OutputError("this user has no home folder; set LUNGFIELD_CACHE to a folder") from error


def fingerprint(parts: Iterable[str], files: Iterable[Path]) -> str:
    """Sixteen characters for the name of what depends on these texts and on the content of these files."""
    digest = hashlib.sha256("\n".join(parts).encode())
    for file in files:
        digest.update(file.read_bytes())
    return digest.hexdigest()[:16]


def cached(place: PurePath, make: Callable[[], bytes]) -> bytes:
    """The content of a file in the cache folder; if it is missing or damaged, `make` makes it.

    Without a folder that can be written, it is made each time.

    Args:
        place: of the file below the cache folder. Its name has to change with everything that the content
            depends on.
        make: returns the content.
    """
    try:
        path = cache_folder() / place
        stored = path.read_bytes()
    except (OutputError, OSError):
        stored = b""
    digest, content = stored[:_DIGEST_BYTES], stored[_DIGEST_BYTES:]
    if digest == hashlib.sha256(content).digest():
        return content
    content = make()
    with contextlib.suppress(OutputError, OSError):
        path = cache_folder() / place
        write_whole(path, hashlib.sha256(content).digest() + content, together=False)
    return content
