"""Headers of many countries and devices: frontal chest radiographs, and what is none."""

from __future__ import annotations

from typing import Any

import pytest
from pydicom import uid
from pydicom.dataset import Dataset

from lungfield.radiograph import check_header

pytestmark = pytest.mark.filterwarnings("ignore:Invalid value for VR", "ignore:The value length")


def header(**keywords: Any) -> Dataset:
    dataset = Dataset()
    dataset.SOPClassUID = uid.DigitalXRayImageStorageForPresentation
    dataset.Modality = "DX"
    for keyword, value in keywords.items():
        setattr(dataset, keyword, value)
    return dataset


def code(value: str, scheme: str = "SCT") -> list[Dataset]:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, ""
    return [item]


FRONTAL = [
    {"Modality": "DR"},
    {"Modality": ["CR", "DX"]},
    {"Modality": ["nonsense", "DX"]},
    {"Modality": "cr"},
    {"ViewPosition": "AP", "SeriesDescription": "CHEST LAT"},
    {"ViewPosition": "AP", "SeriesDescription": "Thorax AP / lat"},
    {"ViewPosition": "PA", "ProtocolName": "CHEST PA LAT"},
    {"ViewPosition": ["AP", ""], "SeriesDescription": "lateral"},
    {"ViewCodeSequence": code("399348003"), "SeriesDescription": "CHEST LATERAL"},
    {"BodyPartExamined": "CHEST", "SeriesDescription": "portable, foot of bed"},
    {"SeriesDescription": "AP portable head up 30"},
    {"SeriesDescription": "Foot of bed"},
    {"SeriesDescription": "AP SUPINE HEAD END"},
    {"SeriesDescription": "AP arms up"},
    {"SeriesDescription": "ARMS RAISED"},
    {"SeriesDescription": "FEET FIRST"},
    {"SeriesDescription": "Hand held bucky"},
    {"SeriesDescription": "legs down"},
    {"SeriesDescription": "Thorax im Bett, Kopf hoch"},
    {"SeriesDescription": "CHEST AND ABDOMEN AP"},
    {"SeriesDescription": "Thorax + Abdomen"},
    {"BodyPartExamined": "CHEST", "ProtocolName": "SHOULDER"},
    {"BodyPartExamined": "CHEST", "SeriesDescription": "neck line check"},
    {"AnatomicRegionSequence": code("816094009"), "SeriesDescription": "HAND"},
    {"AnatomicRegionSequence": code("51185008")},
    {"AnatomicRegionSequence": code("T-D3000", "SRT")},
    {"AnatomicRegionSequence": code("123456", "99LOCAL")},
    {"SeriesDescription": "Tórax PA"},
    {"SeriesDescription": "TORAX AP Y LATERAL"},
    {"SeriesDescription": "TÓRAX FRONTAL"},
    {"SeriesDescription": "Thorax de face"},
    {"SeriesDescription": "Poumons face"},
    {"SeriesDescription": "Torace AP a letto"},
    {"SeriesDescription": "Thorax p.a."},
    {"SeriesDescription": "Thorax a.p. im Liegen"},
    {"SeriesDescription": "Röntgen-Thorax"},
    {"SeriesDescription": "Longen PA"},
    {"SeriesDescription": "Klatka piersiowa PA"},
    {"SeriesDescription": "KLP AP"},
    {"SeriesDescription": "Hrudník"},
    {"SeriesDescription": "Göğüs PA"},
    {"SeriesDescription": "PA AKCİĞER GRAFİSİ"},
    {"SeriesDescription": "Грудная клетка прямая"},
    {"SeriesDescription": "ОГК"},
    {"SeriesDescription": "Лёгкие"},
    {"SeriesDescription": "胸部正面"},
    {"SeriesDescription": "胸部 立位 正面"},
    {"SeriesDescription": "胸部后前位"},
    {"SeriesDescription": "胸部側臥位"},
    {"SeriesDescription": "胸部侧卧位"},
    {"SeriesDescription": "흉부 정면"},
    {"SeriesDescription": "صدر"},
    {"SeriesDescription": "ＣＨＥＳＴ　ＰＡ"},
    {"SeriesDescription": "Lungs"},
    {"SeriesDescription": "Ribs upper AP"},
    {"SeriesDescription": "ALARM LEGACY HANDOVER"},
    {"SeriesDescription": "Platform A, Collateral"},
    {"SeriesDescription": "MAIN"},
    {"SeriesDescription": "W033 Thorax a.p."},
    {"ProtocolName": "Chest Wall Stand"},
    {"AcquisitionDeviceProcessingDescription": "CHEST PA"},
    {"AcquisitionDeviceProcessingDescription": "UNIQUE: S.00.01"},
    {"BodyPartExamined": "PORT CHEST"},
    {"BodyPartExamined": ["CHEST", "ABDOMEN"]},
    {"PatientPosition": "FFS"},
    {"PatientPosition": "HFS"},
]
"""Headers of frontal chest radiographs, or of what may be one."""


@pytest.mark.parametrize("keywords", FRONTAL, ids=str)
def test_frontal_chests_in_many_words(keywords: dict[str, Any]) -> None:
    check = check_header(header(**keywords))
    assert check.reason == ""
    assert check.frontal_chest


OTHERS = [
    ({"SeriesDescription": "TORAX PERFIL"}, "lateral"),
    ({"SeriesDescription": "Tórax lateral"}, "lateral"),
    ({"SeriesDescription": "Thorax de profil"}, "lateral"),
    ({"SeriesDescription": "Thorax seitlich"}, "lateral"),
    ({"SeriesDescription": "Torace latero-laterale"}, "lateral"),
    ({"SeriesDescription": "Thorax zijdelings"}, "lateral"),
    ({"SeriesDescription": "Klatka piersiowa boczne"}, "lateral"),
    ({"SeriesDescription": "Hrudník bočný"}, "lateral"),
    ({"SeriesDescription": "Грудная клетка боковая"}, "lateral"),
    ({"SeriesDescription": "胸部側面"}, "lateral"),
    ({"SeriesDescription": "胸部侧位"}, "lateral"),
    ({"SeriesDescription": "胸部側位"}, "lateral"),
    ({"SeriesDescription": "흉부 측면"}, "lateral"),
    ({"SeriesDescription": "صدر جانبي"}, "lateral"),
    ({"SeriesDescription": "胸部斜位"}, "oblique"),
    ({"SeriesDescription": "Thorax schräg"}, "oblique"),
    ({"ProtocolName": "Chest LAT"}, "lateral"),
    ({"ProtocolName": "Thorax seitl. Lateral"}, "lateral"),
    ({"AcquisitionDeviceProcessingDescription": "CHEST LATERAL"}, "lateral"),
    ({"ViewPosition": ["LAT", "L"]}, "lateral"),
    ({"AnatomicRegionSequence": code("72696002")}, "KNEE"),
    ({"AnatomicRegionSequence": code("85562004")}, "HAND"),
    ({"AnatomicRegionSequence": code("T-D9200", "SRT")}, "KNEE"),
    ({"AnatomicRegionSequence": code("T-D6000", "SRT")}, "PELVIS"),
    ({"AnatomicRegionSequence": code("122495006")}, "SPINE"),
    ({"BodyPartExamined": "SKULL", "ViewPosition": "PA", "SeriesDescription": "CHEST PA"}, "SKULL"),
    ({"BodyPartExamined": ["HAND", "WRIST"]}, "HAND"),
    ({"SeriesDescription": "Knie links"}, "KNEE"),
    ({"SeriesDescription": "Rodilla AP"}, "KNEE"),
    ({"SeriesDescription": "Genou face"}, "KNEE"),
    ({"SeriesDescription": "Ginocchio"}, "KNEE"),
    ({"SeriesDescription": "Joelho AP"}, "KNEE"),
    ({"SeriesDescription": "膝関節 正面"}, "KNEE"),
    ({"SeriesDescription": "Mano derecha"}, "HAND"),
    ({"SeriesDescription": "Кисть правая"}, "HAND"),
    ({"SeriesDescription": "Becken a.p."}, "PELVIS"),
    ({"SeriesDescription": "Bassin face"}, "PELVIS"),
    ({"SeriesDescription": "骨盤 正面"}, "PELVIS"),
    ({"SeriesDescription": "Abdomen im Stehen"}, "ABDOMEN"),
    ({"SeriesDescription": "腹部 立位"}, "ABDOMEN"),
    ({"SeriesDescription": "Hombro AP"}, "SHOULDER"),
    ({"SeriesDescription": "Schulter a.p."}, "SHOULDER"),
    ({"SeriesDescription": "Épaule face"}, "SHOULDER"),
    ({"SeriesDescription": "Schädel p.a."}, "SKULL"),
    ({"SeriesDescription": "Fuß links"}, "FOOT"),
    ({"SeriesDescription": "腰椎 正面"}, "SPINE"),
    ({"SeriesDescription": "胸椎 正面"}, "SPINE"),
    ({"SeriesDescription": "BWS a.p."}, "SPINE"),
    ({"SeriesDescription": "Columna AP"}, "SPINE"),
    ({"ProtocolName": "Hand PA"}, "HAND"),
    ({"AcquisitionDeviceProcessingDescription": "KNEE AP"}, "KNEE"),
    ({"Modality": ["US", "CR"]}, "Modality is US"),
]
"""Headers of other views and of other parts of the body."""


@pytest.mark.parametrize(("keywords", "reason"), OTHERS, ids=str)
def test_other_views_and_parts_in_many_words(keywords: dict[str, Any], reason: str) -> None:
    check = check_header(header(**keywords))
    assert check.radiograph
    assert not check.frontal_chest
    assert reason in check.reason


@pytest.mark.parametrize(
    "keyword", ["BodyPartExamined", "ViewPosition", "SeriesDescription", "PatientOrientation"]
)
@pytest.mark.parametrize("value", [["A", "B", "C"], [], "", ["", ""], "\x00\x01", "x" * 5000], ids=str)
def test_odd_values_never_stop_the_judgement(keyword: str, value: Any) -> None:
    assert check_header(header(**{keyword: value})).radiograph
