"""Make DICOM SEG objects from the server's masks, for clients and archives."""

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
"""SegmentAlgorithmType (PS3.3, section C.8.20.2) of a network's mask, and of a corrected mask."""

_CORRECTED_SERIES = "Lung fields, corrected (research use only)"
# The plane in which OHIF 3.10.0-beta.5, included in MONAI Label 0.8.5, places an image without a plane.
_PLANE_OF_OHIF = [0, 1, 0, 0, 0, -1]


def make_segmentation(
    radiograph: Radiograph,
    label_map: NDArray[np.uint8],
    algorithm: Algorithm,
    *,
    corrected: bool = False,
    viewer_geometry: bool = False,
) -> pydicom.Dataset:
    """The DICOM SEG of a mask, made with `lungfield.export.save_dicom_seg`.

    A network's mask is the same object, with the same identifiers, as that of `lungfield segment`. A
    `corrected` mask is a new object in its own series with each correction; its identifiers depend on the
    mask and on the time with fractions of a second. The newest one is the label, also if it restores an older
    mask.

    With `viewer_geometry`, it lies in the invented plane that MONAI Label's OHIF viewer uses for a
    radiograph; without a plane that viewer fails. Newer versions of OHIF (3.13) use another plane: that of
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
    """Give a changed object and its series new identifiers, which are hashes of the old ones."""
    series, instance = (
        generate_uid(entropy_srcs=[uid, change])
        for uid in (segmentation.SeriesInstanceUID, segmentation.SOPInstanceUID)
    )
    segmentation.SeriesInstanceUID = series
    segmentation.SOPInstanceUID = segmentation.file_meta.MediaStorageSOPInstanceUID = instance
