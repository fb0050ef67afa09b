"""The overlay as a DICOM Secondary Capture (PS3.3, section A.8), for viewers that show no segmentations."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.uid import JPEGBaseline8Bit, generate_uid
from pydicom.valuerep import DA, TM

from lungfield.atomic import write_whole
from lungfield.export import derived
from lungfield.export.overlay import render_overlay
from lungfield.export.source import Source, patient_orientation, source_of, values_of
from lungfield.labels import Code
from lungfield.mask.heart import HeartMeasurements
from lungfield.records import Radiograph

_SERIES_DESCRIPTION = "Lung fields, picture (research use only)"
# Comes after the series of segmentations and of measurements.
_SERIES_NUMBER = 7303
_LONGEST_SIDE_PX = 1024
_BURNT_IN = "Research use only. Not for diagnosis or treatment."
_SOURCE_IMAGE = Code("121322", "DCM", "Source image for image processing operation")
# The value of LossyImageCompressionMethod for JPEG (PS3.3, section C.7.6.1.1.5.1).
_JPEG = "ISO_10918_1"


def save_secondary_capture(
    radiograph: Radiograph,
    label_map: NDArray[np.uint8],
    path: Path,
    *,
    algorithm: derived.Algorithm,
    structures: Mapping[str, NDArray[np.bool_]] | None = None,
    heart: HeartMeasurements | None = None,
    created: datetime | None = None,
) -> None:
    """Write the radiograph with what `render_overlay` draws as a DICOM colour picture of the same study.

    The picture is at most 1024 pixels long, a baseline JPEG, and has 'Research use only' burnt in, after the
    cardiothoracic ratio or the reason why there is none, where `heart` is given; it is to look at, so it
    carries no pixel spacing to measure with. It belongs to the radiograph's patient and study as a DICOM SEG
    does. Whether there is burnt-in text that tells who the patient is, is what the radiograph's
    BurnedInAnnotation says of it, as the picture shows the radiograph's pixels; where the radiograph says
    nothing, neither does the picture.

    The same input, algorithm and `created` give the same bytes and the same identifiers. Arguments and errors
    are those of `save_dicom_seg`.
    """
    path = Path(path)
    source = source_of(radiograph, path)
    derived.require_its_label_map(radiograph, label_map, path)
    picture = np.asarray(
        render_overlay(
            radiograph,
            label_map,
            longest_side=_LONGEST_SIDE_PX,
            caption=" ".join([*_ratio(heart, radiograph.view), _BURNT_IN]),
            structures=structures,
            heart=heart,
        )
    )
    with derived.errors_of_header(radiograph, path, "secondary capture"):
        capture = _capture(picture, algorithm)
        masks = [label_map, *(structures or {}).values()]
        content = b"".join(mask.tobytes() for mask in masks)
        uids = derived.derived_uids(source, algorithm, "picture", content)
        derived.give_identity(capture, radiograph.header, source, *uids)
        _add_context(capture, radiograph.header)
        _refer(capture, source)
        _tell_compression(capture, radiograph.header, picture.nbytes)
        made = derived.creation_time(created)
        derived.stamp(capture, made)
        capture.DateOfSecondaryCapture, capture.TimeOfSecondaryCapture = DA(made.date()), TM(made.time())
        content = derived.to_bytes(capture)
    write_whole(path, content)


def _ratio(heart: HeartMeasurements | None, view: str | None) -> Iterator[str]:
    """What the caption says of the cardiothoracic ratio."""
    if heart is None:
        return
    if heart.cardiothoracic_ratio is None:
        yield f"No cardiothoracic ratio ({heart.no_ratio})."
    else:
        too_high = ", AP view: too high" if view == "AP" else ""
        yield f"Cardiothoracic ratio {heart.cardiothoracic_ratio:.2f}{too_high}."


def _capture(picture: NDArray[np.uint8], algorithm: derived.Algorithm) -> Dataset:
    """The highdicom.sc.SCImage of a picture, of nobody yet."""
    # Imported on use: it takes a while, and not every run asks for secondary captures.
    import highdicom

    capture = highdicom.sc.SCImage.from_ref_dataset(
        derived.stand_in(),
        pixel_array=picture,
        photometric_interpretation=highdicom.PhotometricInterpretationValues.YBR_FULL_422,
        bits_allocated=8,
        coordinate_system=highdicom.CoordinateSystemNames.PATIENT,
        # Demanded by highdicom; replaced by that of the radiograph.
        patient_orientation=("L", "F"),
        series_instance_uid=generate_uid(),
        series_number=_SERIES_NUMBER,
        series_description=_SERIES_DESCRIPTION,
        sop_instance_uid=generate_uid(),
        instance_number=1,
        transfer_syntax_uid=JPEGBaseline8Bit,
        **derived.equipment(algorithm),
    )
    capture["PixelData"].VR = "OB"
    capture.BodyPartExamined = "CHEST"
    capture.ConversionType = "WSD"
    capture.DerivationDescription = (
        f"Contours of the lungs by {algorithm.short_name} {algorithm.short_version}"
    )
    return capture


def _add_context(capture: Dataset, header: Dataset) -> None:
    """Add which way the picture lies, and whether the radiograph says that text is burnt in."""
    capture.PatientOrientation = patient_orientation(header) or ""
    burned_in = values_of(header, "BurnedInAnnotation")
    if burned_in:
        capture.BurnedInAnnotation = burned_in


def _refer(capture: Dataset, source: Source) -> None:
    """Say what the picture was made from (PS3.3, section C.12.4)."""
    reference = Dataset()
    derived.set_uid(reference, "ReferencedSOPClassUID", source.sop_class)
    derived.set_uid(reference, "ReferencedSOPInstanceUID", source.instance)
    reference.PurposeOfReferenceCodeSequence = [derived.concept(_SOURCE_IMAGE)]
    capture.SourceImageSequence = [reference]


def _tell_compression(capture: Dataset, header: Dataset, size: int) -> None:
    """Add this JPEG to the lossy compressions that the radiograph went through before."""
    ratios, methods = (values_of(header, f"LossyImageCompression{name}") for name in ("Ratio", "Method"))
    if len(ratios) != len(methods):
        ratios, methods = [], []
    capture.LossyImageCompression = "01"
    capture.LossyImageCompressionRatio = [*ratios, f"{size / len(capture.PixelData):.3f}"]
    capture.LossyImageCompressionMethod = [*methods, _JPEG]
