"""Label values, names, codes and colours of the structures: the one place that knows them.

'Right' and 'left' are the patient's. Codes are SNOMED CT concept identifiers, as DICOM PS3.16 uses
them (scheme designator SCT).
"""

from __future__ import annotations

from dataclasses import dataclass

BACKGROUND = 0


@dataclass(frozen=True)
class Code:
    """A coded concept: value, scheme designator and meaning (DICOM PS3.3, section 8.8)."""

    value: str
    scheme: str
    meaning: str


@dataclass(frozen=True)
class Label:
    """One segmented structure: its value in a label map and how it is called, coded and drawn."""

    value: int
    name: str
    title: str
    code: Code
    colour_rgb: tuple[int, int, int]


RIGHT_LUNG = Label(1, "right_lung", "Right lung", Code("3341006", "SCT", "Right lung"), (0, 158, 255))
LEFT_LUNG = Label(2, "left_lung", "Left lung", Code("44029006", "SCT", "Left lung"), (255, 176, 0))
LUNGS = (RIGHT_LUNG, LEFT_LUNG)
LUNG_SIDE_UNKNOWN = 255
"""Lung in a label map whose side is not told, as in reference masks that hold both lungs in one."""

LUNG_FIELD = (LUNG_SIDE_UNKNOWN,)
"""What the channels of a network stand for that gives one: lung of either side against all else."""

UNKNOWN = 254
"""Of this pixel a label map does not tell what it is: training leaves it out of the loss."""

CHEST = Code("816094009", "SCT", "Chest")
ANATOMICAL_STRUCTURE = Code("123037004", "SCT", "Anatomical Structure")
