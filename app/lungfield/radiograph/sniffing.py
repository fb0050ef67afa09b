"""Recognise DICOM files of any name by their first bytes."""

from __future__ import annotations

import os
import struct
from pathlib import Path

from pydicom.datadict import dictionary_has_tag, dictionary_VR
from pydicom.valuerep import EXPLICIT_VR_LENGTH_32

from lungfield.formats import MAGIC, PREAMBLE_BYTES

START_BYTES = 1024
LONGEST_VALUE = 512
"""Limit of the first element of a data set: a UID, the name of a character set, or a group length."""
_LONG_FORM = {str(one).encode() for one in EXPLICIT_VR_LENGTH_32}
_FIRST_GROUPS = {"<": (0x0002, 0x0008), ">": (0x0008,)}


def is_dicom(path: Path) -> bool:
    """Whether a file is DICOM: by its preamble, or else by its first two elements. May raise `OSError`."""
    with path.open("rb") as stream:
        start = stream.read(START_BYTES)
        size = os.fstat(stream.fileno()).st_size
    return starts_as_dicom(start, size)


def starts_as_dicom(start: bytes, size: int) -> bool:
    """As `is_dicom`, from the first `START_BYTES` of a file and its size in bytes."""
    if start[PREAMBLE_BYTES : PREAMBLE_BYTES + len(MAGIC)] == MAGIC:
        return True
    bare = start.removeprefix(MAGIC)
    return starts_with_elements(bare, size - len(start) + len(bare))


def starts_with_elements(start: bytes, size: int) -> bool:
    """Whether bytes start like a data set without preamble (DICOM PS3.5, 7.1).

    The first two elements must be plausible in one encoding: known tags in ascending order, the first of
    group 0002 or 0008, the value representations of the dictionary, and lengths within the `size` of the file
    in bytes. At most `START_BYTES` of `start` are used.
    """
    return any(
        _has_two_elements(start, size, order, explicit=explicit)
        for order in _FIRST_GROUPS
        if len(start) >= 8 and struct.unpack(f"{order}H", start[:2])[0] in _FIRST_GROUPS[order]
        for explicit in (True, False)
    )


def _has_two_elements(start: bytes, size: int, order: str, *, explicit: bool) -> bool:
    first = _element(start, 0, order, explicit=explicit)
    if first is None or first[1] > LONGEST_VALUE:
        return False
    second = _element(start, first[1], order, explicit=explicit)
    return second is not None and second[0] > first[0] and second[1] <= size


def _element(start: bytes, place: int, order: str, *, explicit: bool) -> tuple[int, int] | None:
    """The tag of an element and the position of its end; None if the element is not plausible.

    For an undefined length, as of a sequence, it is the end of the element's header.
    """
    header = start[place : place + 12]
    if len(header) < 8:
        return None
    group, element = struct.unpack(f"{order}HH", header[:4])
    tag = group << 16 | element
    # The value representations of an element (PS3.6), or of a group length (PS3.5, 7.2).
    known = dictionary_VR(tag) if dictionary_has_tag(tag) else "" if element else "UL"
    if not known:
        return None
    if not explicit:
        length, begin = struct.unpack(f"{order}I", header[4:8])[0], place + 8
    elif header[4:6].decode("latin-1") not in known.split(" or "):
        return None
    elif header[4:6] in _LONG_FORM:
        if len(header) < 12 or header[6:8] != b"\0\0":
            return None
        length, begin = struct.unpack(f"{order}I", header[8:12])[0], place + 12
    else:
        length, begin = struct.unpack(f"{order}H", header[6:8])[0], place + 8
    return tag, begin if length == 0xFFFFFFFF else begin + length
