"""Which stored values are to be shown dark, as far as a DICOM header tells."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lungfield.radiograph.header.codes import CAPTURES


@dataclass(frozen=True)
class Polarity:
    """What makes the lungs dark.

    Attributes:
        inverted: high values are shown dark.
        linear: values are proportional to the X-ray intensity at the detector; a picture to look at needs
            their logarithm.
        told: whether the header says so without contradicting itself.
    """

    inverted: bool = False
    linear: bool = False
    told: bool = True


def read_polarity(header: Any) -> Polarity:
    """Return the polarity that a header of a MONOCHROME1 or MONOCHROME2 image asks for.

    - An image for processing is not meant to be shown: PixelIntensityRelationship and its sign say how its
      values follow the X-ray intensity, which is high behind the lungs (DICOM PS3.3, C.8.11.3.1.2).
    - Else PresentationLUTShape and PhotometricInterpretation say the same thing twice where both are there:
      IDENTITY with MONOCHROME2, INVERSE with MONOCHROME1 (C.8.11.3.1.2). MONOCHROME1 with IDENTITY is a known
      fault of devices, and MONOCHROME1 is then what was meant.
    """
    sign = _sign(header)
    relationship = _text(header, "PixelIntensityRelationship")
    for_processing = _text(header, "PresentationIntentType") == "FOR PROCESSING"
    if for_processing and sign and relationship in ("LIN", "LOG"):
        return Polarity(inverted=sign > 0, linear=relationship == "LIN")
    by_photometric = _text(header, "PhotometricInterpretation") == "MONOCHROME1"
    by_shape = {"IDENTITY": False, "INVERSE": True}.get(_text(header, "PresentationLUTShape"), by_photometric)
    inverted = by_photometric or by_shape
    lungs_dark = not sign or inverted == (sign > 0)
    captured = str(header.get("SOPClassUID") or "") in CAPTURES
    return Polarity(inverted, told=by_shape == by_photometric and lungs_dark and not captured)


def _sign(header: Any) -> int:
    """PixelIntensityRelationshipSign: 1 where higher values mean more X-rays, -1 for fewer, 0 if not told."""
    try:
        sign = int(header.get("PixelIntensityRelationshipSign") or 0)
    except (TypeError, ValueError):
        return 0
    return sign if sign in (-1, 1) else 0


def _text(header: Any, keyword: str) -> str:
    return str(header.get(keyword) or "").strip().upper()
