"""The content of a message: patient, order and measurements of a radiograph.

`hl7` and `fhir` encode the same `Message` as HL7 v2 and as FHIR.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

import pydicom
from pydicom import Dataset

from lungfield.errors import HeaderError
from lungfield.export.concepts import (
    AP_COMMENT,
    AREA,
    CARDIOTHORACIC_RATIO,
    HEIGHT,
    MILLIMETRE,
    NO_UNITS,
    PIXELS,
    PLANE_COMMENTS,
    SQUARE_MILLIMETRE,
    THORACIC_WIDTH,
    WIDTH,
    no_ratio_comment,
)
from lungfield.export.derived import RESEARCH_USE_ONLY
from lungfield.export.source import decoded_text, text_of, values_of
from lungfield.labels import CHEST, HEART, LUNGS, Code

_BOTH = Code("39607008", "SCT", "Lung")
_PLACES = {**{lung.name: lung.code for lung in LUNGS}, "total": _BOTH}
_TITLES = {"right_lung": "right lung field", "left_lung": "left lung field", "total": "both lung fields"}
# Column, concept, and the unit if the pixel spacing is known.
_QUANTITIES = (
    ("area", AREA, SQUARE_MILLIMETRE),
    ("height", HEIGHT, MILLIMETRE),
    ("width", WIDTH, MILLIMETRE),
)
_OF_HEART = (
    ("heart_area", "Area of the heart", AREA, HEART.code, SQUARE_MILLIMETRE),
    ("heart_width", "Width of the heart", WIDTH, HEART.code, MILLIMETRE),
    ("thoracic_width", "Greatest inner width of the thorax", THORACIC_WIDTH, CHEST, MILLIMETRE),
    ("cardiothoracic_ratio", "Cardiothoracic ratio", CARDIOTHORACIC_RATIO, HEART.code, NO_UNITS),
)
_ORDER = ("PlacerOrderNumberImagingServiceRequest", "FillerOrderNumberImagingServiceRequest")


@dataclass(frozen=True)
class Finding:
    """One measurement.

    Attributes:
        key: its column without the unit, such as 'right_lung_area'.
        title: for people.
        concept: what was measured.
        place: the anatomic site.
        value: rounded to six significant digits.
        unit: in UCUM.
    """

    key: str
    title: str
    concept: Code
    place: Code
    value: float
    unit: Code


@dataclass(frozen=True)
class Message:
    """The content of a message.

    Attributes:
        patient_id: PatientID.
        issuer: IssuerOfPatientID; '' where it is not known.
        name: PatientName, with DICOM's '^' and '='.
        birth_date: YYYYMMDD; '' where it is not known.
        sex: 'M', 'F', 'O' or ''.
        accession_number: AccessionNumber.
        placer_order: of the order (0040,2016); '' where it is not known.
        filler_order: of the order (0040,2017); '' where it is not known.
        procedure: the requested procedure as a code; None if it is not known.
        study: StudyInstanceUID.
        taken: when the radiograph was acquired, YYYYMMDD or YYYYMMDDHHMMSS; '' if it is not known.
        offset: of that time from UTC, such as '+0100'; '' where it is not known.
        created: when the node received it; the creation time in messages and objects.
        findings: the measurements.
        flags: quality flags of the masks.
        remarks: notes on the measurements; the first says that they are for research use only.
        software: that made the masks, such as 'lungfield unet'.
        version: its version.
        digest: SHA-256 of the radiograph's UID and the content, in hexadecimal; identifies the message.
    """

    patient_id: str
    issuer: str
    name: str
    birth_date: str
    sex: str
    accession_number: str
    placer_order: str
    filler_order: str
    procedure: Code | None
    study: str
    taken: str
    offset: str
    created: datetime
    findings: tuple[Finding, ...]
    flags: tuple[str, ...]
    remarks: tuple[str, ...]
    software: str
    version: str
    digest: str


def message_of(radiograph: Path, row: Mapping[str, Any], created: float) -> Message:
    """The message of a radiograph.

    Args:
        radiograph: its file.
        row: its row from the worker (`lungfield.export.tables.RESULT_COLUMNS`).
        created: when the node received it, in seconds since 1970.

    Raises:
        HeaderError: the header cannot be read, or has no PatientID, without which a message names no patient.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # pydicom's warnings may quote a patient's values
            header = pydicom.dcmread(radiograph, stop_before_pixels=True, force=True)
            message = _message(header, row, created)
    except Exception as error:
        raise HeaderError(
            f"{radiograph.name}: no message can be made from the header ({type(error).__name__}); "
            "check the radiograph with a DICOM validator."
        ) from error
    if not message.patient_id:
        raise HeaderError(
            f"{radiograph.name}: the header has no PatientID, so a message would name no patient; correct "
            "the radiograph at its source and send it again."
        )
    return message


def _message(header: Dataset, row: Mapping[str, Any], created: float) -> Message:
    findings = (*_findings(row), *_findings_of_heart(row))
    flags = tuple(map(str, row.get("flags") or ()))
    software, version = f"lungfield {row.get('bundle') or ''}".strip(), str(row.get("bundle_version") or "")
    content = repr((findings, flags, software, version, created))
    request = next(iter(header.get("RequestAttributesSequence") or ()), Dataset())
    placer, filler = (_first(keyword, header, request) for keyword in _ORDER)
    return Message(
        patient_id=decoded_text(header, "PatientID").strip(),
        issuer=decoded_text(header, "IssuerOfPatientID").strip(),
        name=decoded_text(header, "PatientName").strip(),
        birth_date="".join(values_of(header, "PatientBirthDate")),
        sex="".join(values_of(header, "PatientSex")),
        accession_number=_first("AccessionNumber", header, request),
        placer_order=placer,
        filler_order=filler,
        procedure=_procedure(header, request),
        study=text_of(header, "StudyInstanceUID"),
        taken=_taken(header),
        offset=_offset(header),
        created=datetime.fromtimestamp(int(created), UTC),
        findings=findings,
        flags=flags,
        remarks=tuple(_remarks(row)),
        software=software,
        version=version,
        digest=sha256(f"{text_of(header, 'SOPInstanceUID')}\0{content}".encode()).hexdigest(),
    )


def _findings(row: Mapping[str, Any]) -> Iterator[Finding]:
    for place, code in _PLACES.items():
        for quantity, concept, unit in _QUANTITIES:
            if quantity != "area" and (place == "total" or not row.get(f"{place}_area_px")):
                continue
            key = f"{place}_{quantity}"
            suffix = "mm2" if quantity == "area" else "mm"
            value = row.get(f"{key}_{suffix}")
            if value is None:
                value, unit = row.get(f"{key}_px"), PIXELS
            if value is not None:
                title = f"{concept.meaning} of the {_TITLES[place]}".replace("the both", "both")
                yield Finding(key, title, concept, code, float(f"{value:.6g}"), unit)


def _findings_of_heart(row: Mapping[str, Any]) -> Iterator[Finding]:
    """Area of the heart, widths of heart and chest, and their ratio, as far as they were measured."""
    for key, title, concept, place, unit in _OF_HEART:
        value = row.get(
            f"{key}_mm2" if unit is SQUARE_MILLIMETRE else f"{key}_mm" if unit is MILLIMETRE else key
        )
        if value is None and unit is not NO_UNITS:
            value, unit = row.get(f"{key}_px"), PIXELS
        if value is not None:
            yield Finding(key, title, concept, place, float(f"{value:.6g}"), unit)


def _remarks(row: Mapping[str, Any]) -> Iterator[str]:
    yield RESEARCH_USE_ONLY
    plane = row.get("spacing_plane")
    if plane in PLANE_COMMENTS:
        yield PLANE_COMMENTS[plane]
    if row.get("ctr_reason"):
        yield no_ratio_comment(row["ctr_reason"])
    elif row.get("cardiothoracic_ratio") is not None and row.get("view") == "AP":
        yield AP_COMMENT


def _first(keyword: str, *places: Dataset) -> str:
    """The first value of an attribute in the header or in the item of a sequence; '' without one."""
    found = (decoded_text(one, keyword).strip() for one in places)
    return next((one for one in found if one), "")


def _procedure(header: Dataset, request: Dataset) -> Code | None:
    for place, keyword in ((request, "RequestedProcedureCodeSequence"), (header, "ProcedureCodeSequence")):
        for item in place.get(keyword) or ():
            code, scheme, meaning = (
                decoded_text(item, one).strip()
                for one in ("CodeValue", "CodingSchemeDesignator", "CodeMeaning")
            )
            if code and scheme:
                return Code(code, scheme, meaning)
    return None


def _taken(header: Dataset) -> str:
    """The date of acquisition, content or study, with its time to the second if that is complete."""
    for kind in ("Acquisition", "Content", "Study"):
        date = "".join(values_of(header, f"{kind}Date"))
        if date:
            time = "".join(values_of(header, f"{kind}Time")).partition(".")[0]
            # HL7 and FHIR have no leap seconds.
            return date + (time if len(time) == 6 and not time.endswith("60") else "")
    return ""


def _offset(header: Dataset) -> str:
    """TimezoneOffsetFromUTC (PS3.3, C.12.1.1.8), or '' if it is missing or invalid."""
    text = text_of(header, "TimezoneOffsetFromUTC").strip()
    valid = len(text) == 5 and text[0] in "+-" and text[1:].isdigit()
    return text if valid and text[1:3] <= "14" and text[3:] <= "59" else ""
