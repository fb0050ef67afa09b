"""Label values, names, codes and colours of the structures.

'Right' and 'left' are the patient's. Codes are SNOMED CT concept identifiers, as in DICOM PS3.16 (scheme
designator SCT).
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
    """A segmented structure.

    Attributes:
        value: in a label map.
        name: in columns and files.
        title: for people.
        code: SNOMED CT concept.
        colour_rgb: in pictures and DICOM SEG, 0 to 255.
        laterality: side of a structure whose code is for both sides; None if the code includes the side.
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
"""The labels of each selectable structure. Heart and clavicles may overlap the lungs and each other, so each
has its own mask."""

ONLY_LUNGS = ("lungs",)
"""The default structures."""


def mask_names(structure: str) -> tuple[str, ...]:
    """The names of a structure's masks, from `STRUCTURES`; for another structure, its own name."""
    return tuple(label.name for label in STRUCTURES[structure]) if structure in STRUCTURES else (structure,)


LUNG_SIDE_UNKNOWN = 255
"""Lung of unknown side in a label map, as in reference masks with both lungs together."""

LUNG_FIELD = (LUNG_SIDE_UNKNOWN,)
"""The classes of a network with one channel: lung of either side against background."""

CLAVICLE_SIDE_UNKNOWN = 253
"""The class of a network's channel for both clavicles together."""


def structures_of(classes: Sequence[int]) -> tuple[Label, ...]:
    """The labels of a network's classes besides the lungs, in the order of their values."""
    clavicles = CLAVICLES if CLAVICLE_SIDE_UNKNOWN in classes else ()
    return ((HEART,) if HEART.value in classes else ()) + clavicles


UNKNOWN = 254
"""A pixel with an unknown label, which is left out of the training loss."""

CHEST = Code("816094009", "SCT", "Chest")
ANATOMICAL_STRUCTURE = Code("123037004", "SCT", "Anatomical Structure")
