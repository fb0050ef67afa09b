"""The coded concepts of the measurements, for structured reports and messages."""

from __future__ import annotations

from lungfield.labels import Code

PROCEDURE = Code("399208008", "SCT", "Plain X-ray of chest")
# Concepts of CID 7469, which holds the areas and lengths of CID 7470 and CID 7471.
AREA = Code("42798000", "SCT", "Area")
HEIGHT = Code("121207", "DCM", "Height")
WIDTH = Code("103355008", "SCT", "Width")
SQUARE_MILLIMETRE = Code("mm2", "UCUM", "square millimeter")
MILLIMETRE = Code("mm", "UCUM", "mm")
PIXELS = Code("{pixels}", "UCUM", "pixels")
NO_UNITS = Code("1", "UCUM", "no units")
# Derivations: CID 7464.
MEAN = Code("373098007", "SCT", "Mean")
STANDARD_DEVIATION = Code("386136009", "SCT", "Standard Deviation")

PRIVATE_SCHEME = "99LUNGFIELD"
# DICOM has no code for the displayed grey value as a fraction of white.
RELATIVE_DENSITY = Code("relative-density", PRIVATE_SCHEME, "Displayed grey, 0 black to 1 white")
# Nor has it codes for these on radiographs: its ratios of heart and thorax (CID 12279) are of circumferences
# and areas in fetal ultrasound, and so is its Transverse Thoracic Diameter (LN 11864-6).
CARDIOTHORACIC_RATIO = Code("cardiothoracic-ratio", PRIVATE_SCHEME, "Cardiothoracic ratio")
THORACIC_WIDTH = Code("thoracic-width", PRIVATE_SCHEME, "Greatest inner width of the thorax")
COSTOPHRENIC_POINT = Code(
    "costophrenic-point", PRIVATE_SCHEME, "Lowest point of the lateral half of the lung"
)

PLANE_COMMENTS = {
    "detector": "Lengths and areas in mm are in the plane of the detector; in the patient they are smaller.",
    "unknown": "It is not known whether lengths and areas in mm are in the patient or at the detector.",
    None: "The pixel spacing is not known: areas and lengths are in pixels.",
}
AP_COMMENT = "The view is AP, in which the cardiothoracic ratio is larger than in a PA view."


def no_ratio_comment(reason: str) -> str:
    """The comment for a missing cardiothoracic ratio; `reason` is a `lungfield.mask.NoRatio`."""
    return f"No cardiothoracic ratio was measured: {reason}."
