"""FHIR R4: the measurements as a DiagnosticReport with contained Observations (hl7.org/fhir/R4)."""

from __future__ import annotations

import json
import re
import uuid
from html import escape
from typing import Any

from lungfield.export.concepts import PROCEDURE
from lungfield.labels import Code
from lungfield.node.messages import Finding, Message

CONTENT_TYPE = "application/fhir+json; charset=utf-8"
_URI = "urn:ietf:rfc:3986"
_UCUM = "http://unitsofmeasure.org"
_SYSTEMS = {
    "SCT": "http://snomed.info/sct",
    "DCM": "http://dicom.nema.org/resources/ontology/DCM",
    "LN": "http://loinc.org",
}
_IDENTIFIER_TYPES = "http://terminology.hl7.org/CodeSystem/v2-0203"
_SECTIONS = "http://terminology.hl7.org/CodeSystem/v2-0074"
_GENDERS = {"M": "male", "F": "female", "O": "other"}
_PRELIMINARY = "preliminary"  # not verified by a person
_NAMESPACE = uuid.UUID("6f1c1c0a-6e55-5a0c-9a41-5f0d5a1d2b7e")


def diagnostic_report(message: Message) -> dict[str, Any]:
    """A DiagnosticReport with the areas and lengths of the lungs, the flags, and the note on research use.

    Patient, order and study are logical references by identifier, with which the receiver finds its own
    resources; name, sex and date of birth are in a contained Patient. The report and its identifier depend on
    the message only, so that a conditional create stores it once (`search_of_identifier`).

    Args:
        message: the content.
    """
    patient = _patient(message)
    subject = {"reference": "#patient", "type": "Patient", "identifier": patient["identifier"][0]}
    device = {
        "resourceType": "Device",
        "id": "software",
        "manufacturer": "lungfield",
        "deviceName": [{"name": message.software, "type": "model-name"}],
        **({"version": [{"value": message.version}]} if message.version else {}),
    }
    taken = _when(message)
    observations = [_observation(one, message, subject, taken) for one in message.findings]
    observations.append(_flags(message, subject, taken))
    report = {
        "resourceType": "DiagnosticReport",
        "text": {"status": "generated", "div": _narrative(message)},
        "contained": [patient, device, *observations],
        "identifier": [_identifier(message)],
        "basedOn": _orders(message),
        "status": _PRELIMINARY,
        "category": [{"coding": [{"system": _SECTIONS, "code": "RAD", "display": "Radiology"}]}],
        "code": _concept(message.procedure or PROCEDURE),
        "subject": subject,
        "effectiveDateTime": taken,
        "issued": message.created.isoformat(),
        "result": [{"reference": f"#{one['id']}"} for one in observations],
        "imagingStudy": [{"type": "ImagingStudy", "identifier": _dicom_uid(message.study)}],
        "conclusion": " ".join(message.remarks),
    }
    return {key: value for key, value in report.items() if value not in ("", [], None)}


def to_json(message: Message) -> bytes:
    """The report as JSON in UTF-8."""
    return json.dumps(diagnostic_report(message), ensure_ascii=False).encode()


def search_of_identifier(message: Message) -> str:
    """The search of a conditional create (If-None-Exist, section 3.1.0.8.1)."""
    identifier = _identifier(message)
    return f"identifier={identifier['system']}|{identifier['value']}"


def _identifier(message: Message) -> dict[str, str]:
    return {"system": _URI, "value": uuid.uuid5(_NAMESPACE, message.digest).urn}


def _patient(message: Message) -> dict[str, Any]:
    identifier = {**_typed("PI"), "value": message.patient_id}
    if message.issuer:
        identifier["assigner"] = {"display": message.issuer}
    patient = {
        "resourceType": "Patient",
        "id": "patient",
        "identifier": [identifier],
        "name": _names(message.name),
        "gender": _GENDERS.get(message.sex, "unknown"),
        "birthDate": _date(message.birth_date),
    }
    return {key: value for key, value in patient.items() if value}


def _names(name: str) -> list[dict[str, Any]]:
    """A PN of DICOM (PS3.5, 6.2.1) as HumanName, one for each of its groups."""
    names = []
    for group in name.split("="):
        parts = [" ".join(part.split()) for part in group.split("^")] + [""] * 5
        family, given, middle, prefix, suffix = parts[:5]
        human_name: dict[str, Any] = {"family": family, "given": [one for one in (given, middle) if one]}
        human_name |= {"prefix": [prefix] if prefix else [], "suffix": [suffix] if suffix else []}
        human_name = {key: value for key, value in human_name.items() if value}
        if human_name:
            text = " ".join(one for one in (prefix, given, middle, family, suffix) if one)
            names.append({"use": "official", "text": text, **human_name})
    return names


def _orders(message: Message) -> list[dict[str, Any]]:
    numbers = {"PLAC": message.placer_order, "FILL": message.filler_order, "ACSN": message.accession_number}
    return [
        {"type": "ServiceRequest", "identifier": {**_typed(kind), "value": number}}
        for kind, number in numbers.items()
        if number
    ]


def _typed(kind: str) -> dict[str, Any]:
    """The kind of an identifier."""
    return {"type": {"coding": [{"system": _IDENTIFIER_TYPES, "code": kind}]}}


def _observation(finding: Finding, message: Message, subject: dict[str, Any], taken: str) -> dict[str, Any]:
    quantity: dict[str, Any] = {"value": finding.value, "unit": finding.unit.value}
    code = {**_concept(finding.concept), "text": finding.title}
    return {
        **_observed(finding.key, code, message, subject, taken),
        "valueQuantity": quantity | {"system": _UCUM, "code": finding.unit.value},
        "bodySite": _concept(finding.place),
    }


def _flags(message: Message, subject: dict[str, Any], taken: str) -> dict[str, Any]:
    code = {"text": "Quality flags of the masks"}
    return {
        **_observed("quality_flags", code, message, subject, taken),
        "valueString": " ".join(message.flags) or "none",
    }


def _observed(
    key: str, code: dict[str, Any], message: Message, subject: dict[str, Any], taken: str
) -> dict[str, Any]:
    """The elements that all observations share."""
    observation = {
        "resourceType": "Observation",
        "id": key.replace("_", "-"),
        "status": _PRELIMINARY,
        "code": code,
        "subject": subject,
        "effectiveDateTime": taken,
        "note": [{"text": message.remarks[0]}],
        "device": {"reference": "#software"},
    }
    return {name: value for name, value in observation.items() if value}


def _concept(code: Code) -> dict[str, Any]:
    """A code as CodeableConcept; only its text if FHIR defines no URI for the coding scheme."""
    system = _SYSTEMS.get(code.scheme)
    text = code.meaning or code.value
    coding = {"system": system, "code": code.value, "display": text}
    return {"coding": [coding], "text": text} if system else {"text": text}


def _dicom_uid(uid: str) -> dict[str, str]:
    return {"system": "urn:dicom:uid", "value": f"urn:oid:{uid}"}


def _when(message: Message) -> str:
    """A dateTime; with a time only if its offset from UTC is known, as FHIR requires."""
    taken, offset = message.taken, message.offset
    if len(taken) < 14 or not offset:
        return _date(taken[:8])
    time = re.sub(r"(..)(..)(..)", r"\1:\2:\3", taken[8:14])
    return f"{_date(taken[:8])}T{time}{offset[:3]}:{offset[3:]}"


def _date(date: str) -> str:
    return f"{date[:4]}-{date[4:6]}-{date[6:8]}" if date else ""


def _narrative(message: Message) -> str:
    """The text for people, as XHTML."""
    lines = [f"{one.title}: {one.value:.10g} {one.unit.value}" for one in message.findings]
    lines += [f"Flags: {', '.join(message.flags) or 'none'}", *message.remarks]
    items = "".join(f"<li>{escape(line)}</li>" for line in lines)
    return f'<div xmlns="http://www.w3.org/1999/xhtml"><ul>{items}</ul></div>'
