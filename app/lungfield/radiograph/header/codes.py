"""The DICOM codes of objects, body parts and views.

SNOMED CT (SCT) and the older SRT codes are included. Only the code is compared, as its meaning is free text.
"""

from __future__ import annotations

import re
from functools import lru_cache

from pydicom import uid

CAPTURES = {
    uid.SecondaryCaptureImageStorage,
    uid.MultiFrameGrayscaleByteSecondaryCaptureImageStorage,
    uid.MultiFrameGrayscaleWordSecondaryCaptureImageStorage,
    uid.MultiFrameTrueColorSecondaryCaptureImageStorage,
}
"""Captures of a screen or of film, in which the lungs may be dark or bright."""

SOP_CLASSES = CAPTURES | {
    uid.ComputedRadiographyImageStorage,
    uid.DigitalXRayImageStorageForPresentation,
    uid.DigitalXRayImageStorageForProcessing,
}
"""Storage classes that can hold a radiograph (DICOM PS3.4, B.5)."""

MODALITIES = {"CR", "DR", "DX", "RG", "OT", "SC", "PX", "XR"}
"""Modalities of plain radiographs, of scanned film and of captures (DICOM PS3.3, C.7.3.1.1.1).

DR and XR are not defined terms, but some devices write them for DX.
"""

OTHER_MODALITIES = {
    "AU", "BI", "BMD", "CT", "DOC", "ECG", "EPS", "ES", "FID", "GM", "HD", "IO", "IVOCT", "IVUS",
    "KER", "KO", "LEN", "M3D", "MG", "MR", "NM", "OAM", "OP", "OPM", "OPT", "OPV", "PLAN", "PR",
    "PT", "REG", "RF", "RTDOSE", "RTIMAGE", "RTPLAN", "RTRECORD", "RTSTRUCT", "RWV", "SEG", "SM",
    "SMR", "SR", "STAIN", "US", "VA", "XA", "XC",
}  # fmt: skip
"""Other modalities (DICOM PS3.3, C.7.3.1.1.1)."""

CHEST_CODES = {
    *("816094009", "51185008", "T-D3000"),  # chest
    *("43799004", "T-D3200", "72410000", "T-D3300"),  # thoracic cavity, mediastinum
    *("39607008", "T-28000", "86598002", "T-280A0"),  # lung and its apex
    *("955009", "T-26000", "44567001", "T-25000"),  # bronchus, trachea
    *("80891009", "T-32000", "113197003", "T-11300"),  # heart, rib
    *("417437006", "416152001", "416319003", "416550000", "416775004"),  # the chest with its neighbours
    *("R-FAB52", "R-FAB53", "R-FAB54", "R-FAB55", "R-FAB56"),
}
"""The chest, what lies in it, and regions that include it (DICOM PS3.16, CID 4031)."""

_FORMER_REGIONS = {
    "113345001": "ABDOMEN",
    "T-D4000": "ABDOMEN",
    "12921003": "PELVIS",
    "T-D6000": "PELVIS",
}
"""Codes of earlier editions of CID 4031."""

FRONTAL_VIEWS = {
    **dict.fromkeys(("272479007", "R-10214", "R-40888"), "PA"),
    **dict.fromkeys(("399348003", "R-10206"), "AP"),
    **dict.fromkeys(("399033003", "R-10202"), "frontal"),
}


def other_region(code: str) -> str:
    """The name of a region other than the chest (DICOM PS3.16, CID 4031); '' for an unknown code.

    The entire body is not included, as a radiograph of a newborn may show it.
    """
    name = _FORMER_REGIONS.get(code) or _meaning(code, 4031).upper()
    if "SPINE" in name or "VERTEBRAL COLUMN" in name:
        return "SPINE"
    return "" if name == "ENTIRE BODY" else name


def other_view(code: str) -> str:
    """The name of a view that is not frontal (DICOM PS3.16, CID 4010); '' for an unknown code."""
    name = _meaning(code, 4010).lower()
    return re.sub("(left |right )?.*oblique.*", r"\1oblique", name)


@lru_cache(maxsize=1024)
def _meaning(code: str, context_group: int) -> str:
    """The meaning of a code in a context group; '' if it is not in the group."""
    # Imported on use: the import is slow, and most codes are those of a frontal chest radiograph.
    from pydicom.sr.codedict import Code, codes

    wanted = Code(code, "SRT" if code[:1].isalpha() else "SCT", "")
    known = getattr(codes, f"cid{context_group}").concepts.values()
    return next((str(concept.meaning) for concept in known if concept == wanted), "")
