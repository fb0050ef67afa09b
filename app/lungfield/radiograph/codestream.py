"""Parse the header and find the end of a compressed image without decoding it."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from lungfield.errors import Reason, UnreadableError

JPEG_START = b"\xff\xd8"
JPEG_FRAME_MARKERS = (frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}) | {0xF7}
JPEG_STANDALONE_MARKERS = frozenset({0x01, *range(0xD0, 0xD8)})
JPEG_2000_START = b"\xff\x4f\xff\x51"
JP2_BOXES_BYTES = 4096
JPEG_2000_TILE_PART = b"\xff\x90"
END_MARKER = b"\xff\xd9"


@dataclass(frozen=True)
class Codestream:
    """Rows, columns, components and bits of each component of a JPEG, JPEG-LS or JPEG 2000 image."""

    rows: int
    columns: int
    components: int
    precision: int


def parse_codestream(data: bytes) -> Codestream:
    """Parse the size of a JPEG, JPEG-LS, JPEG 2000 or HTJ2K code stream.

    Sources: ITU-T T.81, B.2.2 (frame header); T.87, C.2.2 (the same for JPEG-LS); T.800, A.5.1 (SIZ).

    Raises:
        UnreadableError: the data are none of these, or the header is damaged.
    """
    try:
        return _parse_jpeg(data) if data.startswith(JPEG_START) else _parse_jpeg_2000(data)
    except (struct.error, IndexError, ValueError) as error:
        raise UnreadableError(
            "the header of the compressed image is damaged", reason=Reason.DAMAGED
        ) from error


def without_tail(data: bytes) -> bytes:
    """Return a code stream up to its end marker, without further bytes behind it.

    If a JPEG 2000 stream has no end marker or other bytes behind its tile-parts, the end marker is put behind
    its last tile-part, as tile-parts have lengths (ITU-T T.800, A.4.2). A JPEG or JPEG-LS stream without an
    end marker is returned unchanged: only decoding shows whether rows are missing.

    Raises:
        UnreadableError: a tile-part is cut off.
    """
    if data.startswith(JPEG_START):
        found = data.rfind(END_MARKER)
        return data if found < 0 or has_end(data) else data[: found + len(END_MARKER)]
    start = data.index(JPEG_2000_START, 0, JP2_BOXES_BYTES)
    end = _end_of_tile_parts(data, start)
    if end is None:  # the last tile-part extends to the end marker
        return data if has_end(data) else data + END_MARKER
    return data if data[end : end + 2] == END_MARKER else data[start:end] + END_MARKER


def has_end(data: bytes) -> bool:
    """Whether the data end with an end marker, followed by DICOM padding (PS3.5, A.4) at most."""
    return data.rstrip(b"\0").endswith(END_MARKER)


def _end_of_tile_parts(data: bytes, start: int) -> int | None:
    """The position behind the last tile-part; None if it has no length."""
    position = start + 2
    try:
        while data[position : position + 2] != JPEG_2000_TILE_PART:  # markers of the main header
            position += 2 + struct.unpack_from(">H", data, position + 2)[0]
        while data[position : position + 2] == JPEG_2000_TILE_PART:
            length = struct.unpack_from(">I", data, position + 6)[0]
            if length == 0:
                return None
            position += length
    except struct.error:
        position = len(data) + 1
    if position > len(data):
        raise UnreadableError("the compressed image is cut off", reason=Reason.DAMAGED)
    return position


def _parse_jpeg(data: bytes) -> Codestream:
    position = len(JPEG_START)
    while True:
        if data[position] != 0xFF:
            raise ValueError("a marker is missing")
        marker = data[position + 1]
        if marker == 0xFF:  # a fill byte
            position += 1
            continue
        position += 2
        if marker in JPEG_STANDALONE_MARKERS:
            continue
        if marker in JPEG_FRAME_MARKERS:
            _, precision, rows, columns, components = struct.unpack_from(">HBHHB", data, position)
            return Codestream(rows, columns, components, precision)
        position += struct.unpack_from(">H", data, position)[0]


def _parse_jpeg_2000(data: bytes) -> Codestream:
    start = data.index(JPEG_2000_START, 0, JP2_BOXES_BYTES)
    _, _, right, bottom, left, top = struct.unpack_from(">HHIIII", data, start + 4)
    components, depth = struct.unpack_from(">HB", data, start + 40)
    return Codestream(bottom - top, right - left, components, (depth & 0x7F) + 1)
