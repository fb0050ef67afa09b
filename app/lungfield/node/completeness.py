"""Check that a file is complete: not cut off, and not still being written."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import BinaryIO, Literal

from pydicom import dcmread

from lungfield.errors import Reason, UnreadableError
from lungfield.node.storage_service import RADIOGRAPHS
from lungfield.radiograph.limits import Limits
from lungfield.radiograph.streams import dicom_stream

_PIXEL_DATA = 0x7FE0
_UNDEFINED = 0xFFFFFFFF
_END_OF_ITEMS = b"\xfe\xff\xdd\xe0\x00\x00\x00\x00"
"""Sequence Delimitation Item in little endian, the end of compressed pixels (PS3.5, A.4)."""
_BLOCK_BYTES = 1 << 20


def check_complete(path: Path, limits: Limits) -> None:
    """Check that all pixels of a radiograph are in the file.

    A truncated header may be read as a shorter one, and truncated pixels would look like a conflicting object
    with the same UID. So a file without pixels, or with fewer bytes than it declares, is incomplete.

    Raises:
        UnreadableError: the file is incomplete, no radiograph, or over a limit.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # pydicom's warnings may quote a patient's values
            with dicom_stream(path, limits) as stream:
                header = dcmread(stream, stop_before_pixels=True, force=True)
                kind = str(header.get("SOPClassUID") or "")
                complete = _has_pixels(stream, *header.original_encoding)
    except UnreadableError:
        raise
    except Exception as error:  # pydicom raises anything; its messages may quote the header
        raise UnreadableError(f"it is no DICOM file, or cut off ({type(error).__name__})") from error
    if kind not in RADIOGRAPHS:
        reason = Reason.OTHER_OBJECT if kind else Reason.UNKNOWN_FORMAT
        raise UnreadableError("it is no radiograph by its SOP Class", reason=reason)
    if not complete:
        raise UnreadableError("it has no pixels, or is cut off", reason=Reason.DAMAGED)


def _has_pixels(stream: BinaryIO, implicit: bool, little_endian: bool) -> bool:
    """Whether PixelData comes next (PS3.5, 7.1), with as many bytes as it declares."""
    order: Literal["little", "big"] = "little" if little_endian else "big"
    start = stream.read(8 if implicit else 12)
    if len(start) < 8 or int.from_bytes(start[:2], order) != _PIXEL_DATA:
        return False
    length = int.from_bytes(start[-4:], order)
    here = stream.tell()
    if length != _UNDEFINED:
        return stream.seek(0, os.SEEK_END) - here >= length
    last = b""
    while block := stream.read(_BLOCK_BYTES):
        last = last[-len(_END_OF_ITEMS) :] + block
        if _END_OF_ITEMS in last:
            return True
    return False
