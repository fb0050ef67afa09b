"""Which headers are taken for a frontal chest radiograph, and the reasons against the others."""

from __future__ import annotations

from typing import Any

import pytest
from pydicom import uid
from pydicom.datadict import tag_for_keyword
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.tag import Tag

from lungfield.radiograph import check_header
from lungfield.radiograph.header.check import DESCRIPTIONS, STUDY_DESCRIPTION
from lungfield.radiograph.header.codes import CHEST_CODES, FRONTAL_VIEWS, other_region, other_view

pytestmark = pytest.mark.filterwarnings("ignore:Invalid value for VR")


def header(**keywords: Any) -> Dataset:
    dataset = Dataset()
    for keyword, value in keywords.items():
        setattr(dataset, keyword, value)
    return dataset


def code(value: str, scheme: str = "SCT", meaning: str = "") -> list[Dataset]:
    return [header(CodeValue=value, CodingSchemeDesignator=scheme, CodeMeaning=meaning)]


FRONTAL: list[tuple[dict[str, Any], str | None]] = [
    ({}, None),
    ({"Modality": "DX", "SOPClassUID": uid.DigitalXRayImageStorageForPresentation}, None),
    ({"Modality": "OT", "SOPClassUID": uid.SecondaryCaptureImageStorage}, None),
    ({"ViewPosition": "PA", "BodyPartExamined": "CHEST"}, "PA"),
    ({"ViewPosition": "AP", "BodyPartExamined": "Thorax"}, "AP"),
    ({"ViewPosition": "", "PatientOrientation": ["L", "F"]}, "frontal"),
    ({"PatientOrientation": ["R", "F"]}, "frontal"),
    ({"PatientOrientation": ["LP", "FA"]}, "frontal"),
    ({"PatientPosition": "PA"}, "PA"),
    ({"ViewCodeSequence": code("399348003")}, "AP"),
    ({"ViewCodeSequence": code("272479007"), "ViewPosition": "AP"}, "PA"),
    ({"ViewCodeSequence": code("R-10214", "SRT")}, "PA"),
    ({"ViewPosition": "LLD"}, "frontal"),
    ({"SeriesDescription": "Chest lateral decubitus"}, "frontal"),
    ({"SeriesDescription": "CHEST PA AND LATERAL"}, "PA"),
    ({"SeriesDescription": "Thorax a.p."}, "AP"),
    ({"BodyPartExamined": "RIBCAGE"}, None),
    ({"BodyPartExamined": "CHEST ABDOMEN"}, None),
    ({"BodyPartExamined": "UNKNOWN"}, None),
    ({"BodyPartExamined": "PORT"}, None),
    ({"AnatomicRegionSequence": code("816094009", meaning="Chest")}, None),
    ({"AnatomicRegionSequence": code("T-D3000", "SRT", "Chest")}, None),
    ({"PatientSpeciesDescription": "Homo sapiens"}, None),
    ({"SeriesDescription": "ALARM LEGACY"}, None),  # neither an arm nor a leg
]


@pytest.mark.parametrize(("keywords", "view"), FRONTAL, ids=str)
def test_frontal_chest_radiographs(keywords: dict[str, Any], view: str | None) -> None:
    check = check_header(header(**keywords))
    assert check.radiograph
    assert check.frontal_chest
    assert check.reason == ""
    assert check.view == view


OTHERS: list[tuple[dict[str, Any], str]] = [
    ({"ViewPosition": "LL"}, "ViewPosition says lateral"),
    ({"ViewPosition": "LATERAL"}, "ViewPosition says lateral"),
    ({"ViewPosition": "RLO"}, "ViewPosition says oblique"),
    ({"PatientPosition": "LAT"}, "PatientPosition says lateral"),
    ({"SeriesDescription": "Thorax lat."}, "SeriesDescription says lateral"),
    ({"SeriesDescription": "CHEST LATERAL"}, "SeriesDescription says lateral"),
    ({"ViewPosition": "PA", "PatientOrientation": ["A", "F"]}, "PatientOrientation is A\\F"),
    ({"PatientOrientation": ["P", "F"]}, "PatientOrientation is P\\F"),
    ({"PatientOrientation": ["L", "P"]}, "PatientOrientation is L\\P"),
    ({"ViewCodeSequence": code("399067008")}, "ViewCodeSequence says lateral"),
    ({"ViewCodeSequence": code("399173006"), "ViewPosition": "PA"}, "ViewCodeSequence says left lateral"),
    ({"ViewCodeSequence": code("399198007")}, "ViewCodeSequence says right lateral"),
    ({"ViewCodeSequence": code("99", "99X", "Left lateral")}, "ViewCodeSequence says lateral"),
    ({"BodyPartExamined": "HAND"}, "BodyPartExamined says HAND"),
    ({"BodyPartExamined": "T SPINE"}, "BodyPartExamined says SPINE"),
    ({"BodyPartExamined": "THORACICSPINE"}, "BodyPartExamined says SPINE"),
    ({"BodyPartExamined": "LEGS"}, "BodyPartExamined says LEG"),
    (
        {"BodyPartExamined": "CHEST", "AnatomicRegionSequence": code("72696002", meaning="Knee")},
        "AnatomicRegionSequence says KNEE",
    ),
    ({"SeriesDescription": "Hand PA"}, "SeriesDescription says HAND"),
    ({"Modality": "CT", "ViewPosition": "PA"}, "Modality is CT"),
    ({"AnatomicalOrientationType": "QUADRUPED", "BodyPartExamined": "CHEST"}, "animal"),
    ({"PatientSpeciesDescription": "Canine"}, "animal"),
]


@pytest.mark.parametrize(("keywords", "reason"), OTHERS, ids=str)
def test_other_views_and_other_parts(keywords: dict[str, Any], reason: str) -> None:
    check = check_header(header(**keywords))
    assert check.radiograph
    assert not check.frontal_chest
    assert check.view is None
    assert reason in check.reason


@pytest.mark.parametrize(
    ("sop_class", "modality"),
    [
        (uid.SegmentationStorage, "SEG"),
        (uid.BasicTextSRStorage, "SR"),
        (uid.CTImageStorage, "CT"),
        (uid.MRImageStorage, "MR"),
        (uid.DigitalMammographyXRayImageStorageForPresentation, "MG"),
        (uid.UID("1.2.3.4"), "DX"),
    ],
)
def test_objects_of_another_kind(sop_class: uid.UID, modality: str) -> None:
    check = check_header(header(SOPClassUID=sop_class, Modality=modality))
    assert not check.radiograph
    assert not check.frontal_chest
    assert modality in check.reason


PASSED: list[dict[str, Any]] = [
    # Values of Modality.
    {"Modality": "DR"},
    {"Modality": ["CR", "DX"]},
    {"Modality": ["PATIENT", "DX"]},
    {"Modality": ["DX", "CT"]},
    # Specific attributes come before descriptions.
    {"ViewPosition": "PA", "SeriesDescription": "CHEST LATERAL"},
    {"ViewPosition": "AP", "SeriesDescription": "CHEST LAT"},
    {"ViewPosition": "AP", "SeriesDescription": "Portable lat film of prior"},
    {"ViewCodeSequence": code("399348003"), "SeriesDescription": "LAT"},
    {"BodyPartExamined": "CHEST", "ProtocolName": "HAND"},
    {"BodyPartExamined": "CHEST", "StudyDescription": "Polytrauma Becken, HWS"},
    {"AnatomicRegionSequence": code("816094009"), "SeriesDescription": "Abdomen"},
    {"AnatomicRegionSequence": code("T-D3000", "SRT"), "StudyDescription": "KNIE"},
    {"AnatomicRegionSequence": code("39607008"), "SeriesDescription": "shoulder"},
    {"AnatomicRegionSequence": code("416550000")},
    {"AnatomicRegionSequence": code("38266002")},
    {"AnatomicRegionSequence": code("818981001") + code("816094009")},
    # The nearest description that says something counts.
    {"SeriesDescription": "Thorax p.a.", "ProtocolName": "Thorax seitlich"},
    {"SeriesDescription": "CHEST PA", "StudyDescription": "CHEST LATERAL"},
    {"SeriesDescription": "CHEST", "StudyDescription": "HAND, CHEST"},
    {"StudyDescription": "XR CHEST 2 VIEWS PA AND LAT"},
    {"StudyDescription": "RX TORAX FRENTE Y PERFIL"},
    {"StudyDescription": "Thorax in 2 Ebenen, seitlich"},
    {"StudyDescription": "Radiographie du thorax de face et de profil"},
    {"StudyDescription": "胸部正侧位"},
    {"StudyDescription": "胸部正面・側面"},
    {"StudyDescription": "ОГК в двух проекциях, прямая и боковая"},
    # Words out of context.
    {"SeriesDescription": "AP portable, foot of bed up"},
    {"SeriesDescription": "AP supine head of bed 30"},
    {"SeriesDescription": "Supine, head up 45"},
    {"SeriesDescription": "AP feet first"},
    {"SeriesDescription": "AP hand-held"},
    {"SeriesDescription": "AP handheld"},
    {"SeriesDescription": "PA arms raised"},
    {"SeriesDescription": "PA, hands on hips"},
    {"SeriesDescription": "AP leg end of table"},
    {"SeriesDescription": "AP C-arm"},
    {"SeriesDescription": "AP, head end"},
    {"SeriesDescription": "PICC line left arm AP"},
    {"SeriesDescription": "AP neck collar on"},
    {"SeriesDescription": "AP pelvic shield"},
    {"SeriesDescription": "MAIN HOSPITAL AP"},
    {"SeriesDescription": "MAIN"},
    {"SeriesDescription": "Pre-op hip surgery AP"},
    {"SeriesDescription": "AP r/o PE"},
    {"SeriesDescription": "AP de pie"},
    {"SeriesDescription": "in piedi PA"},
    {"SeriesDescription": "em pé PA"},
    {"SeriesDescription": "bras levés PA"},
    {"SeriesDescription": "AP au pied du lit"},
    {"SeriesDescription": "Kopf hoch a.p."},
    {"SeriesDescription": "lateral not possible"},
    {"SeriesDescription": "Bilateral infiltrates"},
    {"SeriesDescription": "User profile 3"},
    {"SeriesDescription": "左手術後 胸部"},
    {"SeriesDescription": "手術後 正面"},
    {"SeriesDescription": "吸気不足"},
    {"SeriesDescription": "腹臥位"},
    {"SeriesDescription": "손상 의심"},
    {"SeriesDescription": "Sinus costodiaphragmaticus frei"},
    # The chest in many languages, also beside another word, from many makers.
    {"SeriesDescription": "Thorax Bett a.p."},
    {"SeriesDescription": "Röntgen Lunge und Abdomen"},
    {"SeriesDescription": "TÓRAX PA"},
    {"BodyPartExamined": "TORAX", "ViewPosition": "PA"},
    {"BodyPartExamined": "KLATKA PIERSIOWA"},
    {"BodyPartExamined": "Toraks"},
    {"BodyPartExamined": "ГРУДНАЯ КЛЕТКА"},
    {"BodyPartExamined": "ОРГАНЫ ГРУДНОЙ КЛЕТКИ И ЖИВОТ"},
    {"BodyPartExamined": "Göğüs"},
    {"BodyPartExamined": "POUMONS"},
    {"BodyPartExamined": "TORACE"},
    {"BodyPartExamined": "HRUDNÍK"},
    {"BodyPartExamined": "MELLKAS"},
    {"BodyPartExamined": "ΘΩΡΑΚΑΣ"},
    {"BodyPartExamined": "صدر"},
    {"BodyPartExamined": "חזה"},
    {"BodyPartExamined": "胸部"},
    {"BodyPartExamined": "ＣＨＥＳＴ　ＰＡ"},
    {"BodyPartExamined": "胸部・腹部"},
    {"BodyPartExamined": "흉부"},
    {"BodyPartExamined": "ทรวงอก"},
    {"BodyPartExamined": "BABYGRAM"},
    {"SeriesDescription": "W034 Grid Thorax PA"},
    {"SeriesDescription": "Torace a letto, AP"},
    {"SeriesDescription": "胸部立位正面"},
    {"SeriesDescription": "胸部 后前位"},
    {"SeriesDescription": "左侧卧位"},
    {"SeriesDescription": "흉부 정면 PA"},
    {"SeriesDescription": "Klatka piersiowa PA na stojąco"},
    {"SeriesDescription": "Thorax frontaal staand"},
    {"SeriesDescription": "PAAC"},
    {"SeriesDescription": "Обзорная рентгенография органов грудной клетки, прямая проекция"},
    {"ProtocolName": "CHEST_AP_BEDSIDE"},
    {"ProtocolName": "Decúbito lateral derecho"},
    {"ProtocolName": "ThoraxPA"},
    {"AcquisitionDeviceProcessingDescription": "CHEST,GENERAL"},
    {"AcquisitionDeviceProcessingDescription": "UNIQUE: S1"},
    {"StudyDescription": "Rx tórax portátil"},
    {"StudyDescription": "CHEST AND ABDOMEN"},
    {"StudyDescription": "Thorax seitenlage links"},
]


@pytest.mark.parametrize("keywords", PASSED, ids=str)
def test_nothing_speaks_against_these(keywords: dict[str, Any]) -> None:
    assert check_header(header(**keywords)).reason == ""


TURNED_DOWN: list[tuple[dict[str, Any], str]] = [
    # Lateral and oblique views in other words.
    ({"ViewPosition": "PERFIL"}, "ViewPosition says lateral"),
    ({"ViewPosition": "側面"}, "ViewPosition says lateral"),
    ({"ViewPosition": "侧位"}, "ViewPosition says lateral"),
    ({"ViewPosition": "Ｌａｔ"}, "ViewPosition says lateral"),
    ({"ViewPosition": ["PROFIL", "X"]}, "ViewPosition says lateral"),
    ({"SeriesDescription": "TÓRAX PERFIL"}, "SeriesDescription says lateral"),
    ({"SeriesDescription": "Thorax profil gauche"}, "SeriesDescription says lateral"),
    ({"SeriesDescription": "Thorax seitlich"}, "SeriesDescription says lateral"),
    ({"SeriesDescription": "Torace latero-laterale"}, "SeriesDescription says lateral"),
    ({"SeriesDescription": "Torace L.L."}, "SeriesDescription says lateral"),
    ({"SeriesDescription": "Thorax lateraal"}, "SeriesDescription says lateral"),
    ({"SeriesDescription": "Thorax zijdelings"}, "SeriesDescription says lateral"),
    ({"SeriesDescription": "Klatka piersiowa boczne"}, "SeriesDescription says lateral"),
    ({"SeriesDescription": "Akciğer yan"}, "SeriesDescription says lateral"),
    ({"SeriesDescription": "Боковая проекция"}, "SeriesDescription says lateral"),
    ({"SeriesDescription": "ОГК боковой снимок"}, "SeriesDescription says lateral"),
    ({"SeriesDescription": "胸部側面"}, "SeriesDescription says lateral"),
    ({"SeriesDescription": "胸部左侧位"}, "SeriesDescription says lateral"),
    ({"SeriesDescription": "흉부 측면"}, "SeriesDescription says lateral"),
    ({"SeriesDescription": "ThoraxLat_2"}, "SeriesDescription says lateral"),
    ({"SeriesDescription": "Hrudník boční"}, "SeriesDescription says lateral"),
    ({"SeriesDescription": "Thorax schräg"}, "SeriesDescription says oblique"),
    ({"SeriesDescription": "胸部斜位"}, "SeriesDescription says oblique"),
    ({"ProtocolName": "CHEST LAT"}, "ProtocolName says lateral"),
    (
        {"SeriesDescription": "CHEST PA AND LAT", "ProtocolName": "CHEST LAT"},
        "ProtocolName says lateral",
    ),
    (
        {"AcquisitionDeviceProcessingDescription": "CHEST,LATERAL"},
        "AcquisitionDeviceProcessingDescription says lateral",
    ),
    ({"StudyDescription": "Thorax seitl."}, "StudyDescription says lateral"),
    ({"ViewCodeSequence": code("399067008"), "ViewPosition": "PA"}, "ViewCodeSequence says lateral"),
    ({"ViewCodeSequence": code("R-10208", "SRT")}, "ViewCodeSequence says oblique"),
    ({"ViewCodeSequence": code("399255003")}, "ViewCodeSequence says submentovertical"),
    # Other parts.
    ({"AnatomicRegionSequence": code("72696002")}, "AnatomicRegionSequence says KNEE"),
    ({"AnatomicRegionSequence": code("T-D9200", "SRT")}, "AnatomicRegionSequence says KNEE"),
    ({"AnatomicRegionSequence": code("818981001")}, "AnatomicRegionSequence says ABDOMEN"),
    ({"AnatomicRegionSequence": code("T-D6000", "SRT")}, "AnatomicRegionSequence says PELVIS"),
    ({"AnatomicRegionSequence": code("122495006")}, "AnatomicRegionSequence says SPINE"),
    (
        {"BodyPartExamined": "SKULL", "ViewPosition": "PA", "SeriesDescription": "CHEST"},
        "BodyPartExamined says SKULL",
    ),
    ({"BodyPartExamined": "KNIE"}, "BodyPartExamined says KNEE"),
    ({"BodyPartExamined": "RODILLA"}, "BodyPartExamined says KNEE"),
    ({"BodyPartExamined": "GENOU"}, "BodyPartExamined says KNEE"),
    ({"BodyPartExamined": "MANO"}, "BodyPartExamined says HAND"),
    ({"BodyPartExamined": "MAIN"}, "BodyPartExamined says HAND"),
    ({"BodyPartExamined": "PIE"}, "BodyPartExamined says FOOT"),
    ({"BodyPartExamined": "BECKEN"}, "BodyPartExamined says PELVIS"),
    ({"BodyPartExamined": "BASSIN"}, "BodyPartExamined says PELVIS"),
    ({"BodyPartExamined": "SCHULTER"}, "BodyPartExamined says SHOULDER"),
    ({"BodyPartExamined": "COLUMNA DORSAL"}, "BodyPartExamined says SPINE"),
    ({"BodyPartExamined": "膝"}, "BodyPartExamined says KNEE"),
    ({"BodyPartExamined": "骨盤"}, "BodyPartExamined says PELVIS"),
    ({"BodyPartExamined": "腹部"}, "BodyPartExamined says ABDOMEN"),
    ({"BodyPartExamined": "手"}, "BodyPartExamined says HAND"),
    ({"BodyPartExamined": "胸椎"}, "BodyPartExamined says SPINE"),
    ({"BodyPartExamined": "무릎"}, "BodyPartExamined says KNEE"),
    ({"BodyPartExamined": "Коленный сустав"}, "BodyPartExamined says KNEE"),
    ({"SeriesDescription": "Kniegelenk a.p."}, "SeriesDescription says KNEE"),
    ({"SeriesDescription": "Main gauche face"}, "SeriesDescription says HAND"),
    ({"SeriesDescription": "Beckenübersicht"}, "SeriesDescription says PELVIS"),
    ({"SeriesDescription": "Schädel p.a."}, "SeriesDescription says SKULL"),
    ({"SeriesDescription": "Рентгенография грудного отдела позвоночника"}, "SeriesDescription says SPINE"),
    ({"SeriesDescription": "右肩 正面"}, "SeriesDescription says SHOULDER"),
    ({"SeriesDescription": "Bark prawy AP"}, "SeriesDescription says SHOULDER"),
    ({"SeriesDescription": "Foot of bed, HAND AP"}, "SeriesDescription says HAND"),
    ({"ProtocolName": "Pelvis AP"}, "ProtocolName says PELVIS"),
    (
        {"AcquisitionDeviceProcessingDescription": "SKULL"},
        "AcquisitionDeviceProcessingDescription says SKULL",
    ),
    ({"StudyDescription": "XR ABDOMEN"}, "StudyDescription says ABDOMEN"),
    ({"Modality": ["CT", "DX"]}, "Modality is CT"),
]


@pytest.mark.parametrize(("keywords", "reason"), TURNED_DOWN, ids=str)
def test_other_words_and_other_languages(keywords: dict[str, Any], reason: str) -> None:
    assert check_header(header(**keywords)).reason.startswith(reason)


def test_every_common_region_is_known_by_its_code() -> None:
    silent = {"38266002"}  # the entire body
    for concept in codes.cid4031.concepts.values():
        known = concept.value in CHEST_CODES or other_region(concept.value) or concept.value in silent
        assert known, concept


def test_every_view_is_known_by_its_code() -> None:
    for concept in codes.cid4010.concepts.values():
        assert concept.value in FRONTAL_VIEWS or other_view(concept.value), concept


def test_a_reason_never_quotes_a_description() -> None:
    reason = check_header(header(SeriesDescription="Nemo^Nobody knie 4711")).reason
    assert reason == "SeriesDescription says KNEE, not the chest"


KEYWORDS = (
    *("SOPClassUID", "Modality", "AnatomicalOrientationType", "PatientSpeciesDescription"),
    *("AnatomicRegionSequence", "BodyPartExamined", "ViewCodeSequence", "ViewPosition", "PatientPosition"),
    *("PatientOrientation", *DESCRIPTIONS, STUDY_DESCRIPTION),
)
ODD_VALUES: list[tuple[str, Any]] = [
    ("FL", 5.0),
    ("FL", [1.0, 2.0]),
    ("US", [3, 4]),
    ("LO", ["A", "B", "C"]),
    ("PN", "Nemo^Nobody"),
    ("SQ", []),
    ("SQ", code("1") + code("2")),
    ("DS", "1.5"),
]


@pytest.mark.parametrize("keyword", KEYWORDS)
@pytest.mark.parametrize(("representation", "value"), ODD_VALUES, ids=str)
def test_values_of_any_type_and_number_are_judged(keyword: str, representation: str, value: Any) -> None:
    dataset = Dataset()
    dataset[keyword] = DataElement(tag_for_keyword(keyword), representation, value)
    assert "Nemo" not in check_header(dataset).reason


@pytest.mark.parametrize("keyword", KEYWORDS)
@pytest.mark.parametrize(
    ("representation", "value"),
    [("UN", b"\xff\xfe\x00"), ("DS", b"a\\b"), ("SQ", b"not a sequence")],
    ids=str,
)
def test_values_that_pydicom_cannot_convert_say_nothing(
    keyword: str, representation: str, value: bytes
) -> None:
    dataset, tag = Dataset(), Tag(keyword)
    dataset._dict[tag] = RawDataElement(tag, representation, len(value), value, 0, False, True)
    check_header(dataset)
