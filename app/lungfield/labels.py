"""Label values, names, codes and colours of the structures: the one place that knows them.

'Right' and 'left' are the patient's. Codes are SNOMED CT concept identifiers, as DICOM PS3.16 uses
them (scheme designator SCT).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

BACKGROUND = 0


@dataclass(frozen=True)
class Code:
    """A coded concept: value, scheme designator and meaning (DICOM PS3.3, section 8.8)."""

    value: str
    scheme: str
    meaning: str


RIGHT = Code("24028007", "SCT", "Right")
LEFT = Code("7771000", "SCT", "Left")


@dataclass(frozen=True)
class Label:
    """One segmented structure: its value in a label map and how it is called, coded and drawn.

    Attributes:
        laterality: of a structure whose code stands for either side; None where the code tells the side.
    """

    value: int
    name: str
    title: str
    code: Code
    colour_rgb: tuple[int, int, int]
    laterality: Code | None = None


RIGHT_LUNG = Label(1, "right_lung", "Right lung", Code("3341006", "SCT", "Right lung"), (0, 158, 255))
LEFT_LUNG = Label(2, "left_lung", "Left lung", Code("44029006", "SCT", "Left lung"), (255, 176, 0))
LUNGS = (RIGHT_LUNG, LEFT_LUNG)
HEART = Label(3, "heart", "Heart", Code("80891009", "SCT", "Heart"), (230, 60, 80))
_CLAVICLE = Code("51299004", "SCT", "Clavicle")
RIGHT_CLAVICLE = Label(4, "right_clavicle", "Right clavicle", _CLAVICLE, (90, 200, 120), RIGHT)
LEFT_CLAVICLE = Label(5, "left_clavicle", "Left clavicle", _CLAVICLE, (170, 220, 90), LEFT)
CLAVICLES = (RIGHT_CLAVICLE, LEFT_CLAVICLE)
STRUCTURES = {"lungs": LUNGS, "heart": (HEART,), "clavicles": CLAVICLES}
"""The labels that each choice of structures stands for. Heart and clavicles overlap the lungs, or each other:
a mask of its own holds each whole."""

ONLY_LUNGS = ("lungs",)
"""What masks hold unless more is asked for."""


def mask_names(structure: str) -> tuple[str, ...]:
    """The names of the masks that make up a structure: by `STRUCTURES`, or its own where it is not there."""
    return tuple(label.name for label in STRUCTURES[structure]) if structure in STRUCTURES else (structure,)


LUNG_SIDE_UNKNOWN = 255
"""Lung in a label map whose side is not told, as in reference masks that hold both lungs in one."""

LUNG_FIELD = (LUNG_SIDE_UNKNOWN,)
"""What the channels of a network stand for that gives one: lung of either side against all else."""

CLAVICLE_SIDE_UNKNOWN = 253
"""What a channel of a network stands for that gives both clavicles in one."""


def structures_of(classes: Sequence[int]) -> tuple[Label, ...]:
    """The labels beside the lungs that the channels of a network stand for, in the order of their values."""
    clavicles = CLAVICLES if CLAVICLE_SIDE_UNKNOWN in classes else ()
    return ((HEART,) if HEART.value in classes else ()) + clavicles


UNKNOWN = 254
"""Of this pixel a label map does not tell what it is: training leaves it out of the loss."""

CHEST = Code("816094009", "SCT", "Chest")
ANATOMICAL_STRUCTURE = Code("123037004", "SCT", "Anatomical Structure")
