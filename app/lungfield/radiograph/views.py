"""Whether a DICOM header speaks of a frontal chest radiograph, and if not, why.

Headers of real files are often silent and sometimes wrong. So what they do not say is no reason to turn
a file down, and one clear word against a frontal chest radiograph is, whatever else the header says.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pydicom.uid import UID

from lungfield.errors import Reason
from lungfield.radiograph.orientation import directions

SOP_CLASSES = {
    "1.2.840.10008.5.1.4.1.1.1": "Computed Radiography",
    "1.2.840.10008.5.1.4.1.1.1.1": "Digital X-Ray, for presentation",
    "1.2.840.10008.5.1.4.1.1.1.1.1": "Digital X-Ray, for processing",
    "1.2.840.10008.5.1.4.1.1.7": "Secondary Capture",
    "1.2.840.10008.5.1.4.1.1.7.2": "Multi-frame Grayscale Byte Secondary Capture",
    "1.2.840.10008.5.1.4.1.1.7.3": "Multi-frame Grayscale Word Secondary Capture",
    "1.2.840.10008.5.1.4.1.1.7.4": "Multi-frame True Color Secondary Capture",
}
"""Storage classes that can hold a radiograph (DICOM PS3.4, B.5)."""

MODALITIES = {"CR", "DX", "RG", "OT", "SC", "PX", "XR"}
"""Modalities of plain radiographs, of scanned film and of captures (DICOM PS3.3, C.7.3.1.1.1)."""

OTHER_MODALITIES = {
    "AU", "BI", "BMD", "CT", "DOC", "ECG", "EPS", "ES", "FID", "GM", "HD", "IO", "IVOCT", "IVUS",
    "KER", "KO", "LEN", "M3D", "MG", "MR", "NM", "OAM", "OP", "OPM", "OPT", "OPV", "PLAN", "PR",
    "PT", "REG", "RF", "RTDOSE", "RTIMAGE", "RTPLAN", "RTRECORD", "RTSTRUCT", "RWV", "SEG", "SM",
    "SMR", "SR", "STAIN", "US", "VA", "XA", "XC",
}  # fmt: skip
"""Other modalities (DICOM PS3.3, C.7.3.1.1.1)."""

CHEST_CODES = {"816094009", "51185008", "43799004", "39607008", "113197003", "T-D3000", "T-28000", "T-11300"}
"""Chest, thorax, thoracic cavity, lung and ribs, in SNOMED CT and in the older SRT (PS3.16, CID 4031)."""

FRONTAL_CODES = {
    "272479007": "PA",
    "R-10214": "PA",
    "R-40888": "PA",
    "399348003": "AP",
    "R-10206": "AP",
    "399033003": "frontal",
    "R-10202": "frontal",
}
OTHER_VIEW_CODES = {
    **dict.fromkeys(("399067008", "R-102CD", "399352003", "R-10228", "399260004", "R-10224"), "lateral"),
    **dict.fromkeys(("399173006", "R-10236"), "left lateral"),
    **dict.fromkeys(("399198007", "R-10232"), "right lateral"),
    **dict.fromkeys(("399182000", "R-102C1", "399160007", "R-10204", "260427002", "R-40783"), "oblique"),
    **dict.fromkeys(("399135007", "R-10220", "399184004", "R-10238", "399006002", "R-10212"), "left oblique"),
    **dict.fromkeys(
        ("399356000", "R-40985", "399236003", "R-10234", "399038007", "R-10210"), "right oblique"
    ),
    **dict.fromkeys(("399061009", "R-10241"), "axial"),
}
"""Views in SNOMED CT and in the older SRT (DICOM PS3.16, CID 4010)."""

FRONTAL_WORDS = {
    **dict.fromkeys(("PA", "POSTEROANTERIOR"), "PA"),
    **dict.fromkeys(("AP", "ANTEROPOSTERIOR"), "AP"),
    **dict.fromkeys(("FRONTAL", "RLD", "LLD", "DECUBITUS", "DECUB"), "frontal"),
}
LATERAL_WORDS = {"LATERAL", "LAT", "LATERALE", "SEITLICH", "PROFIL", "LL", "RL", "LLAT", "RLAT", "LATERO"}
OBLIQUE_WORDS = {"OBLIQUE", "OBL", "OBLIQ", "LAO", "RAO", "LPO", "RPO", "LLO", "RLO"}
CHEST_STEMS = ("CHEST", "THORA", "TORAX", "TORAC", "THX", "LUNG", "PULMO", "RIB", "CXR", "POUMON")
OTHER_PART_STEMS = (
    "ABDOMEN", "ANKLE", "ARM", "BREAST", "CALCANEUS", "CLAVICLE", "COCCYX", "ELBOW", "EXTREMITY", "FEMUR",
    "FIBULA", "FINGER", "FOOT", "FOREARM", "HAND", "HEAD", "HEEL", "HIP", "HUMERUS", "JAW", "KNEE", "KUB",
    "LEG", "MANDIBLE", "NECK", "ORBIT", "PATELLA", "PELVIS", "RADIUS", "SACRUM", "SCAPULA", "SHOULDER",
    "SINUS", "SKULL", "STERNUM", "TEETH", "THIGH", "THUMB", "TIBIA", "TOE", "TOOTH", "ULNA", "WRIST",
    "ZYGOMA",
)  # fmt: skip
"""Starts of other body parts' names (DICOM PS3.16, annex L)."""


@dataclass(frozen=True)
class Verdict:
    """What a header says about an image.

    Attributes:
        radiograph: False where the object is of another kind altogether: a segmentation, a report, a CT.
        frontal_chest: False where the header says that the view or the body part is another one.
        view: 'PA', 'AP' or 'frontal' where the header says so, else None.
        reason: why it is not a frontal chest radiograph; empty where it is one, or may be.
        code: the code of that reason, or None.
    """

    radiograph: bool = True
    frontal_chest: bool = True
    view: str | None = None
    reason: str = ""
    code: Reason | None = None


def judge_header(header: Any) -> Verdict:
    """Return what a DICOM header (`pydicom.Dataset`) says about kind, body part and view.

    Read are SOPClassUID, Modality, AnatomicalOrientationType and PatientSpeciesDescription (animals),
    AnatomicRegionSequence, BodyPartExamined, ViewCodeSequence, ViewPosition, PatientPosition (where views
    are found too), PatientOrientation, and the words of SeriesDescription.
    """
    other_object = _other_object(header)
    if other_object:
        return Verdict(radiograph=False, frontal_chest=False, reason=other_object, code=Reason.OTHER_OBJECT)
    for contradicts, code in _CONTRADICTIONS:
        reason = contradicts(header)
        if reason:
            return Verdict(frontal_chest=False, reason=reason, code=code)
    return Verdict(view=_frontal_view(header))


def _other_object(header: Any) -> str:
    if "DirectoryRecordSequence" in header:
        return "a DICOMDIR lists other files; name its folder instead"
    meta = getattr(header, "file_meta", None) or {}
    sop_class = UID(str(header.get("SOPClassUID") or meta.get("MediaStorageSOPClassUID") or ""))
    if not sop_class or sop_class in SOP_CLASSES:
        return ""
    name = "of another class" if sop_class.name == sop_class else f"a '{sop_class.name}'"
    return f"the object is {name} (Modality {_modality(header) or 'absent'}), not a radiograph"


def _other_modality(header: Any) -> str:
    modality = _text(header, "Modality")
    if modality and modality not in MODALITIES:
        return f"Modality is {_modality(header)}, not that of a radiograph"
    return ""


def _modality(header: Any) -> str:
    """Modality, to be told to the user: in a damaged header its place may hold the patient's name."""
    modality = _text(header, "Modality")
    return modality if not modality or modality in MODALITIES | OTHER_MODALITIES else "unknown"


def _animal(header: Any) -> str:
    species = _text(header, "PatientSpeciesDescription")
    if _text(header, "AnatomicalOrientationType") == "QUADRUPED" or (
        species and not re.search("HUMAN|HOMO SAPIENS", species)
    ):
        return "the patient is an animal (AnatomicalOrientationType or PatientSpeciesDescription)"
    return ""


def _other_part(header: Any) -> str:
    for code, meaning in _codes(header, "AnatomicRegionSequence"):
        part = "" if code in CHEST_CODES else _other_part_in(meaning)
        if part:
            return f"AnatomicRegionSequence says {part}, not the chest"
    part = _other_part_in(_text(header, "BodyPartExamined"))
    if part:
        return f"BodyPartExamined says {part}, not the chest"
    part = _other_part_in(_text(header, "SeriesDescription"))
    if part and not _has_chest(_text(header, "BodyPartExamined")):
        return f"SeriesDescription says {part}, not the chest"
    return ""


def _other_part_in(text: str) -> str:
    """Return the other body part that a text names, or '' if it names none or the chest as well."""
    joined = re.sub("[^A-Z]", "", text)
    if "SPINE" in joined:
        return "SPINE"
    if _has_chest(text):
        return ""
    words = _words(text)
    return next((stem for stem in OTHER_PART_STEMS if any(_is_part(word, stem) for word in words)), "")


def _is_part(word: str, stem: str) -> bool:
    # Short names, such as ARM or LEG, also begin other words.
    return word in (stem, stem + "S") if len(stem) < 5 else word.startswith(stem)


def _has_chest(text: str) -> bool:
    return any(stem in text for stem in CHEST_STEMS)


def _other_view(header: Any) -> str:
    for code, meaning in _codes(header, "ViewCodeSequence"):
        view = OTHER_VIEW_CODES.get(code) or _other_view_in(meaning)
        if view:
            return f"ViewCodeSequence says {view}, not frontal"
    for keyword in ("ViewPosition", "PatientPosition", "SeriesDescription"):
        view = _other_view_in(_text(header, keyword))
        if view:
            return f"{keyword} says {view}, not frontal"
    row, column = directions(header)
    if {row, column} & {"A", "P"}:
        return f"PatientOrientation is {row}\\{column}: the plane is not frontal"
    return ""


_CONTRADICTIONS = (
    (_other_modality, Reason.OTHER_OBJECT),
    (_animal, Reason.OTHER_OBJECT),
    (_other_part, Reason.OTHER_BODY_PART),
    (_other_view, Reason.OTHER_VIEW),
)
"""What speaks against a frontal chest radiograph, in the order in which it is told."""


def _other_view_in(text: str) -> str:
    words = set(_words(text))
    if words & FRONTAL_WORDS.keys():  # 'PA and lateral' of a series, 'lateral decubitus': not against it
        return ""
    return "lateral" if words & LATERAL_WORDS else "oblique" if words & OBLIQUE_WORDS else ""


def _frontal_view(header: Any) -> str | None:
    for code, _ in _codes(header, "ViewCodeSequence"):
        if code in FRONTAL_CODES:
            return FRONTAL_CODES[code]
    for keyword in ("ViewPosition", "PatientPosition", "SeriesDescription"):
        words = _words(_text(header, keyword))
        named = {FRONTAL_WORDS[word] for word in words if word in FRONTAL_WORDS}
        if len(named) == 1:
            return named.pop()
    return "frontal" if set(directions(header)) & {"L", "R"} else None


def _codes(header: Any, keyword: str) -> Iterator[tuple[str, str]]:
    """The value and the meaning, in capitals, of each item of a code sequence."""
    for item in header.get(keyword) or ():
        yield str(item.get("CodeValue") or "").strip(), _text(item, "CodeMeaning")


def _text(header: Any, keyword: str) -> str:
    return str(header.get(keyword) or "").strip().upper()


def _words(text: str) -> list[str]:
    """The words of a text in capitals; 'A.P.' is one."""
    return re.findall("[A-Z]+", re.sub(r"\b([A-Z])\.(?=[A-Z]\b)", r"\1", text))
