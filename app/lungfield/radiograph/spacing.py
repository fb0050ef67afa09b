"""The distance between pixels, as far as a DICOM header can be believed."""

from __future__ import annotations

import math
from typing import Any

from lungfield.records import Spacing

MIN_MM = 0.01
MAX_MM = 5.0
MAX_RATIO = 2.0
MAX_MAGNIFICATION = 3.0
ATTRIBUTES = ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing")


def believable(row_mm: float, column_mm: float) -> bool:
    """Tell whether pixels of a radiograph can be that far apart."""
    sides = (row_mm, column_mm)
    return all(MIN_MM <= side <= MAX_MM for side in sides) and max(sides) <= MAX_RATIO * min(sides)


def read_spacing(header: Any) -> tuple[Spacing | None, tuple[str, ...]]:
    """Return the spacing of pixels in a DICOM header, or None, and remarks for the user.

    PixelSpacing holds in the patient, except where it repeats ImagerPixelSpacing without saying that it
    was calibrated: then nobody corrected anything (DICOM PS3.3, 10.7.1.3). ImagerPixelSpacing is the
    detector's; divided by EstimatedRadiographicMagnificationFactor it holds in the patient.
    NominalScannedPixelSpacing, of digitised film, is the last resort.
    """
    remarks: list[str] = []
    pairs = {name: _pair(header, name, remarks) for name in ATTRIBUTES}
    pixel, imager, scanned = (pairs[name] for name in ATTRIBUTES)
    calibrated = bool(header.get("PixelSpacingCalibrationType"))
    spacing = None
    if pixel and (calibrated or pixel != imager):
        spacing = Spacing(*pixel, source="PixelSpacing", plane="patient")
    elif imager:
        spacing = _at_imager(header, imager, remarks)
    elif scanned:
        spacing = Spacing(*scanned, source="NominalScannedPixelSpacing", plane="detector")
    return spacing, tuple(remarks)


def _pair(header: Any, name: str, remarks: list[str]) -> tuple[float, float] | None:
    """Return (row_mm, column_mm) of an attribute, or None if it is absent, empty or absurd."""
    if not header.get(name):
        return None
    try:
        row_mm, column_mm = (float(value) for value in header[name].value)
    except (TypeError, ValueError):
        row_mm = column_mm = math.nan
    if believable(row_mm, column_mm):
        return row_mm, column_mm
    remarks.append(f"{name} cannot be right and is ignored.")
    return None


def _at_imager(header: Any, imager: tuple[float, float], remarks: list[str]) -> Spacing:
    try:
        magnification = float(header.get("EstimatedRadiographicMagnificationFactor") or 1.0)
    except (TypeError, ValueError):
        magnification = math.nan
    if not 1.0 <= magnification <= MAX_MAGNIFICATION:
        remarks.append("EstimatedRadiographicMagnificationFactor cannot be right and is ignored.")
        magnification = 1.0
    row_mm, column_mm = imager
    return Spacing(
        row_mm / magnification,
        column_mm / magnification,
        source="ImagerPixelSpacing",
        plane="patient" if magnification > 1.0 else "detector",
    )
