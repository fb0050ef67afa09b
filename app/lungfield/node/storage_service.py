"""The node's Storage Service (PS3.4, annex B): SOP classes, transfer syntaxes and status codes."""

from __future__ import annotations

from pydicom.uid import DeflatedExplicitVRLittleEndian, JPEGExtended12Bit

from lungfield.radiograph.decoding import NATIVE, PLUGINS
from lungfield.radiograph.header.codes import SOP_CLASSES

RADIOGRAPHS = tuple(sorted(SOP_CLASSES))
"""SOP Class UIDs of Computed Radiography, Digital X-Ray and Secondary Capture (DICOM PS3.4, B.5)."""

TRANSFER_SYNTAXES = (
    *(str(one) for one in NATIVE),
    str(DeflatedExplicitVRLittleEndian),
    str(JPEGExtended12Bit),
    *(str(one) for one in PLUGINS),
)
"""All transfer syntaxes that can be decoded; objects are stored as sent, without conversion."""

SUCCESS = 0x0000
NOT_AUTHORIZED = 0x0124
OUT_OF_RESOURCES = 0xA700
DOES_NOT_MATCH = 0xA900
CANNOT_UNDERSTAND = 0xC000

STATUSES = {
    SUCCESS: "the object and its row in the queue are on disk, now or since an earlier request",
    NOT_AUTHORIZED: "the object is a result of this software; it is not stored",
    OUT_OF_RESOURCES: "the object is larger than the limit, the disk is nearly full, or writing failed",
    DOES_NOT_MATCH: "the object's SOP Class UID or SOP Instance UID is not that of the request",
    CANNOT_UNDERSTAND: "the object cannot be read as a DICOM data set, or has no SOP Instance UID",
}
"""The status codes of C-STORE, and their reasons (PS3.4, B.2.3; PS3.7, 9.1.1.1.9)."""
