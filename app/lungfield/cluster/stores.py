"""Stores: folders in buckets, on web servers and on disks, read and written with fsspec."""

from __future__ import annotations

import functools
import posixpath
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lungfield.atomic import write_whole
from lungfield.cluster.uris import PROTOCOLS, local_path, protocol_of, without_secrets
from lungfield.errors import DataError, LungfieldError, OutputError, Reason, UnreadableError, causes

_PAGE = 1000
"""Keys per page of a listing and per delete request: the limit of S3."""
_NO_CREDENTIALS = ("NoCredentialsError", "PartialCredentialsError", "CredentialRetrievalError")


class Store:
    """A folder in a store; names are paths relative to it.

    Args:
        uri: of the folder, or its path on this machine.

    Raises:
        DataError: the protocol is unknown, or the package for it is missing.
    """

    def __init__(self, uri: str) -> None:
        self.uri = uri.rstrip("/") or uri
        self.local = local_path(uri)
        if self.local is None:
            filesystem_of(protocol_of(uri))

    def __str__(self) -> str:
        """The URI without secrets."""
        return without_secrets(self.uri)

    def read(self, name: str) -> bytes:
        """The content of a file.

        Raises:
            DataError: the file is missing or cannot be read.
        """
        with explained(f"{self}/{name}"):
            if self.local is not None:
                return (self.local / name).read_bytes()
            return bytes(self._files.cat_file(self._path(name)))

    def write(self, name: str, content: bytes) -> None:
        """Write a file atomically: with a single put, or on this machine by renaming a temporary file.

        Raises:
            OutputError: the file could not be written.
        """
        if self.local is not None:
            write_whole(self.local / name, content)
            return
        with explained(f"{self}/{name}", writing=True):
            self._files.pipe_file(self._path(name), content)

    def upload(self, name: str, path: Path) -> None:
        """Write the content of a local file atomically.

        Raises:
            OutputError: the file could not be written.
        """
        self.write(name, path.read_bytes())

    def has(self, name: str) -> bool:
        """Whether a file of this name exists.

        Raises:
            DataError: the store cannot be read.
        """
        with explained(f"{self}/{name}"):
            if self.local is not None:
                return (self.local / name).is_file()
            return bool(self._files.isfile(self._path(name)))

    def names(self, folder: str) -> Iterator[str]:
        """The names, without folder, of the files in a sub-folder; none if it does not exist.

        Raises:
            DataError: the store cannot be read.
        """
        with explained(f"{self}/{folder}"):
            if self.local is not None:
                place = self.local / folder
                found = place.iterdir() if place.is_dir() else ()
                yield from (path.name for path in found if path.is_file())
                return
            base = self._path(folder)
            for page in pages(self.uri, base, recursive=False):
                yield from (posixpath.basename(key) for key, _ in page if posixpath.dirname(key) == base)

    def remove(self, names: Iterable[str]) -> None:
        """Remove files; missing files are ignored.

        Raises:
            OutputError: a file could not be removed.
        """
        some: list[str] = []
        for name in names:
            if self.local is not None:
                with explained(f"{self}/{name}", writing=True):
                    (self.local / name).unlink(missing_ok=True)
                continue
            some.append(self._path(name))
            if len(some) == _PAGE:
                self._remove(some)
                some = []
        self._remove(some)

    def _remove(self, paths: Sequence[str]) -> None:
        if paths:
            with explained(str(self), writing=True):
                try:
                    self._files.rm(list(paths))
                except FileNotFoundError:
                    return

    @property
    def _files(self) -> Any:
        return filesystem_of(protocol_of(self.uri))

    def _path(self, name: str) -> str:
        return f"{key_of(self.uri)}/{name}"


@functools.cache
def filesystem_of(protocol: str) -> Any:
    """The file system of fsspec for a protocol, without its cache of listings, as other processes may write.

    Credentials come from the environment, the machine's role, or fsspec's configuration.

    Raises:
        DataError: the package for it is not installed.
    """
    try:
        import fsspec

        return fsspec.filesystem(protocol, use_listings_cache=False)
    except ImportError as error:
        raise DataError(
            f"To read {protocol}:// the package {PROTOCOLS[protocol]} is needed: "
            f"pip install 'lungfield[ray]' {PROTOCOLS[protocol]}"
        ) from error


def key_of(uri: str) -> str:
    """The path of a URI in fsspec's file system: bucket and key; for a web server, the URI itself."""
    return str(filesystem_of(protocol_of(uri))._strip_protocol(uri))


def download(uri: str, path: Path) -> None:
    """Copy a file from a store to this machine.

    Raises:
        UnreadableError: the file is missing or cannot be read.
    """
    try:
        with explained(uri):
            filesystem_of(protocol_of(uri)).get_file(key_of(uri), str(path))
    except DataError as error:
        raise UnreadableError(str(error), reason=Reason.INACCESSIBLE) from error


def starts(uris: Sequence[str], length: int) -> list[bytes]:
    """The first `length` bytes of files of one store, read in parallel; empty for an unreadable file."""
    if not uris:
        return []
    files, count = filesystem_of(protocol_of(uris[0])), len(uris)
    paths = [key_of(uri) for uri in uris]
    found = files.cat_ranges(paths, [0] * count, [length] * count, on_error="return")
    return [one if isinstance(one, bytes) else b"" for one in found]


def pages(uri: str, base: str, *, recursive: bool) -> Iterator[list[tuple[str, int]]]:
    """The keys and sizes in bytes of the files below a folder of a store, page by page.

    For S3, only one page is in memory; for other stores, the listing of one folder.

    Args:
        uri: of anything in the store.
        base: bucket and prefix, as from `key_of`.
        recursive: also those in sub-folders.
    """
    files = filesystem_of(protocol_of(uri))
    with explained(without_secrets(uri)):
        if protocol_of(uri) == "s3":
            yield from _s3_pages(files, base, recursive=recursive)
            return
        try:
            depth = None if recursive else 1
            for folder, _, found in files.walk(base, maxdepth=depth, detail=True, on_error="raise"):
                yield [(f"{folder}/{name}", info["size"] or 0) for name, info in sorted(found.items())]
        except FileNotFoundError:
            return


def _s3_pages(files: Any, base: str, *, recursive: bool) -> Iterator[list[tuple[str, int]]]:
    bucket, _, prefix = base.partition("/")
    call = {"Bucket": bucket, "Prefix": f"{prefix}/" if prefix else "", "MaxKeys": _PAGE}
    if not recursive:
        call["Delimiter"] = "/"
    while True:
        page = files.call_s3("list_objects_v2", **call)
        yield [(f"{bucket}/{one['Key']}", one["Size"]) for one in page.get("Contents", ())]
        if not page.get("IsTruncated"):
            return
        call["ContinuationToken"] = page["NextContinuationToken"]


@contextmanager
def explained(place: str, *, writing: bool = False) -> Iterator[None]:
    """Turn exceptions of a store into errors with advice, without the store's text, which may hold secrets.

    Raises:
        DataError: something cannot be read.
        OutputError: something cannot be written.
    """
    try:
        yield
    except LungfieldError:
        raise
    except Exception as error:
        place, kinds = without_secrets(place), {type(one).__name__ for one in causes(error)}
        if isinstance(error, FileNotFoundError):
            text = "no such file or bucket; check the name, and whether it has been removed"
        elif kinds.intersection(_NO_CREDENTIALS):
            text = "there are no credentials for it; set them in the environment, or give the machine a role"
        elif isinstance(error, PermissionError):
            text = "access is refused; check that the credentials are right and that they allow to " + (
                "write there" if writing else "read and to list there"
            )
        else:
            kind_of_error = type(error).__name__
            text = f"the store gives an unexpected error ({kind_of_error}); check address and network"
        kind = OutputError if writing else DataError
        raise kind(f"{place}: {text}.") from error
