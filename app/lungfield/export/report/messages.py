"""Explanations of the codes in a report."""

from __future__ import annotations

from lungfield.errors import Reason
from lungfield.mask.quality import Flag

REASONS: dict[Reason, str] = {
    Reason.OTHER_OBJECT: "The file is another kind of image or object than a radiograph.",
    Reason.OTHER_BODY_PART: "The header names a body part other than the chest.",
    Reason.OTHER_VIEW: "The header names a view other than a frontal one, such as a lateral.",
    Reason.SEVERAL_FRAMES: "The file holds several frames; a radiograph has one.",
    Reason.LABEL_MAP: "The picture has hardly any grey values: a mask or a label map, not a radiograph.",
    Reason.UNKNOWN_FORMAT: "The file is not in a format that can be read.",
    Reason.DAMAGED: "The file is truncated or corrupt; export it again from its source.",
    Reason.UNSUPPORTED: "The file is intact, but stored in a way that is not supported.",
    Reason.OVER_LIMIT: "The file or its image is larger than the limits allow.",
    Reason.TOO_SMALL: "The image has too few pixels to show the lungs.",
    Reason.UNIFORM: "All pixels have nearly the same value: there is no picture.",
    Reason.INACCESSIBLE: "The file could not be opened; check that it exists and may be read.",
    Reason.CHANGED: "The file changed while it was being processed.",
    Reason.CRASHED: "The process that segmented the file ended unexpectedly.",
    Reason.TIMED_OUT: "The file took longer than the time limit.",
    Reason.OUT_OF_MEMORY: "There was not enough memory for the file.",
    Reason.NOT_WRITTEN: "The results could not be written; check the output folder's space and permissions.",
    Reason.INTERNAL: "An unexpected error; please report it.",
}
"""The reason codes of skipped and failed files, and their meaning."""

FLAGS: dict[str, str] = {
    Flag.NO_LUNG: "No lung was found.",
    Flag.ONE_LUNG: "Only one lung was found, or almost nothing of the other.",
    Flag.AREA_SMALL: "The lungs take up less of the image than usual.",
    Flag.AREA_LARGE: "The lungs take up more of the image than usual.",
    Flag.ASYMMETRIC: "One lung is much smaller than the other.",
    Flag.TOUCHES_BORDER: "A lung reaches the edge of the image, and may be cut off.",
    Flag.MISPLACED: "The lungs are not at their usual place, on either side of the midline.",
    Flag.ODD_SHAPE: "The outlines do not have the shape of lungs.",
    Flag.LOW_CONFIDENCE: "The estimated probability that the mask is good is low.",
    Flag.UNSTABLE: "The mirrored radiograph gave a different mask.",
    Flag.BRIGHT_LUNGS: "The lungs are brighter than their surroundings; the grey values may be inverted.",
    Flag.FLAT_CONTRAST: "The image has hardly any contrast.",
    Flag.DOUBTFUL_WINDOW: "Much of the image is plain black or white; its window may be wrong.",
    Flag.TAG_CONTRADICTION: "The header and the image contradict each other.",
    Flag.ORIENTATION_CORRECTED: "The picture was rotated or mirrored: the file gives no orientation, so it "
    "was found from the mask.",
    Flag.POLARITY_CORRECTED: "The lungs were bright according to the mask, so the picture was inverted.",
    Flag.NO_HEART: "No heart was found.",
    Flag.HEART_TOUCHES_BORDER: "The heart reaches the edge of the image, and may be cut off.",
    Flag.UNUSUAL_RATIO: "The cardiothoracic ratio is not between 0.30 and 0.75.",
    Flag.AP_RATIO: "The view is AP, in which the cardiothoracic ratio is larger than in a PA view.",
    "duplicate": "Another file has the same SOP Instance UID.",
}
"""The flags of segmented files, and their meaning."""
