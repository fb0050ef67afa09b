"""Whether a DICOM header speaks of a frontal chest radiograph, and if not, why.

Headers of real files are often silent and sometimes wrong. So what they do not say is no reason to turn
a file down, and one clear word of an attribute that is made for it is, whatever else the header says.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pydicom.multival import MultiValue
from pydicom.uid import UID

from lungfield.errors import Reason
from lungfield.radiograph import terms
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

MODALITIES = {"CR", "DX", "DR", "RG", "OT", "SC", "PX", "XR"}
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

FORMER_REGIONS = {
    **dict.fromkeys(("12921003", "T-D6000"), "PELVIS"),
    **dict.fromkeys(("113345001", "T-D4000"), "ABDOMEN"),
}
"""Codes that CID 4031 (DICOM PS3.16) had before, and files still have."""

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

DESCRIPTIONS = ("SeriesDescription", "ProtocolName", "AcquisitionDeviceProcessingDescription")
"""What people and devices write freely: it counts where the attributes made for it are silent."""


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

    Read are SOPClassUID, Modality, AnatomicalOrientationType and PatientSpeciesDescription (animals); for the
    part, AnatomicRegionSequence and BodyPartExamined; for the view, ViewCodeSequence, ViewPosition,
    PatientPosition (where views are found too) and PatientOrientation. Descriptions count only where these
    are silent (`DESCRIPTIONS`).
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
    modality = _modality(header)
    if modality and modality not in MODALITIES:
        return f"Modality is {modality}, not that of a radiograph"
    return ""


def _modality(header: Any) -> str:
    """Modality, to be told to the user: in a damaged header its place may hold the patient's name."""
    values = [terms.normalised(value) for value in _values(header, "Modality")]
    known = [value for value in values if value in MODALITIES | OTHER_MODALITIES]
    return known[0] if known else "unknown" if values else ""


def _animal(header: Any) -> str:
    species = _text(header, "PatientSpeciesDescription")
    human = "HUMAN" in species or "HOMO SAPIENS" in species
    if _text(header, "AnatomicalOrientationType") == "QUADRUPED" or (species and not human):
        return "the patient is an animal (AnatomicalOrientationType or PatientSpeciesDescription)"
    return ""


def _other_part(header: Any) -> str:
    regions = list(_codes(header, "AnatomicRegionSequence"))
    for code, scheme, meaning in regions:
        part = "" if code in CHEST_CODES else terms.other_part(meaning) or _region(code, scheme)
        if part:
            return f"AnatomicRegionSequence says {part}, not the chest"
    examined = _text(header, "BodyPartExamined")
    part = terms.other_part(examined)
    if part:
        return f"BodyPartExamined says {part}, not the chest"
    if terms.has_chest(examined) or any(code in CHEST_CODES for code, _, _ in regions):
        return ""
    for keyword in DESCRIPTIONS:
        part = terms.other_part(_text(header, keyword))
        if part:
            return f"{keyword} says {part}, not the chest"
    return ""


def _region(code: str, scheme: str) -> str:
    """The part that a code of CID 4031 (DICOM PS3.16) means, '' where it is the chest or unknown."""
    if code in FORMER_REGIONS:
        return FORMER_REGIONS[code]
    from pydicom.sr.codedict import codes  # on use: large tables
    from pydicom.sr.coding import Code

    # SNOMED-RT codes equal those of SNOMED CT for the same concept.
    wanted = Code(code, "SRT" if scheme in ("SRT", "SNM3", "99SDM") else "SCT", "region")
    concepts = codes.cid4031.concepts.values()
    meaning = next((terms.normalised(one.meaning) for one in concepts if one == wanted), "")
    return "" if terms.has_chest(meaning) and "SPINE" not in meaning else meaning


def _other_view(header: Any) -> str:
    for code, _, meaning in _codes(header, "ViewCodeSequence"):
        view = OTHER_VIEW_CODES.get(code) or ("" if code in FRONTAL_CODES else _other_view_in(meaning))
        if view:
            return f"ViewCodeSequence says {view}, not frontal"
    for keyword in ("ViewPosition", "PatientPosition"):
        view = _other_view_in(_text(header, keyword))
        if view:
            return f"{keyword} says {view}, not frontal"
    row, column = directions(header)
    if {row, column} & {"A", "P"}:
        return f"PatientOrientation is {row}\\{column}: the plane is not frontal"
    if _told_view(header) is None:
        for keyword in DESCRIPTIONS:
            view = _other_view_in(_text(header, keyword))
            if view:
                return f"{keyword} says {view}, not frontal"
    return ""


_CONTRADICTIONS = (
    (_other_modality, Reason.OTHER_OBJECT),
    (_animal, Reason.OTHER_OBJECT),
    (_other_part, Reason.OTHER_BODY_PART),
    (_other_view, Reason.OTHER_VIEW),
)
"""What speaks against a frontal chest radiograph, in the order in which it is told."""


def _other_view_in(text: str) -> str:
    if terms.find(tuple(terms.FRONTAL_WORDS), text):  # 'PA and lateral' of a series: not against it
        return ""
    lateral, oblique = terms.LATERAL_WORDS, terms.OBLIQUE_WORDS
    return "lateral" if terms.find(lateral, text) else "oblique" if terms.find(oblique, text) else ""


def _frontal_view(header: Any) -> str | None:
    told = _told_view(header)
    if told is not None:
        return told
    for keyword in DESCRIPTIONS:
        view = _frontal_view_in(_text(header, keyword))
        if view is not None:
            return view
    return "frontal" if set(directions(header)) & {"L", "R"} else None


def _told_view(header: Any) -> str | None:
    """The frontal view that the attributes made for it name, None where they are silent."""
    for code, _, _ in _codes(header, "ViewCodeSequence"):
        if code in FRONTAL_CODES:
            return FRONTAL_CODES[code]
    views = (_frontal_view_in(_text(header, keyword)) for keyword in ("ViewPosition", "PatientPosition"))
    return next((view for view in views if view is not None), None)


def _frontal_view_in(text: str) -> str | None:
    named = {view for term, view in terms.FRONTAL_WORDS.items() if terms.find((term,), text)}
    return named.pop() if len(named) == 1 else None


def _codes(header: Any, keyword: str) -> Iterator[tuple[str, str, str]]:
    """Value, scheme and normalised meaning of each item of a code sequence."""
    for item in header.get(keyword) or ():
        value, scheme = (
            str(item.get(name) or "").strip() for name in ("CodeValue", "CodingSchemeDesignator")
        )
        yield value, scheme, _text(item, "CodeMeaning")


def _text(header: Any, keyword: str) -> str:
    """The normalised text of an attribute, however many values it has."""
    return terms.normalised(" ".join(_values(header, keyword)))


def _values(header: Any, keyword: str) -> list[str]:
    value = header.get(keyword) or ""
    several = isinstance(value, (list, tuple, MultiValue))
    return [text for one in (value if several else [value]) if (text := str(one).strip())]
