"""Check whether a DICOM header excludes a frontal chest radiograph, and why.

Headers of real files are often incomplete and sometimes wrong. So missing information is no reason to skip a
file, but a single attribute that clearly names something else is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from pydicom.dataset import Dataset
from pydicom.uid import UID

from lungfield.errors import Reason
from lungfield.radiograph.header import codes
from lungfield.radiograph.header.terms import CHEST
from lungfield.radiograph.header.texts import part_in, views_in

VIEW_KEYWORDS = ("ViewPosition", "PatientPosition")
"""Attributes that name the view; some devices use PatientPosition, which is meant for CT."""

DESCRIPTIONS = ("SeriesDescription", "ProtocolName", "AcquisitionDeviceProcessingDescription")
STUDY_DESCRIPTION = "StudyDescription"
"""Free-text descriptions, of which the first that names something is used. StudyDescription comes last, as a
study may hold several views."""


@dataclass(frozen=True)
class HeaderCheck:
    """The result of the check of a header.

    Attributes:
        radiograph: False if the object is of another kind: a segmentation, a report, a CT.
        frontal_chest: False if the header names another view or body part.
        view: 'PA', 'AP' or 'frontal' if the header names it, else None.
        reason: why it is no frontal chest radiograph; empty if it may be one.
        code: the code of the reason, or None.
    """

    radiograph: bool = True
    frontal_chest: bool = True
    view: str | None = None
    reason: str = ""
    code: Reason | None = None


def check_header(header: Any) -> HeaderCheck:
    """Check kind, body part and view in a DICOM header (`pydicom.Dataset`).

    Specific attributes are checked first: AnatomicRegionSequence and BodyPartExamined for the part;
    ViewCodeSequence, ViewPosition, PatientPosition (which some devices use) and PatientOrientation for the
    view. A single one that names something else is enough. The descriptions of series, protocol, processing
    and study are used only if the specific attributes name nothing. SOPClassUID, Modality,
    AnatomicalOrientationType and PatientSpeciesDescription (animals) are checked too.

    It raises nothing: multiple values, values of another type, and values that pydicom cannot convert are
    read as far as possible. A reason names attributes and terms, never a text of the header.
    """
    other_object = _other_object(header)
    if other_object:
        return HeaderCheck(
            radiograph=False, frontal_chest=False, reason=other_object, code=Reason.OTHER_OBJECT
        )
    for contradicts, code in _CONTRADICTIONS:
        reason = contradicts(header)
        if reason:
            return HeaderCheck(frontal_chest=False, reason=reason, code=code)
    return HeaderCheck(view=_frontal_view(header))


def _other_object(header: Any) -> str:
    if "DirectoryRecordSequence" in header:
        return "a DICOMDIR lists other files; name its folder instead"
    meta = getattr(header, "file_meta", None) or {}
    classes = _values(header, "SOPClassUID") or _values(meta, "MediaStorageSOPClassUID")
    if not classes or any(one in codes.SOP_CLASSES for one in classes):
        return ""
    name = UID(classes[0]).name
    named = "of an unknown class" if name == classes[0] else f"a '{name}'"
    return f"the object is {named} (Modality {_modality(header) or 'absent'}), not a radiograph"


def _other_modality(header: Any) -> str:
    modality = _modality(header)
    if modality and modality not in codes.MODALITIES:
        return f"Modality is {modality}, not that of a radiograph"
    return ""


def _modality(header: Any) -> str:
    """The first known Modality; 'unknown' for any other text, which may be a patient's name."""
    values = [value.upper() for value in _values(header, "Modality")]
    known = next((value for value in values if value in codes.MODALITIES | codes.OTHER_MODALITIES), None)
    return known or ("unknown" if values else "")


def _animal(header: Any) -> str:
    species = _text(header, "PatientSpeciesDescription").upper()
    if "QUADRUPED" in _text(header, "AnatomicalOrientationType").upper() or (
        species and not re.search("HUMAN|HOMO SAPIENS", species)
    ):
        return "the patient is an animal (AnatomicalOrientationType or PatientSpeciesDescription)"
    return ""


def _other_part(header: Any) -> str:
    specific = {
        "AnatomicRegionSequence": [_region(*code) for code in _codes(header, "AnatomicRegionSequence")],
        "BodyPartExamined": [part_in(_text(header, "BodyPartExamined"), as_body_part=True)],
    }
    named_parts = {
        keyword: CHEST if CHEST in parts else next(filter(None, parts), "")
        for keyword, parts in specific.items()
    }
    for keyword, part in named_parts.items():
        if part not in ("", CHEST):
            return f"{keyword} says {part}, not the chest"
    if any(named_parts.values()):
        return ""
    for keyword in (*DESCRIPTIONS, STUDY_DESCRIPTION):
        part = part_in(_text(header, keyword))
        if part:
            return "" if part == CHEST else f"{keyword} says {part}, not the chest"
    return ""


def _region(code: str, meaning: str) -> str:
    if code in codes.CHEST_CODES:
        return CHEST
    return codes.other_region(code) or part_in(meaning, as_body_part=True)


def _other_view(header: Any) -> str:
    frontal = False
    for keyword, views in _specific_views(header):
        for frontal_views, other in views:
            if other and not frontal_views:
                return f"{keyword} says {other}, not frontal"
            frontal = frontal or bool(frontal_views)
    row, column = _directions(header)
    if {row, column} & {"A", "P"}:
        return f"PatientOrientation is {row}\\{column}: the plane is not frontal"
    if frontal:
        return ""
    for keyword in (*DESCRIPTIONS, STUDY_DESCRIPTION):
        frontal_views, other = views_in(_text(header, keyword))
        if frontal_views and not other:
            return ""
        if other and not frontal_views:  # 'PA and lateral' of a series says nothing of one image
            return f"{keyword} says {other}, not frontal"
    return ""


_CONTRADICTIONS = (
    (_other_modality, Reason.OTHER_OBJECT),
    (_animal, Reason.OTHER_OBJECT),
    (_other_part, Reason.OTHER_BODY_PART),
    (_other_view, Reason.OTHER_VIEW),
)
"""The checks for reasons against a frontal chest radiograph, in order of precedence."""


def _specific_views(header: Any) -> Iterator[tuple[str, list[tuple[set[str], str]]]]:
    """The frontal views and the other view that each specific attribute names."""
    yield "ViewCodeSequence", [_view(*code) for code in _codes(header, "ViewCodeSequence")]
    for keyword in VIEW_KEYWORDS:
        yield keyword, [views_in(_text(header, keyword))]


def _view(code: str, meaning: str) -> tuple[set[str], str]:
    if code in codes.FRONTAL_VIEWS:
        return {codes.FRONTAL_VIEWS[code]}, ""
    other = codes.other_view(code)
    return (set(), other) if other else views_in(meaning)


def _frontal_view(header: Any) -> str | None:
    for _, views in _specific_views(header):
        for frontal_views, _ in views:
            if frontal_views:
                return _one_of(frontal_views)
    for keyword in DESCRIPTIONS:
        frontal_views, _ = views_in(_text(header, keyword))
        if frontal_views:
            return _one_of(frontal_views)
    return "frontal" if set(_directions(header)) & {"L", "R"} else None


def _one_of(views: set[str]) -> str:
    """A single view from a set: PA or AP before 'frontal', but 'frontal' for PA and AP together."""
    sure = views - {"frontal"}
    return next(iter(sure)) if len(sure) == 1 else "frontal"


def directions(header: Any) -> tuple[str, str]:
    """The main directions of a row and a column of the picture from PatientOrientation (C.7.6.1.1.1).

    Each is one of A, P, R, L, H, F, or '' if it is not known.
    """
    value = header.get("PatientOrientation") or ""
    parts = [value] if isinstance(value, str) else list(value)
    if len(parts) != 2:
        return "", ""
    along_rows, along_columns = (str(part).strip().upper()[:1] for part in parts)
    return along_rows, along_columns


def _directions(header: Any) -> tuple[str, str]:
    """As `directions`; other letters, which may be part of a name, become '?'."""
    try:
        row, column = directions(header)
    except Exception:  # a value that pydicom cannot convert, or a number
        return "", ""
    return tuple(one if one in tuple("APRLHF") else "?" for one in (row, column))  # type: ignore[return-value]


def _codes(header: Any, keyword: str) -> Iterator[tuple[str, str]]:
    """The value and the meaning of each item of a code sequence."""
    for item in _raw_values(header, keyword):
        if isinstance(item, Dataset):
            values = (_text(item, name) for name in ("CodeValue", "LongCodeValue"))
            yield next(filter(None, values), ""), _text(item, "CodeMeaning")


def _text(header: Any, keyword: str) -> str:
    return " ".join(_values(header, keyword))


def _values(header: Any, keyword: str) -> list[str]:
    """The values of an attribute as stripped text, without empty ones."""
    texts = (
        one.decode("latin-1") if isinstance(one, bytes) else str(one)
        for one in _raw_values(header, keyword)
        if not isinstance(one, Dataset)
    )
    return [text for text in (one.strip(" \0\t\r\n") for one in texts) if text]


def _raw_values(header: Any, keyword: str) -> list[Any]:
    try:
        value = header.get(keyword)
    except Exception:  # pydicom converts values lazily, and can raise any exception
        return []
    if value is None:
        return []
    several = isinstance(value, Sequence) and not isinstance(value, (str, bytes))
    return list(value) if several else [value]
