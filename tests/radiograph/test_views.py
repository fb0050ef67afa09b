"""Which headers are taken for a frontal chest radiograph, and the reasons against the others."""

from __future__ import annotations

from typing import Any

import pytest
from pydicom import uid
from pydicom.dataset import Dataset

from lungfield.radiograph import judge_header

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
    verdict = judge_header(header(**keywords))
    assert verdict.radiograph
    assert verdict.frontal_chest
    assert verdict.reason == ""
    assert verdict.view == view


OTHERS: list[tuple[dict[str, Any], str]] = [
    ({"ViewPosition": "LL"}, "ViewPosition says lateral"),
    ({"ViewPosition": "LATERAL"}, "ViewPosition says lateral"),
    ({"ViewPosition": "RLO"}, "ViewPosition says oblique"),
    ({"PatientPosition": "LAT"}, "PatientPosition says lateral"),
    ({"SeriesDescription": "Thorax lat."}, "SeriesDescription says lateral"),
    ({"ViewPosition": "PA", "SeriesDescription": "CHEST LATERAL"}, "SeriesDescription says lateral"),
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
    verdict = judge_header(header(**keywords))
    assert verdict.radiograph
    assert not verdict.frontal_chest
    assert verdict.view is None
    assert reason in verdict.reason


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
    verdict = judge_header(header(SOPClassUID=sop_class, Modality=modality))
    assert not verdict.radiograph
    assert not verdict.frontal_chest
    assert modality in verdict.reason
