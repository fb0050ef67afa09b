"""Find the polarity of the stored values in a DICOM header."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lungfield.radiograph.header.codes import CAPTURES


@dataclass(frozen=True)
class Polarity:
    """The relation of stored values to displayed grey values.

    Attributes:
        inverted: high values are displayed dark.
        linear: values are proportional to the X-ray intensity at the detector, and are displayed by their
            logarithm.
        is_known: whether the header gives the polarity without a contradiction.
    """

    inverted: bool
    linear: bool = False
    is_known: bool = True


def read_polarity(header: Any) -> Polarity:
    """Read the polarity from the header of a MONOCHROME1 or MONOCHROME2 image.

    - In an image 'FOR PROCESSING', PixelIntensityRelationship and its sign describe how values depend on the
      X-ray intensity, which is high behind the lungs (DICOM PS3.3, C.8.11.3.1.2).
    - Otherwise PresentationLUTShape and PhotometricInterpretation give the polarity redundantly: IDENTITY
      with MONOCHROME2, INVERSE with MONOCHROME1 (C.8.11.3.1.2). MONOCHROME1 with IDENTITY is a known error
      of devices; MONOCHROME1 is then used.
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
    return Polarity(inverted, is_known=by_shape == by_photometric and lungs_dark and not captured)


def _sign(header: Any) -> int:
    """PixelIntensityRelationshipSign: 1 if higher values mean more X-rays, -1 for fewer, 0 if missing."""
    try:
        sign = int(header.get("PixelIntensityRelationshipSign") or 0)
    except (TypeError, ValueError):
        return 0
    return sign if sign in (-1, 1) else 0


def _text(header: Any, keyword: str) -> str:
    return str(header.get(keyword) or "").strip().upper()
