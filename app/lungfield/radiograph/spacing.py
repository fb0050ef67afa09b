"""Read the pixel spacing from a DICOM header, with checks for plausibility."""

from __future__ import annotations

import math
from typing import Any

from lungfield.records import Spacing

MIN_MM = 0.01
MAX_MM = 5.0
MAX_RATIO = 2.0
MAX_DIFFERENCE = 0.005
MAX_MAGNIFICATION = 3.0
ATTRIBUTES = ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing")


def is_plausible_spacing(row_mm: float, column_mm: float) -> bool:
    """Whether a pixel spacing in mm is plausible for a radiograph."""
    sides = (row_mm, column_mm)
    return all(MIN_MM <= side <= MAX_MM for side in sides) and max(sides) <= MAX_RATIO * min(sides)


def read_spacing(header: Any) -> tuple[Spacing | None, tuple[str, ...]]:
    """Read the pixel spacing from a DICOM header; return it or None, and remarks for the user.

    PixelSpacing is in the patient's plane if PixelSpacingCalibrationType is present, or if it differs from
    ImagerPixelSpacing and so was calibrated (DICOM PS3.3, 10.7.1.3). If it equals ImagerPixelSpacing, perhaps
    rounded, it is in the detector's plane; if it is alone, its plane is unknown. ImagerPixelSpacing is in the
    detector's plane; divided by EstimatedRadiographicMagnificationFactor it is in the patient's plane.
    NominalScannedPixelSpacing, of digitised film, is used last.
    """
    remarks: list[str] = []
    pairs = {name: _pair(header, name, remarks) for name in ATTRIBUTES}
    pixel, imager, scanned = (pairs[name] for name in ATTRIBUTES)
    calibrated = bool(header.get("PixelSpacingCalibrationType"))
    spacing = None
    if pixel and (calibrated or not imager or not _repeats(pixel, imager)):
        plane = "patient" if calibrated or imager else "unknown"
        spacing = Spacing(*pixel, source="PixelSpacing", plane=plane)
    elif imager:
        spacing = _at_imager(header, imager, remarks)
    elif scanned:
        spacing = Spacing(*scanned, source="NominalScannedPixelSpacing", plane="detector")
    return spacing, tuple(remarks)


def read_pixel_aspect(header: Any) -> float:
    """The height / width of a pixel (PixelAspectRatio; PS3.3, C.7.6.3.1.7); 1 if not known."""
    try:
        height, width = (int(value) for value in header.PixelAspectRatio)
    except (AttributeError, TypeError, ValueError):
        return 1.0
    return height / width if height > 0 and width > 0 and is_plausible_spacing(height / width, 1.0) else 1.0


def _repeats(pixel: tuple[float, float], imager: tuple[float, float]) -> bool:
    """Whether PixelSpacing equals ImagerPixelSpacing, perhaps rounded."""
    return all(
        abs(one - other) <= MAX_DIFFERENCE * other or any(one == round(other, digits) for digits in (2, 3))
        for one, other in zip(pixel, imager, strict=True)
    )


def _pair(header: Any, name: str, remarks: list[str]) -> tuple[float, float] | None:
    """(row_mm, column_mm) of an attribute; None if it is absent, empty or implausible."""
    if not header.get(name):
        return None
    try:
        row_mm, column_mm = (float(value) for value in header[name].value)
    except (TypeError, ValueError):
        row_mm = column_mm = math.nan
    if is_plausible_spacing(row_mm, column_mm):
        return row_mm, column_mm
    remarks.append(f"{name} is implausible and is ignored.")
    return None


def _at_imager(header: Any, imager: tuple[float, float], remarks: list[str]) -> Spacing:
    try:
        magnification = float(header.get("EstimatedRadiographicMagnificationFactor") or 1.0)
    except (TypeError, ValueError):
        magnification = math.nan
    if not 1.0 <= magnification <= MAX_MAGNIFICATION:
        remarks.append("EstimatedRadiographicMagnificationFactor is implausible and is ignored.")
        magnification = 1.0
    row_mm, column_mm = imager
    return Spacing(
        row_mm / magnification,
        column_mm / magnification,
        source="ImagerPixelSpacing",
        plane="patient" if magnification > 1.0 else "detector",
    )
