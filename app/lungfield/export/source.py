"""Copy attributes from a radiograph's header to a derived object: valid values, and text byte for byte.

pydicom and highdicom quote header values, which may identify a patient, in warnings and logs. So this module
reads the raw bytes, checks them, and copies them as bytes, without passing values to these libraries.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cache
from pathlib import Path

from pydicom import DataElement, Dataset
from pydicom.charset import (
    STAND_ALONE_ENCODINGS,
    convert_encodings,
    decode_bytes,
    default_encoding,
    encode_string,
    python_encoding,
)
from pydicom.datadict import dictionary_VM, dictionary_VR
from pydicom.dataelem import RawDataElement
from pydicom.tag import Tag
from pydicom.valuerep import CUSTOMIZABLE_CHARSET_VR, STR_VR, TEXT_VR_DELIMS, PersonName

from lungfield.errors import HeaderError, OutputError
from lungfield.records import Radiograph

# Patient and study, type 2: present in every object, empty if not known.
_TYPE_2 = (
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "PatientSex",
    "StudyDate",
    "StudyTime",
    "StudyID",
    "AccessionNumber",
    "ReferringPhysicianName",
)
# Further attributes that identify patient or study, or describe de-identification; copied if present.
_OPTIONAL = (
    "IssuerOfPatientID",
    "PatientAge",
    "StudyDescription",
    "PatientIdentityRemoved",
    "DeidentificationMethod",
    "LongitudinalTemporalInformationModified",
)
_ENUMERATED_VALUES = {
    "BurnedInAnnotation": ("YES", "NO"),
    "LongitudinalTemporalInformationModified": ("UNMODIFIED", "MODIFIED", "REMOVED"),
    "LossyImageCompression": ("00", "01"),
    "PatientIdentityRemoved": ("YES", "NO"),
    "PatientSex": ("M", "F", "O"),
}
# PS3.5, section 6.2.
_FORMS = {
    "AS": re.compile(r"\d{3}[DWMY]"),
    "CS": re.compile(r"[A-Z0-9 _]{1,16}"),
    "DA": re.compile(r"\d{8}"),
    "DS": re.compile(r"(?=.{1,16}$)[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?"),
    "IS": re.compile(r"[+-]?\d{1,11}"),
    "TM": re.compile(r"([01]\d|2[0-3])([0-5]\d(([0-5]\d|60)(\.\d{1,6})?)?)?"),
}
# pydicom's look-ups take longer than copying the values.
_tag, _vr, _vm = cache(Tag), cache(dictionary_VR), cache(dictionary_VM)
_VRS_OF_TEXT = {*STR_VR, "DS", "IS", "UN", None}
_LARGEST_INTEGER = 2**31 - 1
_LONGEST_VALUE = 0xFFFE
_AXIS_OF_LETTER = {"R": 0, "L": 0, "A": 1, "P": 1, "H": 2, "F": 2}
_MISSPELT_TERM = re.compile(r"ISO(?P<extension>[ _-]?2022)?[ _-]?IR[ _-]?(?P<number>\d+)", re.IGNORECASE)
# Characters of JIS X 0208 and 0212, up to the next escape sequence: their bytes may look like a backslash.
_ESCAPED_TWO_BYTE_TEXT = re.compile(rb"\x1b\$\(?[@BD][^\x1b]*")


@dataclass(frozen=True)
class Source:
    """SOPClassUID, SOPInstanceUID, SeriesInstanceUID and StudyInstanceUID of a radiograph."""

    sop_class: str
    instance: str
    series: str
    study: str


def source_of(radiograph: Radiograph, path: Path) -> Source:
    """The identifiers of a radiograph, for a derived object's reference; `path`, its file, is for messages.

    Raises:
        HeaderError: the radiograph's header lacks valid identifiers.
        OutputError: the radiograph did not come from DICOM.
    """
    if radiograph.header is None:
        raise OutputError(
            f"{path}: {radiograph.path} is {radiograph.file_format} and not DICOM, and a DICOM object made "
            "from it must refer to a DICOM image; write PNG or NIfTI instead."
        )
    return source_of_header(radiograph.header, radiograph.path, path)


def source_of_header(header: Dataset, source_path: Path, path: Path) -> Source:
    """As `source_of`, from the header of the file `source_path`.

    Raises:
        HeaderError: the header lacks valid identifiers.
    """
    keywords = ("SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID")
    uids = {keyword: text_of(header, keyword) for keyword in keywords}
    # A component with a leading zero is invalid but occurs in archives, and the reference must match.
    invalid = [
        keyword
        for keyword, uid in uids.items()
        if not re.fullmatch(r"[0-9]+(\.[0-9]+)+", uid) or len(uid) > 64
    ]
    if invalid:
        raise HeaderError(
            f"{path}: {source_path} lacks a valid {', '.join(invalid)}, so that no DICOM object can "
            "refer to it; repair the file, or write PNG or NIfTI instead."
        )
    return Source(*uids.values())


def text_of(header: Dataset, keyword: str) -> str:
    """The text of an attribute in the default character set, unchecked; '' if it is missing."""
    return _content(header, keyword).decode("ascii", errors="replace")


def decoded_text(header: Dataset, keyword: str) -> str:
    """The text of an attribute in the header's character set; invalid bytes become U+FFFD.

    Groups of a name stay separated by '=', and multiple values by a backslash; '' if it is missing.
    """
    content = _content(header, keyword)
    encodings = convert_encodings(character_set(header)) if character_set(header) else [default_encoding]
    if _vr(keyword) == "PN":
        return str(PersonName(content, encodings).decode(encodings))
    if _vr(keyword) not in CUSTOMIZABLE_CHARSET_VR:
        return content.decode("ascii", errors="replace")
    return decode_bytes(content, encodings, TEXT_VR_DELIMS)


def values_of(header: Dataset, keyword: str) -> list[str]:
    """The values of an attribute in the default character set, such as a date, a code or a number.

    Empty if the attribute is missing, a value violates its value representation or is no date of the
    calendar, or the number of values is not allowed.
    """
    text = text_of(header, keyword)
    values = [one.strip(" ") for one in text.split("\\")] if text else []
    multiplicity = _vm(keyword)
    if multiplicity.isdigit() and len(values) != int(multiplicity):
        return []
    return values if all(_is_valid(one, keyword) for one in values) else []


def instance_number(header: Dataset) -> int:
    """The radiograph's InstanceNumber, so that numbers are as unique in the derived series as in its own."""
    number = int(next(iter(values_of(header, "InstanceNumber")), 0))
    return number if 0 < number <= _LARGEST_INTEGER else 1


def patient_orientation(header: Dataset) -> list[str]:
    """PatientOrientation (PS3.3, section C.7.6.1.1.1): directions of a row and a column; empty if invalid."""
    directions = values_of(header, "PatientOrientation")
    axes = [[_AXIS_OF_LETTER.get(letter) for letter in one] for one in directions]
    if not axes or any(None in one or len(set(one)) < len(one) for one in axes):
        return []
    row, column = axes
    return [] if row[0] == column[0] else directions


def character_set(header: Dataset) -> list[str]:
    """The terms of SpecificCharacterSet (PS3.3, section C.12.1.1.2), with common misspellings corrected.

    Empty if the header declares none, or one that DICOM does not define.
    """
    first, *others = (_mended(one.strip(" ")) for one in text_of(header, "SpecificCharacterSet").split("\\"))
    if first in STAND_ALONE_ENCODINGS:
        return [first]
    terms = [first, *(one for one in others if one not in STAND_ALONE_ENCODINGS)]
    return terms if any(terms) and all(one in python_encoding for one in terms) else []


def patient_and_study(header: Dataset) -> Iterator[RawDataElement]:
    """The attributes of a radiograph's patient and study, and of the character set.

    Text is copied byte for byte, so that viewers show it as in the radiograph, even with a wrong declared
    character set. Other invalid values are left out, or empty if the attribute is required.
    """
    terms = character_set(header)
    if terms:
        yield raw_element("SpecificCharacterSet", "\\".join(terms).encode())
    for keyword in (*_TYPE_2, *_OPTIONAL):
        if _vr(keyword) in CUSTOMIZABLE_CHARSET_VR:
            content = _text_in(header, keyword, terms)
        else:
            content = "\\".join(values_of(header, keyword)).encode()
        if content or keyword in _TYPE_2:
            yield raw_element(keyword, content)


def raw_element(keyword: str, content: bytes) -> RawDataElement:
    """An element with its value in bytes, which are padded to an even length (PS3.5, section 6.2)."""
    vr = _vr(keyword)
    content += (b"\0" if vr == "UI" else b" ") * (len(content) % 2)
    return RawDataElement(_tag(keyword), vr, len(content), content, 0, False, True)


def _text_in(header: Dataset, keyword: str, terms: Sequence[str]) -> bytes:
    """The bytes of a text; empty for multiple values where only one is allowed."""
    content = _content(header, keyword)
    if len(content) > _LONGEST_VALUE or (_vm(keyword) == "1" and _is_divided(content, terms)):
        return b""
    return content


def _is_divided(content: bytes, terms: Sequence[str]) -> bool:
    """Whether a text contains a backslash that is not a byte of a multi-byte character."""
    if terms and terms[0] in ("GBK", "GB18030"):
        return "\\" in content.decode("gb18030", errors="replace")
    return b"\\" in _ESCAPED_TWO_BYTE_TEXT.sub(b"", content)


def _is_valid(value: str, keyword: str) -> bool:
    allowed = _ENUMERATED_VALUES.get(keyword)
    if allowed is not None:
        return value in allowed
    vr = _vr(keyword)
    if not _FORMS[vr].fullmatch(value):
        return False
    if vr == "DA":
        try:
            date(int(value[:4]), int(value[4:6]), int(value[6:]))
        except ValueError:
            return False
    return True


def _mended(term: str) -> str:
    """A term of SpecificCharacterSet as DICOM spells it: 'ISO_IR 100' for 'ISO-IR-100', and so on."""
    if term.upper() in ("UTF8", "UTF-8"):
        return "ISO_IR 192"
    found = _MISSPELT_TERM.fullmatch(term)
    if found is None:
        return term
    if found["extension"]:
        return f"ISO 2022 IR {found['number']}"
    return "" if found["number"] == "6" else f"ISO_IR {found['number']}"


def _content(header: Dataset, keyword: str) -> bytes:
    """The bytes of an attribute without padding; empty if it is missing or no text."""
    element = header.get_item(_tag(keyword))
    if element is None or element.VR not in _VRS_OF_TEXT:
        return b""
    # An element stays raw until its value is read from pydicom.
    content = element.value if isinstance(element, RawDataElement) else _encoded(element, header)
    return (content or b"").rstrip(b" \0")


def _encoded(element: DataElement, header: Dataset) -> bytes:
    """The bytes of an element that pydicom has decoded, or that was not read from a file."""
    encodings = [default_encoding]
    if element.VR in CUSTOMIZABLE_CHARSET_VR:
        encodings = convert_encodings(character_set(header))
    values = element.value if element.VM > 1 else [element.value]
    return b"\\".join(_bytes_of(value, encodings) for value in values)


def _bytes_of(value: object, encodings: Sequence[str]) -> bytes:
    if value is None or isinstance(value, bytes):
        return value or b""
    return value.encode(encodings) if isinstance(value, PersonName) else encode_string(str(value), encodings)
