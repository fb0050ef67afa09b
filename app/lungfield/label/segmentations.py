"""Masks of the server as the DICOM SEG objects that it hands out and that go to an archive."""

from __future__ import annotations

import hashlib
import tempfile
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.uid import generate_uid
from pydicom.valuerep import DA, TM

from lungfield.export import save_dicom_seg
from lungfield.records import Radiograph

AUTOMATIC = "AUTOMATIC"
CORRECTED = "SEMIAUTOMATIC"
"""SegmentAlgorithmType (PS3.3, section C.8.20.2) of a mask that a network made, and of one that went through
an annotator's hands."""

_CORRECTED_SERIES = "Lung fields, corrected (research use only)"
# Where OHIF 3.10.0-beta.5, which MONAI Label 0.8.5 brings, thinks that an image without a plane lies.
_PLANE_OF_OHIF = [0, 1, 0, 0, 0, -1]


@dataclass(frozen=True)
class Maker:
    """What made a mask.

    Attributes:
        name: of the algorithm, such as 'lungfield unet'.
        version: of it.
        corrected: whether an annotator had a hand in it.
    """

    name: str
    version: str
    corrected: bool = False


def make_segmentation(
    radiograph: Radiograph, label_map: NDArray[np.uint8], maker: Maker, *, viewer_geometry: bool = False
) -> pydicom.Dataset:
    """The DICOM SEG of a mask, as `lungfield.export.save_dicom_seg` writes it, for a server's needs.

    There, identifiers name what a version of an algorithm says of a radiograph. Here weights change, and
    masks are corrected more than once. So an automatic mask's identifiers depend on the mask, too: the same
    one twice is one object in an archive. Each correction is a new object in a series of its own, and its
    time has fractions of a second: the newest one counts, also if it brings back an older mask.

    Args:
        radiograph: from DICOM, with its header.
        label_map: (H, W) uint8 of the same shape: 0 background, 1 right lung, 2 left lung.
        maker: what made it.
        viewer_geometry: place it in the invented plane that the OHIF viewer of MONAI Label takes for a
            radiograph's; without one that viewer breaks. Newer versions of OHIF (3.13) take another: that of
            `save_dicom_seg`.

    Returns:
        The object with its file meta information.

    Raises:
        OutputError: the radiograph did not come from DICOM, or its header allows no such object.
    """
    with tempfile.TemporaryDirectory(prefix="lungs-") as folder:
        path = Path(folder) / "seg.dcm"
        save_dicom_seg(
            radiograph,
            label_map,
            path,
            algorithm_name=maker.name,
            algorithm_version=maker.version,
            viewer_geometry=viewer_geometry,
        )
        segmentation = pydicom.dcmread(path)
    if viewer_geometry:
        plane = segmentation.SharedFunctionalGroupsSequence[0].PlaneOrientationSequence[0]
        plane.ImageOrientationPatient = _PLANE_OF_OHIF
    if maker.corrected:
        _mark_as_corrected(segmentation)
    _rename(segmentation, maker)
    return segmentation


def _mark_as_corrected(segmentation: pydicom.Dataset) -> None:
    segmentation.SeriesDescription = _CORRECTED_SERIES
    for segment in segmentation.SegmentSequence:
        segment.SegmentAlgorithmType = CORRECTED
    now = datetime.now()
    segmentation.ContentDate, segmentation.ContentTime = DA(now.date()), TM(now.time())


def _rename(segmentation: pydicom.Dataset, maker: Maker) -> None:
    """Give the object and its series identifiers of their own."""
    mask = hashlib.sha256(segmentation.PixelData).hexdigest()
    series, instance = (
        generate_uid(entropy_srcs=None if maker.corrected else [uid, mask])
        for uid in (segmentation.SeriesInstanceUID, segmentation.SOPInstanceUID)
    )
    segmentation.SeriesInstanceUID = series
    segmentation.SOPInstanceUID = segmentation.file_meta.MediaStorageSOPInstanceUID = instance
