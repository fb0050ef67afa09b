"""What a compressed image says of itself, read from its first bytes without decoding it."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from lungfield.errors import Reason, UnreadableError

JPEG_START = b"\xff\xd8"
JPEG_FRAME_MARKERS = (frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}) | {0xF7}
JPEG_STANDALONE_MARKERS = frozenset({0x01, *range(0xD0, 0xD8)})
JPEG_2000_START = b"\xff\x4f\xff\x51"
JP2_BOXES_BYTES = 4096
END_MARKER = b"\xff\xd9"


@dataclass(frozen=True)
class Codestream:
    """Rows, columns, components and bits of each component of a JPEG, JPEG-LS or JPEG 2000 image."""

    rows: int
    columns: int
    components: int
    precision: int


def parse_codestream(data: bytes) -> Codestream:
    """Return what a JPEG, JPEG-LS, JPEG 2000 or HTJ2K code stream says of its size.

    Sources: ITU-T T.81, B.2.2 (frame header); T.87, C.2.2 (the same for JPEG-LS); T.800, A.5.1 (SIZ).

    Raises:
        UnreadableError: it is none of these, its header is damaged, or its end marker is missing.
    """
    if not data.rstrip(b"\0").endswith(END_MARKER):
        raise UnreadableError("the compressed image is cut off: it has no end marker", reason=Reason.DAMAGED)
    try:
        return _parse_jpeg(data) if data.startswith(JPEG_START) else _parse_jpeg_2000(data)
    except (struct.error, IndexError, ValueError) as error:
        raise UnreadableError(
            "the header of the compressed image is damaged", reason=Reason.DAMAGED
        ) from error


def _parse_jpeg(data: bytes) -> Codestream:
    position = len(JPEG_START)
    while True:
        if data[position] != 0xFF:
            raise ValueError("no marker where one has to be")
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
