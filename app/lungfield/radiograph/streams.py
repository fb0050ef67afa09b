"""Open a DICOM file as a stream for pydicom: limited, decompressed, in a supported transfer syntax."""

from __future__ import annotations

import gzip
import os
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedIOBase, BufferedReader, BytesIO, FileIO
from typing import Any, BinaryIO

from pydicom.dataset import FileMetaDataset
from pydicom.filereader import read_dataset
from pydicom.filewriter import write_file_meta_info
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from lungfield.errors import Reason, UnreadableError
from lungfield.formats import MAGIC, PREAMBLE_BYTES
from lungfield.radiograph.content import File, InMemory
from lungfield.radiograph.limits import Limits

GZIP_MAGIC = b"\x1f\x8b"
GZIP_BITS = 16 + zlib.MAX_WBITS
EITHER_HEADER = 32 + zlib.MAX_WBITS
"""Window bits of zlib or gzip data."""
EXPLICIT_START = struct.Struct("<HH2s")
GE_IMPLICIT = UID("1.2.840.113619.5.2")
"""Private transfer syntax of GE: Implicit VR Little Endian with big endian pixels."""
LARGE_READ_BYTES = 1 << 16
BLOCK_BYTES = 1 << 20


def is_gzipped_dicom(file: File) -> bool:
    """Whether a gzipped file contains a DICOM preamble and prefix."""
    with file.open("rb") as stream:
        start = b"".join(block for block, _ in zip(_inflate(stream, GZIP_BITS), range(1), strict=False))
    return start[PREAMBLE_BYTES : PREAMBLE_BYTES + len(MAGIC)] == MAGIC


@contextmanager
def dicom_stream(file: File, limits: Limits) -> Iterator[BinaryIO]:
    """A context with a stream for pydicom; the file may be gzipped, deflated, or without preamble.

    Raises:
        UnreadableError: the file is over a limit, or its compressed data are cut off.
    """
    opened: _File | _Buffer
    if isinstance(file, InMemory):
        opened = _Buffer(file.content, limits=limits)
    else:
        opened = _File(FileIO(file), limits=limits)
    with opened as stream:
        yield _inflated(_complete(stream, limits), limits)


class _Bounded(BufferedIOBase):
    """A stream with limits on the size and number of reads.

    Python allocates memory for the whole length of a read, even if the file is shorter; and a header with
    millions of elements would take minutes.
    """

    _reads = 0

    def __init__(self, *args: Any, limits: Limits) -> None:
        super().__init__(*args)
        self._limits = limits
        self._size = self.seek(0, os.SEEK_END)
        self.seek(0)

    def read(self, size: int | None = -1) -> bytes:
        """Read up to `size` bytes, or all."""
        self._reads += 1
        self._limits.check_header_reads(self._reads)
        if size is None or size < LARGE_READ_BYTES:
            return super().read(size)
        return super().read(max(0, min(size, self._size - self.tell())))


class _File(_Bounded, BufferedReader):
    """A file on disk."""


class _Buffer(_Bounded, BytesIO):
    """A file in memory."""


def _complete(file: BinaryIO, limits: Limits) -> BinaryIO:
    """The file at its start, decompressed if gzipped, and with a preamble if it lacks one."""
    start = file.read(PREAMBLE_BYTES + len(MAGIC))
    file.seek(0)
    if start[PREAMBLE_BYTES:] == MAGIC:
        return file
    if start.startswith(GZIP_MAGIC):
        content = BytesIO()
        with gzip.GzipFile(fileobj=file) as members:
            while block := members.read(BLOCK_BYTES):
                _append(content, block, limits)
        return _complete(_Buffer(content.getbuffer(), limits=limits), limits)
    if start.startswith(MAGIC):
        return _Buffer(bytes(PREAMBLE_BYTES) + file.read(), limits=limits)
    return file


def _inflated(file: BinaryIO, limits: Limits) -> BinaryIO:
    """The file at its start, in a transfer syntax that pydicom supports.

    A deflated data set (DICOM PS3.5, A.5), with or without zlib header, is inflated and becomes Explicit VR
    Little Endian; so does one that is declared as deflated but is not. The private syntax of GE is read as
    Implicit VR Little Endian, except for the byte order of its pixels.
    """
    file.seek(PREAMBLE_BYTES)
    meta = FileMetaDataset()
    if file.read(len(MAGIC)) == MAGIC:  # file meta information (PS3.10, 7.1): the elements of group 0002
        elements = read_dataset(
            file, is_implicit_VR=False, is_little_endian=True, stop_when=lambda tag, *_: tag.group != 2
        )
        meta = FileMetaDataset(elements)
    syntax = meta.get("TransferSyntaxUID")
    if syntax not in (DeflatedExplicitVRLittleEndian, GE_IMPLICIT):
        file.seek(0)
        return file
    meta.TransferSyntaxUID = ImplicitVRLittleEndian if syntax == GE_IMPLICIT else ExplicitVRLittleEndian
    content = BytesIO()
    content.write(bytes(PREAMBLE_BYTES) + MAGIC)
    write_file_meta_info(content, meta, enforce_standard=False)
    start = file.read(EXPLICIT_START.size)
    file.seek(-len(start), os.SEEK_CUR)
    if syntax == GE_IMPLICIT or _is_explicit(start):
        _append(content, file.read(), limits)
    else:
        headed = start.startswith(GZIP_MAGIC) or _has_zlib_header(start)
        for block in _inflate(file, EITHER_HEADER if headed else -zlib.MAX_WBITS):
            _append(content, block, limits)
    return _Buffer(content.getbuffer(), limits=limits)


def _is_explicit(start: bytes) -> bool:
    """Whether a data set starts like Explicit VR Little Endian: with group 0008 and two letters."""
    if len(start) < EXPLICIT_START.size:
        return False
    group, _, representation = EXPLICIT_START.unpack(start)
    return group == 0x0008 and representation.isalpha() and representation.isupper()


def _has_zlib_header(start: bytes) -> bool:
    """Whether bytes start with a zlib header (RFC 1950, 2.2), which DICOM does not allow."""
    return (
        len(start) > 1 and start[0] & 0x0F == 8 and start[0] >> 4 <= 7 and not (start[0] << 8 | start[1]) % 31
    )


def _append(content: BytesIO, block: bytes, limits: Limits) -> None:
    content.write(block)
    if content.tell() > limits.max_inflated_bytes:
        raise UnreadableError(
            f"more than {limits.max_inflated_bytes:,} bytes after inflation", reason=Reason.OVER_LIMIT
        )


def _inflate(file: BinaryIO, window_bits: int) -> Iterator[bytes]:
    """Inflate the rest of a file in blocks, so that the caller can stop at a limit."""
    inflater = zlib.decompressobj(window_bits)
    while not inflater.eof:
        deflated = inflater.unconsumed_tail or file.read(BLOCK_BYTES)
        block = inflater.decompress(deflated, BLOCK_BYTES)
        if not deflated and not block:
            raise UnreadableError("the deflated data set is cut off", reason=Reason.DAMAGED)
        yield block
