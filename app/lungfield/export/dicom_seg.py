"""Label maps as DICOM Segmentation objects (PS3.3, section A.51)."""

from __future__ import annotations

import io
import logging
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import DataElement, Dataset
from pydicom.config import RAISE
from pydicom.uid import ExplicitVRLittleEndian, generate_uid
from pydicom.valuerep import validate_value

from lungfield.atomic import write_whole
from lungfield.errors import HeaderError, OutputError
from lungfield.labels import ANATOMICAL_STRUCTURE, BACKGROUND, LUNGS, Code, Label
from lungfield.records import Radiograph, Spacing

_CONTENT_LABEL = "LUNG_FIELDS"
_CONTENT_DESCRIPTION = "Lung fields. For research use: not a medical device."
_SERIES_DESCRIPTION = "Lung fields (research use only)"
# Required, and high enough to come after the series that the study's own equipment made.
_SERIES_NUMBER = 7301
_MANUFACTURER = "lungfield"
_LONG_STRING = 64

# What a reference to the source needs, verbatim.
_REQUIRED_UIDS = ("SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID")
# Patient and study, type 2: there in every object, empty where it is not known.
_TYPE_2 = (
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "PatientSex",
    "StudyDate",
    "StudyTime",
    "StudyID",
    "AccessionNumber",
    "ReferringPhysicianName",
)
# What else tells one patient or study from another, or how it was de-identified; copied where it is there.
_OPTIONAL = (
    "IssuerOfPatientID",
    "PatientAge",
    "StudyDescription",
    "PatientIdentityRemoved",
    "DeidentificationMethod",
    "LongitudinalTemporalInformationModified",
    "LossyImageCompression",
    "LossyImageCompressionRatio",
    "LossyImageCompressionMethod",
)
_CHECKED_VRS = ("AS", "CS", "DA", "DS", "TM")
_SEXES = ("M", "F", "O")


def save_dicom_seg(
    radiograph: Radiograph,
    label_map: NDArray[np.uint8],
    path: Path,
    *,
    algorithm_name: str,
    algorithm_version: str,
    viewer_geometry: bool = False,
) -> None:
    """Write a label map as a binary DICOM SEG with one segment for each lung, that refers to its radiograph.

    The masks lie on the pixels as the radiograph's file stores them, mirrored or not. A lung that is absent
    has an empty frame. The object belongs to the radiograph's patient and study and carries their
    attributes, like any object derived from it: it is no safer to pass on than the radiograph itself. What
    it requires and the source lacks is empty; dates, times and codes that are not valid DICOM are left out,
    and text is written as UTF-8.

    Its identifiers derive from those of the source and from the algorithm's name and version, so that a
    second run gives the same ones and an archive does not gather copies. All radiographs of one series give
    one series of segmentations.

    Args:
        radiograph: the radiograph, read from DICOM, with its header.
        label_map: (H, W) uint8 of the same shape: 0 background, 1 right lung, 2 left lung.
        path: the file to write.
        algorithm_name: what made the mask, such as the bundle's name; cut at 64 characters.
        algorithm_version: its version; cut at 64 characters.
        viewer_geometry: also place the picture in an invented frame of reference (origin 0, axes of a supine
            patient, the radiograph's spacing or else 1 mm). A radiograph has no such place, but some viewers
            and converters, OHIF among them, refuse a SEG without one. Distances to other objects in that
            frame mean nothing.

    Raises:
        HeaderError: the radiograph's header has no valid identifiers to refer to, or is otherwise broken.
        OutputError: the radiograph did not come from DICOM; the label map does not belong to it; or the file
            could not be written.
    """
    path = Path(path)
    # With a geometry, the object says something else, so it is another object.
    made_by = [algorithm_name, algorithm_version, "viewer geometry" if viewer_geometry else "no geometry"]
    buffer = io.BytesIO()
    with _quiet():
        _check(radiograph, label_map, path)
        try:
            source = _source(radiograph)
            if viewer_geometry:
                _place_in_invented_frame(source, radiograph.spacing)
            segmentation = _segmentation(source, label_map, algorithm_name, algorithm_version, made_by)
            _add_context(segmentation, radiograph.header)
            segmentation.save_as(buffer, enforce_file_format=True)
        # Headers can be wrong in more ways than highdicom has errors for; its messages may hold identity.
        except Exception as error:
            raise HeaderError(
                f"{path}: no DICOM SEG could be made from the header of {radiograph.path} "
                f"({type(error).__name__}); check that file with a DICOM validator, or write PNG or NIfTI."
            ) from error
    write_whole(path, buffer.getvalue())


def _check(radiograph: Radiograph, label_map: NDArray[np.uint8], path: Path) -> None:
    if radiograph.header is None:
        raise OutputError(
            f"{path}: {radiograph.path} is {radiograph.file_format} and not DICOM, and a DICOM SEG must "
            "refer to a DICOM image; write PNG or NIfTI instead."
        )
    if label_map.shape != radiograph.shape:
        raise OutputError(
            f"{path}: the label map has (rows, columns) {label_map.shape} and the radiograph "
            f"{radiograph.shape}; give the label map of this radiograph."
        )
    known = (BACKGROUND, *(label.value for label in LUNGS))
    if not np.isin(label_map, known).all():
        raise OutputError(f"{path}: the label map holds values other than {known}; split the lungs first.")
    # A component with a leading zero is not valid, but it is found in archives, and a reference must match.
    invalid = [
        keyword
        for keyword in _REQUIRED_UIDS
        if not re.fullmatch(r"\d+(\.\d+)+", uid := str(radiograph.header.get(keyword, ""))) or len(uid) > 64
    ]
    if invalid:
        raise HeaderError(
            f"{path}: {radiograph.path} lacks a valid {', '.join(invalid)}, so that no DICOM SEG can refer "
            "to it; repair the file, or write PNG or NIfTI instead."
        )


def _source(radiograph: Radiograph) -> Dataset:
    """What highdicom takes from the source, made valid: identifiers verbatim, text as UTF-8."""
    header = radiograph.header
    source = Dataset()
    source.SpecificCharacterSet = "ISO_IR 192"
    source.Rows, source.Columns = radiograph.shape
    for keyword in _REQUIRED_UIDS:
        setattr(source, keyword, header[keyword].value)
    for keyword in (*_TYPE_2, *_OPTIONAL):
        element = _valid(header, keyword)
        if element is not None:
            source.add(element)
        elif keyword in _TYPE_2:
            setattr(source, keyword, "")
    if source.PatientSex not in _SEXES:
        source.PatientSex = ""
    return source


def _valid(header: Dataset, keyword: str) -> DataElement | None:
    """An attribute of the header, None where it is missing, empty or breaks the rules of its type."""
    try:
        element = header[keyword]
        if element.is_empty:
            return None
        if element.VR in _CHECKED_VRS:
            values = element.value if element.VM > 1 else [element.value]
            for value in values:
                validate_value(element.VR, str(value), RAISE)
    except Exception:
        return None
    return element


def _place_in_invented_frame(source: Dataset, spacing: Spacing | None) -> None:
    """Give the source a plane: highdicom takes the geometry of the segmentation from there."""
    source.FrameOfReferenceUID = generate_uid(entropy_srcs=[source.SOPInstanceUID, "invented frame"])
    source.PositionReferenceIndicator = ""
    source.ImagePositionPatient = [0, 0, 0]
    source.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    source.PixelSpacing = [1, 1] if spacing is None else [spacing.row_mm, spacing.column_mm]
    source.SliceThickness = 1


def _segmentation(
    source: Dataset, label_map: NDArray[np.uint8], name: str, algorithm_version: str, made_by: list[str]
) -> Any:
    """The highdicom.seg.Segmentation of a label map."""
    # Imported on use: it takes a while, and not every run asks for DICOM SEG.
    import highdicom

    algorithm = highdicom.AlgorithmIdentificationSequence(
        name=name[:_LONG_STRING],
        version=algorithm_version[:_LONG_STRING],
        family=highdicom.sr.CodedConcept("123109", "DCM", "Artificial Intelligence"),
    )
    software_version = version("lungfield")
    return highdicom.seg.Segmentation(
        source_images=[source],
        pixel_array=label_map[np.newaxis],
        segmentation_type=highdicom.seg.SegmentationTypeValues.BINARY,
        segment_descriptions=[_segment_description(label, algorithm) for label in LUNGS],
        series_instance_uid=generate_uid(entropy_srcs=[source.SeriesInstanceUID, *made_by]),
        series_number=_SERIES_NUMBER,
        series_description=_SERIES_DESCRIPTION,
        sop_instance_uid=generate_uid(entropy_srcs=[source.SOPInstanceUID, *made_by]),
        instance_number=1,
        manufacturer=_MANUFACTURER,
        manufacturer_model_name=name[:_LONG_STRING],
        software_versions=software_version,
        # Required, though software has none; what tells one copy from another is its version.
        device_serial_number=software_version,
        content_label=_CONTENT_LABEL,
        content_description=_CONTENT_DESCRIPTION,
        transfer_syntax_uid=ExplicitVRLittleEndian,
        # A lung that was looked for and not found keeps its empty frame.
        omit_empty_frames=False,
    )


def _segment_description(label: Label, algorithm: Any) -> Any:
    import highdicom

    return highdicom.seg.SegmentDescription(
        segment_number=label.value,
        segment_label=label.title,
        segmented_property_category=_concept(ANATOMICAL_STRUCTURE),
        segmented_property_type=_concept(label.code),
        algorithm_type=highdicom.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=algorithm,
        display_color=highdicom.color.CIELabColor.from_rgb(*label.colour_rgb),
    )


def _concept(code: Code) -> Any:
    import highdicom

    return highdicom.sr.CodedConcept(code.value, code.scheme, code.meaning)


def _add_context(segmentation: Dataset, header: Dataset) -> None:
    """Add what highdicom does not take from the source: which way the picture lies, and what it shows."""
    segmentation.BodyPartExamined = "CHEST"
    orientation = _valid(header, "PatientOrientation")
    if "FrameOfReferenceUID" not in segmentation:
        segmentation.PatientOrientation = "" if orientation is None else orientation.value
    number = _valid(header, "InstanceNumber")
    if number is not None and number.VM == 1 and 0 < int(number.value) < 2**31:
        # Unique within the series of segmentations where it was within that of the radiographs.
        segmentation.InstanceNumber = int(number.value)


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence highdicom, which logs values of the header, and warnings on values that are passed on."""
    logger = logging.getLogger("highdicom")
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
