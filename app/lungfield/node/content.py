"""A digest of a DICOM object's content that does not depend on its encoding."""

from __future__ import annotations

import hashlib
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from pydicom.datadict import dictionary_VR
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.filereader import dcmread
from pydicom.sequence import Sequence

from lungfield.errors import UnreadableError
from lungfield.radiograph.limits import Limits
from lungfield.radiograph.streams import dicom_stream

_BLOCK_BYTES = 1 << 20
_LONG_HEADER = 12
"""Bytes of PixelData's tag, VR and length in explicit VR (PS3.5, 7.1.2); without VR they are 8."""
_UNDEFINED = 0xFFFFFFFF
_OF_THE_ARCHIVE = {0x00080054, 0x00080056}
"""RetrieveAETitle and InstanceAvailability, which describe where an object is stored, not its content."""


@dataclass(frozen=True)
class Content:
    """Identifying attributes of an object, and the digest of its content.

    Attributes:
        sop_instance_uid: SOPInstanceUID.
        sop_class_uid: SOPClassUID.
        transfer_syntax_uid: of the file.
        study_instance_uid: StudyInstanceUID; '' where it is missing.
        series_instance_uid: SeriesInstanceUID; '' where it is missing.
        manufacturer: Manufacturer; '' where it is missing.
        is_derived: whether it has a SourceImageSequence.
        sha256: digest of the content, in hexadecimal.
    """

    sop_instance_uid: str
    sop_class_uid: str
    transfer_syntax_uid: str
    study_instance_uid: str
    series_instance_uid: str
    manufacturer: str
    is_derived: bool
    sha256: str


def read_content(path: Path, limits: Limits) -> Content:
    """Read an object's identifying attributes and compute its digest; pixels are read in blocks.

    The digest covers the standard attributes before PixelData, and the bytes of PixelData. It leaves out what
    archives change when they forward an object: lengths of groups, sequences and items, private attributes,
    and the storage location. So the digest is the same in Implicit and Explicit VR Little Endian. With
    another compression it differs; `transcoding` then compares the pixels.

    Raises:
        UnreadableError: the file is no DICOM data set, or over a limit.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # pydicom's warnings may quote a patient's values
            with dicom_stream(path, limits) as stream:
                header = dcmread(stream, stop_before_pixels=True, force=True)
                syntax = _syntax(path)
                digest = hashlib.sha256()
                _add(digest, header)
                _add_pixels(digest, stream, *header.original_encoding)
            return Content(
                *(_text(header, "SOPInstanceUID"), _text(header, "SOPClassUID"), syntax),
                *(_text(header, "StudyInstanceUID"), _text(header, "SeriesInstanceUID")),
                *(_text(header, "Manufacturer"), "SourceImageSequence" in header),
                digest.hexdigest(),
            )
    except UnreadableError:
        raise
    except Exception as error:  # pydicom raises anything; its messages may quote the header
        raise UnreadableError(f"{path.name}: is no DICOM data set ({type(error).__name__})") from error


def header_sha256(header: Dataset) -> str:
    """The digest of the standard attributes before PixelData, in hexadecimal."""
    digest = hashlib.sha256()
    _add(digest, header)
    return digest.hexdigest()


def _syntax(path: Path) -> str:
    """TransferSyntaxUID in the file; an inflated stream has another one."""
    meta = dcmread(path, specific_tags=[], stop_before_pixels=True, force=True).file_meta
    return str(meta.get("TransferSyntaxUID") or "")


def _text(header: Dataset, keyword: str) -> str:
    try:
        value = header.get(keyword)
    except Exception:  # a value that pydicom cannot convert
        return ""
    return "" if value is None else str(value).strip(" \0")


def _add(digest: Any, header: Dataset) -> None:
    for tag in sorted(header.keys()):
        if tag.is_private or tag.element == 0 or tag.group <= 0x0002 or tag in _OF_THE_ARCHIVE:
            continue
        element = header.get_item(tag)
        if isinstance(element, RawDataElement) and not _is_sequence(element):
            value: Any = element.value
        else:
            value = header[tag].value
        digest.update(b"%08x" % tag)
        if isinstance(value, Sequence):
            for item in value:
                digest.update(b"[")
                _add(digest, item)
            digest.update(b"]")
        else:
            content = (
                value if isinstance(value, bytes) else str(value or "").encode("utf-8", "surrogateescape")
            )
            content = content.rstrip(b" \0")
            digest.update(b"%d:" % len(content))
            digest.update(content)


def _is_sequence(element: RawDataElement) -> bool:
    if element.VR is not None:
        return element.VR == "SQ"
    try:
        return dictionary_VR(element.tag) == "SQ"
    except KeyError:
        return False


def _add_pixels(digest: Any, stream: BinaryIO, implicit: bool, little_endian: bool) -> None:
    """Add the value of PixelData, which follows the header; with undefined length, the rest of the file."""
    start = stream.read(_LONG_HEADER - 4 if implicit else _LONG_HEADER)
    length = int.from_bytes(start[-4:], "little" if little_endian else "big")
    left = None if length == _UNDEFINED else length
    while left is None or left > 0:
        block = stream.read(_BLOCK_BYTES if left is None else min(_BLOCK_BYTES, left))
        if not block:
            break
        digest.update(block)
        left = None if left is None else left - len(block)
