"""URIs of files and folders: protocols, local paths, and URIs without secrets. Does not import fsspec."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path

from lungfield.errors import DataError

TABLES = (".parquet", ".csv", ".txt")
"""Suffixes of files that list inputs: tables with a column of URIs, and text with one URI per line."""

#: Protocols, and the package that fsspec needs for each.
PROTOCOLS = {
    "file": "fsspec",
    "s3": "s3fs",
    "gs": "gcsfs",
    "gcs": "gcsfs",
    "az": "adlfs",
    "abfs": "adlfs",
    "abfss": "adlfs",
    "http": "aiohttp",
    "https": "aiohttp",
}
READ_ONLY = ("http", "https")

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")


def protocol_of(text: str) -> str:
    """The protocol of a URI in lower case; 'file' for a path.

    Raises:
        DataError: lungfield does not read this protocol.
    """
    found = _SCHEME.match(text)
    protocol = found[1].lower() if found else "file"
    if protocol not in PROTOCOLS:
        raise DataError(
            f"{without_secrets(text)}: unknown protocol {protocol}://; use one of {', '.join(PROTOCOLS)}."
        )
    return protocol


def is_uri(text: str) -> bool:
    """Whether a text is a URI and not a path."""
    return _SCHEME.match(text) is not None


def local_path(text: str) -> Path | None:
    """The path of a file or folder of this machine, given as such or as `file://`; None for other URIs."""
    if protocol_of(text) != "file":
        return None
    return Path(_SCHEME.sub("", text, count=1))


def is_table(text: str) -> bool:
    """Whether a name has the suffix of a list of inputs, and is not a folder of this machine."""
    if not without_secrets(text).lower().endswith(TABLES):
        return False
    path = local_path(text)
    return path is None or not path.is_dir()


def need_stores(inputs: Sequence[str], output: str) -> bool:
    """Whether a run reads stores or tables or writes to a store, instead of local paths only."""
    return any(is_uri(text) for text in (*inputs, output)) or any(map(is_table, inputs))


def without_secrets(uri: str) -> str:
    """A URI for messages: without user name and password, and for a web server without the query.

    A signed URL has its signature in the query.
    """
    found = _SCHEME.match(uri)
    if not found:
        return uri
    address, slash, path = uri[found.end() :].partition("/")
    if found[1].lower() in READ_ONLY:
        path = re.split("[?#]", path, maxsplit=1)[0]
    return f"{found[0]}{re.split('[?#]', address)[0].rpartition('@')[2]}{slash}{path}"


def place_of(uri: str) -> str:
    """A URI or path in a normalised form (protocol, host or bucket, path) that identifies the file."""
    if path := local_path(uri):
        return f"file{path.absolute().as_posix()}"
    place = without_secrets(uri).replace("://", "/", 1)
    query = uri.partition("?")[2] if protocol_of(uri) in READ_ONLY else ""
    return f"{place}#{hashlib.sha256(query.encode()).hexdigest()[:16]}" if query else place
