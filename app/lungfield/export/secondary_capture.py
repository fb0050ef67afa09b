"""Write DICOM Secondary Captures (PS3.3, section A.8): overlays, and notices of skipped images."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.uid import JPEGBaseline8Bit, generate_uid
from pydicom.valuerep import DA, TM

from lungfield.atomic import write_whole
from lungfield.errors import Reason
from lungfield.export import derived
from lungfield.export.overlay import render_overlay, render_text
from lungfield.export.source import Source, patient_orientation, source_of, source_of_header, values_of
from lungfield.labels import Code
from lungfield.mask.heart import HeartMeasurements
from lungfield.mask.regions import Regions
from lungfield.records import Radiograph

_LONGEST_SIDE_PX = 1024
_BURNT_IN = "Research use only. Not for diagnosis or treatment."
_SOURCE_IMAGE = Code("121322", "DCM", "Source image for image processing operation")
# The value of LossyImageCompressionMethod for JPEG (PS3.3, section C.7.6.1.1.5.1).
_JPEG = "ISO_10918_1"

WHY_SKIPPED = {
    Reason.OTHER_OBJECT: "It is not a radiograph of a person.",
    Reason.OTHER_BODY_PART: "Its header names another part of the body.",
    Reason.OTHER_VIEW: "Its header names a lateral or oblique view.",
    Reason.SEVERAL_FRAMES: "It has several frames.",
    Reason.LABEL_MAP: "It is a mask.",
}
"""The text of a notice, by the reason code of the skipped image."""


@dataclass(frozen=True)
class _Kind:
    """A kind of picture: its name in identifiers, its series, and its derivation description."""

    name: str
    series_number: int
    series_description: str
    derivation: str


# They come after the series of segmentations and of measurements.
_LUNGS = _Kind(
    "picture", 7303, "Lung fields, picture (research use only)", "Contours of the lungs by {name} {version}"
)
_NOTICE = _Kind(
    "notice", 7304, "Lung fields, none (research use only)", "Why {name} {version} made no lung fields"
)


def save_secondary_capture(
    radiograph: Radiograph,
    regions: Regions,
    path: Path,
    *,
    algorithm: derived.Algorithm,
    heart: HeartMeasurements | None = None,
    created: datetime | None = None,
) -> None:
    """Write the picture of `render_overlay` as a DICOM colour image of the radiograph's study.

    The picture is a baseline JPEG of at most 1024 pixels on the longer side. 'Research use only' is burnt in,
    and with `heart` also the cardiothoracic ratio or the reason why there is none. It has no pixel spacing,
    as it is not meant for measurements. It has the radiograph's patient and study, as a DICOM SEG has.
    BurnedInAnnotation is copied from the radiograph, as the picture shows the radiograph's pixels.

    The same input, algorithm and `created` give the same bytes and the same identifiers. Arguments and errors
    are those of `save_dicom_seg` and `render_overlay`.
    """
    path = Path(path)
    source = source_of(radiograph, path)
    derived.require_its_shape(radiograph, regions.shape, path)
    picture = render_overlay(
        radiograph,
        regions,
        longest_side=_LONGEST_SIDE_PX,
        caption=" ".join([*_ratio(heart, radiograph.view), _BURNT_IN]),
        heart=heart,
    )
    with derived.errors_of_header(radiograph.path, path, "secondary capture"):
        capture, size = _capture(np.asarray(picture), _LUNGS, algorithm)
        _add_context(capture, radiograph.header)
        _tell_compression(capture, radiograph.header, size)
        content = _finished(capture, _LUNGS, radiograph.header, source, algorithm, created)
    write_whole(path, content)


def _ratio(heart: HeartMeasurements | None, view: str | None) -> Iterator[str]:
    """The text on the cardiothoracic ratio in the caption."""
    if heart is None:
        return
    if heart.cardiothoracic_ratio is None:
        yield f"No cardiothoracic ratio ({heart.no_ratio})."
    else:
        too_high = ", AP view: too high" if view == "AP" else ""
        yield f"Cardiothoracic ratio {heart.cardiothoracic_ratio:.2f}{too_high}."


def save_skipped_notice(
    header: Dataset, source_path: Path, reason: Reason, path: Path, *, created: datetime | None = None
) -> None:
    """Write why an image was skipped as a DICOM colour image of the same study that shows text only.

    The text depends on the reason code only, so it holds no identity. The object has the patient and study of
    the image, and refers to it. The same input and `created` give the same bytes and the same identifiers.

    Args:
        header: of the image, without its pixels.
        source_path: the image's file, for messages.
        reason: why it was skipped: one of `WHY_SKIPPED`.
        path: the file to write.
        created: as for `save_secondary_capture`.

    Raises:
        HeaderError: the header lacks valid identifiers, or no object can be made from it.
        OutputError: the file could not be written.
    """
    path = Path(path)
    source = source_of_header(header, source_path, path)
    algorithm = derived.Algorithm(derived.MANUFACTURER, derived.software_version())
    picture = render_text("An image of this study was not segmented.", WHY_SKIPPED[reason], caption=_BURNT_IN)
    with derived.errors_of_header(source_path, path, "secondary capture"):
        capture, size = _capture(np.asarray(picture), _NOTICE, algorithm)
        # The notice does not name the body part, so orientation and laterality stay empty.
        capture.PatientOrientation = capture.Laterality = ""
        capture.BurnedInAnnotation = "NO"
        _tell_compression(capture, Dataset(), size)
        content = _finished(capture, _NOTICE, header, source, algorithm, created)
    write_whole(path, content)


def _capture(picture: NDArray[np.uint8], kind: _Kind, algorithm: derived.Algorithm) -> tuple[Dataset, int]:
    """The highdicom.sc.SCImage of a picture, without a patient; and the picture's size before compression."""
    # Imported on use: the import is slow, and not every run writes secondary captures.
    import highdicom

    capture = highdicom.sc.SCImage.from_ref_dataset(
        derived.stand_in(),
        pixel_array=picture,
        photometric_interpretation=highdicom.PhotometricInterpretationValues.YBR_FULL_422,
        bits_allocated=8,
        coordinate_system=highdicom.CoordinateSystemNames.PATIENT,
        # Required by highdicom; replaced by that of the radiograph.
        patient_orientation=("L", "F"),
        series_instance_uid=generate_uid(),
        series_number=kind.series_number,
        series_description=kind.series_description,
        sop_instance_uid=generate_uid(),
        instance_number=1,
        transfer_syntax_uid=JPEGBaseline8Bit,
        **derived.equipment(algorithm),
    )
    capture["PixelData"].VR = "OB"
    capture.ConversionType = "WSD"
    capture.DerivationDescription = kind.derivation.format(
        name=algorithm.short_name, version=algorithm.short_version
    )
    return capture, picture.nbytes


def _finished(
    capture: Dataset,
    kind: _Kind,
    header: Dataset,
    source: Source,
    algorithm: derived.Algorithm,
    created: datetime | None,
) -> bytes:
    """The DICOM file of a picture, with its source's identity, the reference to the source, and the time."""
    uids = derived.derived_uids(source, algorithm, kind.name, capture.PixelData)
    derived.give_identity(capture, header, source, *uids)
    _refer(capture, source)
    made = derived.creation_time(created)
    derived.stamp(capture, made)
    capture.DateOfSecondaryCapture, capture.TimeOfSecondaryCapture = DA(made.date()), TM(made.time())
    return derived.to_bytes(capture)


def _add_context(capture: Dataset, header: Dataset) -> None:
    """Add body part, and the radiograph's orientation and BurnedInAnnotation."""
    capture.BodyPartExamined = "CHEST"
    capture.PatientOrientation = patient_orientation(header) or ""
    burned_in = values_of(header, "BurnedInAnnotation")
    if burned_in:
        capture.BurnedInAnnotation = burned_in


def _refer(capture: Dataset, source: Source) -> None:
    """Add the reference to the source image (PS3.3, section C.12.4)."""
    reference = Dataset()
    derived.set_uid(reference, "ReferencedSOPClassUID", source.sop_class)
    derived.set_uid(reference, "ReferencedSOPInstanceUID", source.instance)
    reference.PurposeOfReferenceCodeSequence = [derived.concept(_SOURCE_IMAGE)]
    capture.SourceImageSequence = [reference]


def _tell_compression(capture: Dataset, header: Dataset, size: int) -> None:
    """Add this JPEG to the radiograph's list of lossy compressions."""
    ratios, methods = (values_of(header, f"LossyImageCompression{name}") for name in ("Ratio", "Method"))
    if len(ratios) != len(methods):
        ratios, methods = [], []
    capture.LossyImageCompression = "01"
    capture.LossyImageCompressionRatio = [*ratios, f"{size / len(capture.PixelData):.3f}"]
    capture.LossyImageCompressionMethod = [*methods, _JPEG]
