"""Masks of the server as the DICOM SEG objects that it hands out and that go to an archive."""

from __future__ import annotations

import tempfile
from datetime import datetime
from pathlib import Path

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.uid import generate_uid
from pydicom.valuerep import DA, TM

from lungfield.export import Algorithm, save_dicom_seg
from lungfield.records import Radiograph

AUTOMATIC = "AUTOMATIC"
CORRECTED = "SEMIAUTOMATIC"
"""SegmentAlgorithmType (PS3.3, section C.8.20.2) of a mask that a network made, and of one that went through
an annotator's hands."""

_CORRECTED_SERIES = "Lung fields, corrected (research use only)"
# Where OHIF 3.10.0-beta.5, which MONAI Label 0.8.5 brings, thinks that an image without a plane lies.
_PLANE_OF_OHIF = [0, 1, 0, 0, 0, -1]


def make_segmentation(
    radiograph: Radiograph,
    label_map: NDArray[np.uint8],
    algorithm: Algorithm,
    *,
    corrected: bool = False,
    viewer_geometry: bool = False,
) -> pydicom.Dataset:
    """The DICOM SEG of a mask, as `lungfield.export.save_dicom_seg` writes it, for a server's needs.

    A network's mask is what `lungfield segment` writes, with the same identifiers: the same mask of the same
    weights is one object in an archive. Masks are `corrected` by annotators more than once, so each
    correction is a new object in a series of its own, named by the mask and by the time, which has fractions
    of a second: the newest one counts, also if it brings back an older mask.

    With `viewer_geometry`, it lies in the invented plane that the OHIF viewer of MONAI Label takes for a
    radiograph's; without one that viewer breaks. Newer versions of OHIF (3.13) take another: that of
    `save_dicom_seg`.

    Raises:
        OutputError: the radiograph did not come from DICOM, or its header allows no such object.
    """
    with tempfile.TemporaryDirectory(prefix="lungs-") as folder:
        path = Path(folder) / "seg.dcm"
        save_dicom_seg(radiograph, label_map, path, algorithm=algorithm, viewer_geometry=viewer_geometry)
        segmentation = pydicom.dcmread(path)
    if viewer_geometry:
        plane = segmentation.SharedFunctionalGroupsSequence[0].PlaneOrientationSequence[0]
        plane.ImageOrientationPatient = _PLANE_OF_OHIF
        _rename(segmentation, "plane of OHIF 3.10")
    if corrected:
        _mark_as_corrected(segmentation)
    return segmentation


def _mark_as_corrected(segmentation: pydicom.Dataset) -> None:
    segmentation.SeriesDescription = _CORRECTED_SERIES
    for segment in segmentation.SegmentSequence:
        segment.SegmentAlgorithmType = CORRECTED
    now = datetime.now()
    segmentation.ContentDate, segmentation.ContentTime = DA(now.date()), TM(now.time())
    _rename(segmentation, f"corrected {now.isoformat()}")


def _rename(segmentation: pydicom.Dataset, change: str) -> None:
    """Give an object that was changed, and its series, identifiers that derive from what they were."""
    series, instance = (
        generate_uid(entropy_srcs=[uid, change])
        for uid in (segmentation.SeriesInstanceUID, segmentation.SOPInstanceUID)
    )
    segmentation.SeriesInstanceUID = series
    segmentation.SOPInstanceUID = segmentation.file_meta.MediaStorageSOPInstanceUID = instance
