"""HL7 and FHIR messages: valid by HL7's own rules, with the radiograph's identity, whatever it holds."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from xml.etree import ElementTree

import pydicom
import pytest
from pydicom import Dataset
from pydicom.uid import generate_uid

from lungfield.errors import HeaderError
from lungfield.export.derived import RESEARCH_USE_ONLY
from lungfield.node.fhir import diagnostic_report, search_of_identifier, to_json
from lungfield.node.hl7 import oru_r01, refusal
from lungfield.node.messages import message_of

hl7apy_parser = pytest.importorskip("hl7apy.parser", reason="needs hl7apy")

ROW = {
    "right_lung_area_px": 9000,
    "right_lung_area_mm2": 22500.1234,
    "right_lung_height_px": 100,
    "right_lung_height_mm": 250.0,
    "right_lung_width_px": 60,
    "right_lung_width_mm": 150.0,
    "left_lung_area_px": 8000,
    "left_lung_area_mm2": 20000.0,
    "left_lung_height_px": 100,
    "left_lung_height_mm": 250.0,
    "left_lung_width_px": 60,
    "left_lung_width_mm": 150.0,
    "total_area_px": 17000,
    "total_area_mm2": 42500.0,
    "spacing_plane": "detector",
    "flags": ["asymmetric", "area-small"],
    "bundle": "unet",
    "bundle_version": "0.3.0",
}
RECEIVED_AT = 1_700_000_000.7
EVIL = "A|B^C~D&E\\F\rOBX|1|ST|evil"


@pytest.fixture
def radiograph(make_dicom, picture, tmp_path):
    """`radiograph(**attributes)`: a file whose header has them."""

    def make(**attributes):
        path = make_dicom(tmp_path / "chest.dcm", picture)
        dataset = pydicom.dcmread(path)
        given = {"PatientID": "4711", "PatientName": "Doe^Jane", "AccessionNumber": "ACC1"} | attributes
        for keyword, value in given.items():
            setattr(dataset, keyword, value)
        dataset.save_as(path)
        return path

    return make


def message(path, **row):
    return message_of(path, {**ROW, **row}, RECEIVED_AT)


def parsed(content: bytes):
    """The message as hl7apy reads it, checked strictly against HL7's tables of version 2.5.1."""
    found = hl7apy_parser.parse_message(content.decode(), find_groups=True)
    assert found.validate()
    return found


def segments(content: bytes, name: str) -> list[list[str]]:
    lines = content.decode().split("\r")
    return [line.split("|") for line in lines if line.startswith(f"{name}|")]


def test_the_message_is_valid_and_names_patient_and_order(radiograph):
    request = Dataset()
    request.PlacerOrderNumberImagingServiceRequest = "P-1"
    request.FillerOrderNumberImagingServiceRequest = "F-2"
    path = radiograph(
        SpecificCharacterSet="ISO_IR 100",
        PatientName="Müller^Jörg^K^Dr.^jun.",
        PatientBirthDate="19600229",
        PatientSex="M",
        IssuerOfPatientID="CLINIC",
        StudyDate="20240102",
        StudyTime="101112.5",
        RequestAttributesSequence=[request],
    )
    content = oru_r01(message(path))
    pid = parsed(content).oru_r01_patient_result.oru_r01_patient.pid
    assert (pid.pid_3.cx_1.value, pid.pid_3.cx_4.value) == ("4711", "CLINIC")
    assert pid.pid_5.to_er7() == "Müller^Jörg^K^jun.^Dr.^^L^A"
    assert (pid.pid_7.value, pid.pid_8.value) == ("19600229", "M")
    (request,) = segments(content, "OBR")
    assert (request[2], request[3], request[18], request[25]) == ("P-1", "F-2", "ACC1", "P")
    assert request[7] == "20240102101112"
    assert segments(content, "MSH")[0][17] == "UNICODE UTF-8"


def test_figures_have_units_and_flags_and_the_remark_are_there(radiograph):
    content = oru_r01(message(radiograph()))
    observed = {one[3].split("^")[0]: one for one in segments(content, "OBX")}
    area = observed["right-lung-area"]
    assert area[2] == "NM"
    assert area[5] == "22500.1"
    assert area[6] == "mm2^square millimeter^UCUM"
    assert observed["left-lung-height"][6].startswith("mm^")
    assert "total-height" not in observed
    assert observed["quality-flags"][5] == "asymmetric~area-small"
    assert RESEARCH_USE_ONLY in [one[3] for one in segments(content, "NTE")]
    pixels = oru_r01(message(radiograph(), right_lung_area_mm2=None))
    assert {one[3].split("^")[0]: one for one in segments(pixels, "OBX")}["right-lung-area"][5:7] == [
        "9000",
        "{pixels}^pixels^UCUM",
    ]


def test_the_cardiothoracic_ratio_is_told(radiograph):
    heart = {
        "heart_area_px": 4000,
        "heart_area_mm2": 10000.0,
        "heart_width_px": 50,
        "heart_width_mm": 125.0,
        "thoracic_width_px": 110,
        "thoracic_width_mm": 275.0,
        "cardiothoracic_ratio": 50 / 110,
        "ctr_reason": "",
        "view": "AP",
    }
    message = message_of(radiograph(), ROW | heart, RECEIVED_AT)
    found = {one.key: (one.value, one.unit.value) for one in message.findings}
    assert found["cardiothoracic_ratio"] == (0.454545, "1")
    assert (found["heart_width"], found["thoracic_width"]) == ((125.0, "mm"), (275.0, "mm"))
    assert any("AP" in remark for remark in message.remarks)
    assert "cardiothoracic-ratio^Cardiothoracic ratio^99LUNGFIELD" in oru_r01(message).decode()
    assert_valid_report(diagnostic_report(message))
    none = ROW | {"heart_area_px": 0, "ctr_reason": "no-heart"}
    message = message_of(radiograph(), none, RECEIVED_AT)
    assert "cardiothoracic_ratio" not in {one.key for one in message.findings}
    assert "No cardiothoracic ratio was measured: no-heart." in message.remarks


def test_separators_and_line_ends_in_a_header_stay_text(radiograph):
    path = radiograph(
        PatientName=f"{EVIL.replace('^', '')}^X", PatientID="4|7^1~1&\\", AccessionNumber="A|C~C"
    )
    content = oru_r01(message(path))
    found = parsed(content)
    assert len(segments(content, "OBX")) == 10
    assert segments(content, "PID")[0][3] == "4\\F\\7\\S\\1\\R\\1\\T\\\\E\\^^^^PI"
    assert found.oru_r01_patient_result.oru_r01_patient.pid.pid_3.cx_1.value.startswith("4\\F\\7")
    assert segments(content, "OBR")[0][18] == "A\\F\\C\\R\\C"


def test_a_name_in_three_scripts_is_three_names(radiograph):
    path = radiograph(
        SpecificCharacterSet=["", "ISO 2022 IR 87"], PatientName="Yamada^Tarou=山田^太郎=やまだ^たろう"
    )
    names = segments(oru_r01(message(path)), "PID")[0][5].split("~")
    assert names == ["Yamada^Tarou^^^^^L^A", "山田^太郎^^^^^L^I", "やまだ^たろう^^^^^L^P"]
    told = diagnostic_report(message(path))["contained"][0]["name"]
    assert [one["family"] for one in told] == ["Yamada", "山田", "やまだ"]


def test_the_same_message_has_the_same_bytes_and_other_figures_another_number(radiograph):
    path = radiograph()
    assert oru_r01(message(path)) == oru_r01(message(path))
    assert to_json(message(path)) == to_json(message(path))
    other = message(path, left_lung_area_mm2=1.0)
    assert segments(oru_r01(other), "MSH")[0][9] != segments(oru_r01(message(path)), "MSH")[0][9]
    assert search_of_identifier(other) != search_of_identifier(message(path))


def test_a_radiograph_without_patient_id_makes_no_message_and_no_word_of_its_name(radiograph):
    with pytest.raises(HeaderError, match="has no PatientID") as error:
        message(radiograph(PatientID="", PatientName="Secret^Name"))
    assert "Secret" not in str(error.value)


def test_what_is_no_dicom_makes_no_message(tmp_path):
    path = tmp_path / "x.dcm"
    path.write_bytes(b"DICM" * 3)
    with pytest.raises(HeaderError):
        message(path)


@pytest.mark.parametrize(
    ("answer", "refused"),
    [
        (b"MSH|^~\\&|A\rMSA|AA|1\r", False),
        (b"\x0bMSH|^~\\&|A\rMSA|CA|1\r\x1c\r", False),
        (b"MSH|^~\\&|A\rMSA|AE|1|no such patient\r", True),
        (b"MSH|^~\\&|A\nMSA|AR|1", True),
        (b"MSA|", True),
        (b"", False),
        (b"<html>fine</html>", False),
    ],
)
def test_an_acknowledgement_that_refuses_is_heard(answer, refused):
    assert bool(refusal(answer)) is refused


def test_the_report_keeps_the_rules_of_fhir(radiograph):
    path = radiograph(
        PatientName="O'Neil <b>&^Ann",
        PatientSex="F",
        PatientBirthDate="19991231",
        TimezoneOffsetFromUTC="+0530",
    )
    report = json.loads(to_json(message(path)))
    assert_valid_report(report)
    patient = report["contained"][0]
    assert patient["name"][0]["family"] == "O'Neil <b>&"
    assert (patient["gender"], patient["birthDate"]) == ("female", "1999-12-31")
    assert report["basedOn"][0]["identifier"]["value"] == "ACC1"
    assert report["status"] == "preliminary"
    assert RESEARCH_USE_ONLY in report["conclusion"]
    areas = {one["id"]: one for one in report["contained"] if one["resourceType"] == "Observation"}
    assert areas["right-lung-area"]["valueQuantity"] == {
        "value": 22500.1,
        "unit": "mm2",
        "system": "http://unitsofmeasure.org",
        "code": "mm2",
    }
    assert areas["quality-flags"]["valueString"] == "asymmetric area-small"


def test_the_report_of_a_bare_header_is_valid_too(radiograph):
    path = radiograph(PatientName="", AccessionNumber="", StudyInstanceUID=generate_uid())
    dataset = pydicom.dcmread(path)
    for keyword in ("StudyDate", "ContentDate", "AcquisitionDate"):
        dataset.pop(keyword, None)
    dataset.save_as(path)
    report = json.loads(to_json(message(path, flags=[])))
    assert_valid_report(report)
    assert "basedOn" not in report
    assert "effectiveDateTime" not in report
    parsed(oru_r01(message(path, flags=[])))


FHIR_DATE = r"\d{4}-\d\d-\d\d"
FHIR_TIME = rf"{FHIR_DATE}T\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)"
CODE_STATUS = {
    "registered",
    "partial",
    "preliminary",
    "final",
    "amended",
    "corrected",
    "appended",
    "cancelled",
}


def assert_valid_report(report: dict) -> None:
    """The rules of R4 that apply: types, required elements, contained resources (dom-2 to dom-6), obs-6."""
    assert report["resourceType"] == "DiagnosticReport"
    assert report["status"] in CODE_STATUS
    assert "text" in report["code"] or "coding" in report["code"]
    assert re.fullmatch(FHIR_TIME, report["issued"])
    if "effectiveDateTime" in report:
        assert re.fullmatch(f"{FHIR_DATE}|{FHIR_TIME}", report["effectiveDateTime"])
    root = ElementTree.fromstring(report["text"]["div"])  # noqa: S314  (made here)
    assert root.tag == "{http://www.w3.org/1999/xhtml}div"
    assert "".join(root.itertext()).strip()
    HTMLParser().feed(report["text"]["div"])
    contained = {one["id"]: one for one in report["contained"]}
    assert len(contained) == len(report["contained"])
    assert all(re.fullmatch(r"[A-Za-z0-9.-]{1,64}", one) for one in contained)
    references = {one["reference"].removeprefix("#") for one in _references(report)}
    assert references == set(contained)  # dom-3: each is referred to; and each reference has its resource
    for one in report["contained"]:
        assert not {"contained", "meta", "text"} & one.keys()
        if one["resourceType"] == "Observation":
            assert one["status"] in CODE_STATUS
            assert sum(key.startswith("value") for key in one) == 1
    _assert_no_empty(report)


def _references(value):
    if isinstance(value, dict):
        if "reference" in value:
            yield value
        for one in value.values():
            yield from _references(one)
    elif isinstance(value, list):
        for one in value:
            yield from _references(one)


def _assert_no_empty(value):
    """No element may be empty (ele-1), no string, list or object."""
    assert value not in ("", [], {}, None)
    for one in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        _assert_no_empty(one)
