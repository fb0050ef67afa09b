"""The columns of a report: their titles, units and numbers of digits."""

from __future__ import annotations

from dataclasses import dataclass

from lungfield.labels import CLAVICLES, HEART
from lungfield.mask.metrics import DISTANCES, RATIOS

MAIN = (
    "file",
    "status",
    "reason_code",
    "flags",
    "confidence",
    "cardiothoracic_ratio",
    "ctr_reason",
    "dice",
    "iou",
    "hd95_mm",
    "hd95_px",
    "right_lung_area_mm2",
    "left_lung_area_mm2",
    "total_area_mm2",
    "right_lung_area_px",
    "left_lung_area_px",
    "total_area_px",
    "seconds",
)
"""The columns that the report's table shows by default, in this order."""

_WHOLE_MASKS = tuple(f"{label.name}_{kind}" for kind in ("mask", "nifti") for label in (HEART, *CLAVICLES))
OUTPUTS = ("overlay", "preview", "mask", "nifti", *_WHOLE_MASKS, "seg", "sr", "sc")
"""The columns with paths of output files."""

_UNITS = {"mm2": ("mm²", 0), "mm": ("mm", 1), "px": ("px", 0)}
_TITLES = {
    "input": "Order of input",
    "iou": "IoU",
    "mean_iou": "Mean IoU",
    "hd95": "HD95",
    "assd": "ASSD",
    "lungfield": "lungfield",
    "monai": "MONAI",
    "nifti": "NIfTI",
    "preview": "Layers (SVG)",
    "sc": "Secondary Capture",
    "seg": "DICOM SEG",
    "sr": "Structured Report",
    "ctr_reason": "No ratio, because",
    "torch": "PyTorch",
    "seconds": "Time",
}
_SPECIAL_DIGITS = {
    "confidence": 2,
    "cardiothoracic_ratio": 2,
    "seconds": 2,
    "row_spacing_mm": 4,
    "column_spacing_mm": 4,
}


@dataclass(frozen=True)
class Column:
    """One column of the results.

    Attributes:
        name: as in the tables, with the unit: `right_lung_area_mm2`.
        title: for people, without the unit: 'Right lung area'.
        unit: 'mm²', 'mm', 'px', 's' or ''.
        digits: number of digits after the decimal point; None to show values unchanged.
    """

    name: str
    title: str
    unit: str
    digits: int | None

    @property
    def heading(self) -> str:
        """Title and unit."""
        return f"{self.title} ({self.unit})" if self.unit else self.title

    def show(self, value: float | None) -> str:
        """A value of this column as text, with a thousands separator; a dash for None."""
        if value is None or value != value:
            return "–"
        return f"{value:,}" if self.digits is None else f"{value:,.{self.digits}f}"


def describe(name: str) -> Column:
    """The column of a name; title and unit of an unknown column come from its name."""
    stem, _, suffix = name.rpartition("_")
    unit, digits = _UNITS.get(suffix, ("", None))
    stem = stem if unit else name
    title = _TITLES.get(stem) or stem.replace("_", " ").capitalize()
    if stem in DISTANCES:
        digits = 2
    elif name in RATIOS:
        digits = 4
    elif name.endswith("_density"):
        digits = 3
    elif name == "seconds":
        unit = "s"
    return Column(name, title, unit, _SPECIAL_DIGITS.get(name, digits))
