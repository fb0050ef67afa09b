"""Write measurements as DICOM structured reports: TID 1500 (PS3.16) in a Comprehensive SR (PS3.3, A.35.3)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom import Dataset
from pydicom.uid import ExplicitVRLittleEndian, SegmentationStorage, generate_uid

from lungfield.atomic import write_whole
from lungfield.errors import OutputError
from lungfield.export import derived
from lungfield.export.concepts import PRIVATE_SCHEME, PROCEDURE
from lungfield.export.report_figures import (
    Group,
    Positions,
    comments_on,
    comments_on_heart,
    groups_of_heart,
    groups_of_lungs,
)
from lungfield.export.source import Source, source_of, text_of
from lungfield.labels import ANATOMICAL_STRUCTURE, LUNGS, Code, Label
from lungfield.mask.density import Density
from lungfield.mask.heart import HeartMeasurements
from lungfield.mask.measurements import Measurements
from lungfield.records import Radiograph

_SERIES_DESCRIPTION = "Lung field measurements (research use only)"
# Comes after the series of segmentations.
_SERIES_NUMBER = 7302

# What stands for the DICOM SEG that a report refers to, by keyword.
_SEG_UIDS = {
    "SOPClassUID": str(SegmentationStorage),
    "SOPInstanceUID": str(generate_uid()),
    "SeriesInstanceUID": str(generate_uid()),
}

_TITLE = Code("126000", "DCM", "Imaging Measurement Report")
_DEVICE = Code("121007", "DCM", "Device")
_COMMENT = Code("121106", "DCM", "Comment")
_ARTIFICIAL_INTELLIGENCE = Code("123109", "DCM", "Artificial Intelligence")


def save_structured_report(
    radiograph: Radiograph,
    measurements: Measurements,
    path: Path,
    *,
    algorithm: derived.Algorithm,
    density: Density | None = None,
    heart: HeartMeasurements | None = None,
    view: str | None = None,
    created: datetime | None = None,
    segmentation: Path | None = None,
) -> None:
    """Write the measurements of a radiograph as a DICOM structured report (TID 1500).

    Each lung is a measurement group with area, height and width (in mm, or else in pixels) and, with
    `density`, its grey value. An absent lung has only an area of 0. With `heart`, the heart is a group with
    its area; the cardiothoracic ratio is a group with both widths and their lines, or else a comment gives
    the reason why there is none; each costophrenic point is a group.
    The groups refer to the radiograph and to their segment in `segmentation`, the DICOM SEG that
    `save_dicom_seg` wrote for this radiograph, if one is given and has it.

    The report is marked preliminary and unverified, and as for research use only. It has the radiograph's
    patient and study, as a DICOM SEG has, and nothing else of the header. The same input, algorithm and
    `created` give the same bytes and identifiers; other measurements, or a reference to another DICOM SEG,
    give another object. For an AP `view`, a comment says that the ratio is too large. Other arguments are
    those of `save_dicom_seg`.

    Raises:
        HeaderError: the radiograph's header lacks valid identifiers, or no object can be made from it.
        OutputError: the radiograph did not come from DICOM; `segmentation` is no SEG of this radiograph; or
            the file could not be written.
    """
    path = Path(path)
    source = source_of(radiograph, path)
    segments = (
        None if segmentation is None else _read_segments(Path(segmentation), source, radiograph.path, path)
    )
    with derived.errors_of_header(radiograph.path, path, "structured report"):
        groups = list(groups_of_lungs(measurements, density))
        comments = [derived.RESEARCH_USE_ONLY, *comments_on(measurements, density)]
        if heart is not None:
            groups += groups_of_heart(heart, radiograph)
            comments += comments_on_heart(heart, view)
        report = _report(groups, comments, source, segments, algorithm)
        kind = "report" if segments is None else "report with segments"
        said = repr((groups, comments, "" if segments is None else str(segments.SOPInstanceUID)))
        uids = derived.derived_uids(source, algorithm, kind, said.encode())
        derived.give_identity(report, radiograph.header, source, *uids)
        derived.stamp(report, derived.creation_time(created))
        content = derived.to_bytes(report)
    write_whole(path, content)


def _read_segments(segmentation: Path, source: Source, radiograph: Path, path: Path) -> Dataset:
    """The identifiers of a SEG of this radiograph, in the study of `stand_in`.

    Raises:
        OutputError: the SEG cannot be read, or belongs to another radiograph.
    """
    tags = [*_SEG_UIDS, "SourceImageSequence", "SegmentSequence"]
    try:
        header = pydicom.dcmread(segmentation, stop_before_pixels=True, specific_tags=tags)
        images = {text_of(item, "ReferencedSOPInstanceUID") for item in header.get("SourceImageSequence", ())}
        uids = {keyword: text_of(header, keyword) for keyword in _SEG_UIDS}
    except Exception as error:
        raise OutputError(
            f"{path}: the DICOM SEG {segmentation} cannot be read ({type(error).__name__}); write it first."
        ) from error
    if not all(uids.values()) or source.instance not in images:
        raise OutputError(
            f"{path}: {segmentation} is no DICOM SEG of {radiograph}; give the one written for it."
        )
    segments = derived.stand_in()
    for keyword, uid in uids.items():
        derived.set_uid(segments, keyword, uid)
    segments.SegmentSequence = header.get("SegmentSequence", [])
    return segments


def _report(
    groups: Sequence[Group],
    comments: Sequence[str],
    source: Source,
    segments: Dataset | None,
    algorithm: derived.Algorithm,
) -> Dataset:
    """The highdicom.sr.ComprehensiveSR of the measurements, without a patient."""
    concepts = [concept for group in groups for concept in group.concepts]
    has_private = any(concept.scheme == PRIVATE_SCHEME for concept in concepts)
    refers = segments is not None and any(_segment_of(group, segments) is not None for group in groups)
    report = pydicom.dcmread(BytesIO(_template(algorithm, refers, has_private)))
    for element in _content(groups, comments, source, segments, algorithm):
        report[element.tag] = element
    others = {} if segments is None else {_SEG_UIDS[name]: str(segments[name].value) for name in _SEG_UIDS}
    derived.refer_to_source(report, source, others)
    return report


@lru_cache(maxsize=16)
def _template(algorithm: derived.Algorithm, has_segments: bool, has_private: bool) -> bytes:
    """The DICOM file that highdicom makes of a report on one lung without measurements.

    To build and check a report is slow, and all but its content and its identifiers is the same for every
    radiograph: it is done once, as in `lungfield.export.dicom_seg`.
    """
    # Imported on use: the import is slow, and not every run writes reports.
    import highdicom

    scheme = highdicom.coding_schemes.CodingSchemeIdentificationItem(
        PRIVATE_SCHEME, name="lungfield", version=derived.software_version()
    )
    image = derived.stand_in()
    segments = _segments(LUNGS[0]) if has_segments else None
    group = Group(LUNGS[0], LUNGS[0].title)
    report = highdicom.sr.ComprehensiveSR(
        evidence=[image] if segments is None else [image, segments],
        content=_content([group], [], derived.STAND_IN, segments, algorithm),
        series_instance_uid=generate_uid(),
        series_number=_SERIES_NUMBER,
        series_description=_SERIES_DESCRIPTION,
        sop_instance_uid=generate_uid(),
        instance_number=1,
        is_complete=True,
        transfer_syntax_uid=ExplicitVRLittleEndian,
        coding_schemes=[scheme] if has_private else None,
        **derived.equipment(algorithm),
    )
    return derived.to_bytes(report)


def _segments(label: Label) -> Dataset:
    """A stand-in for a DICOM SEG of the stand-in for the radiograph, with a segment of one structure."""
    segment, dataset = Dataset(), derived.stand_in()
    segment.SegmentNumber = 1
    segment.SegmentedPropertyTypeCodeSequence = [derived.concept(label.code)]
    dataset.SegmentSequence = [segment]
    for keyword, uid in _SEG_UIDS.items():
        setattr(dataset, keyword, uid)
    return dataset


def _content(
    groups: Sequence[Group],
    comments: Sequence[str],
    source: Source,
    segments: Dataset | None,
    algorithm: derived.Algorithm,
) -> Any:
    """The root of the content (TID 1500): a highdicom.sr.ContainerContentItem."""
    import highdicom

    content = highdicom.sr.MeasurementReport(
        observation_context=_observer(algorithm),
        procedure_reported=derived.concept(PROCEDURE),
        imaging_measurements=[_measured(group, source, segments, algorithm) for group in groups],
        title=derived.concept(_TITLE),
    )
    for text in comments:
        content[0].ContentSequence.append(
            highdicom.sr.TextContentItem(
                name=derived.concept(_COMMENT),
                value=text,
                relationship_type=highdicom.sr.RelationshipTypeValues.CONTAINS,
            )
        )
    return content[0]


def _measured(group: Group, source: Source, segments: Dataset | None, algorithm: derived.Algorithm) -> Any:
    """A measurement group: TID 1410 with a segment or a point, else TID 1501."""
    import highdicom

    image = derived.stand_in()
    label = group.label
    name = label.name if group.title == label.title else group.title
    described = {
        "tracking_identifier": highdicom.sr.TrackingIdentifier(
            uid=generate_uid(entropy_srcs=[source.instance, algorithm.name, algorithm.version, name]),
            identifier=group.title,
        ),
        "finding_category": derived.concept(ANATOMICAL_STRUCTURE),
        "finding_type": derived.concept(group.finding or label.code),
        "finding_sites": [highdicom.sr.FindingSite(derived.concept(label.code))],
        "algorithm_id": highdicom.sr.AlgorithmIdentification(
            name=algorithm.short_name,
            version=algorithm.short_version,
            family=derived.concept(_ARTIFICIAL_INTELLIGENCE),
        ),
        "measurements": [
            highdicom.sr.Measurement(
                name=derived.concept(one.concept),
                value=one.value,
                unit=derived.concept(one.unit),
                derivation=None if one.derivation is None else derived.concept(one.derivation),
                referenced_coordinates=[_coordinates(one.line)] if one.line else None,
            )
            for one in group.figures
        ]
        or None,
    }
    of_region = highdicom.sr.PlanarROIMeasurementsAndQualitativeEvaluations
    if group.point is not None:
        region = highdicom.sr.ImageRegion(
            highdicom.sr.GraphicTypeValues.POINT,
            np.array([group.point]),
            highdicom.sr.SourceImageForRegion(image.SOPClassUID, image.SOPInstanceUID),
        )
        return of_region(referenced_region=region, **described)
    number = None if segments is None else _segment_of(group, segments)
    if segments is None or number is None:
        reference = highdicom.sr.SourceImageForMeasurementGroup(image.SOPClassUID, image.SOPInstanceUID)
        return highdicom.sr.MeasurementsAndQualitativeEvaluations(source_images=[reference], **described)
    segment = highdicom.sr.ReferencedSegmentationFrame(
        sop_class_uid=segments.SOPClassUID,
        sop_instance_uid=segments.SOPInstanceUID,
        # The standard allows a frame or a segment, not both (PS3.3, section 10.3).
        frame_number=None,
        segment_number=number,
        source_image=highdicom.sr.SourceImageForSegmentation(image.SOPClassUID, image.SOPInstanceUID),
    )
    return of_region(referenced_segment=segment, **described)


def _coordinates(line: Positions) -> Any:
    """The line that a length was measured along (TID 320)."""
    import highdicom

    image = derived.stand_in()
    return highdicom.sr.CoordinatesForMeasurement(
        highdicom.sr.GraphicTypeValues.POLYLINE,
        np.array(line),
        highdicom.sr.SourceImageForRegion(image.SOPClassUID, image.SOPInstanceUID),
    )


def _segment_of(group: Group, segments: Dataset) -> int | None:
    """The number of the segment that a group measures, or None."""
    for item in segments.SegmentSequence if group.has_segment and group.point is None else ():
        (kind,) = item.SegmentedPropertyTypeCodeSequence
        if kind.get("CodeValue") == group.label.code.value:
            return int(item.SegmentNumber)
    return None


def _observer(algorithm: derived.Algorithm) -> Any:
    """The software as the observing device (TID 1004)."""
    import highdicom

    software = derived.equipment(algorithm)
    return highdicom.sr.ObservationContext(
        observer_device_context=highdicom.sr.ObserverContext(
            observer_type=derived.concept(_DEVICE),
            observer_identifying_attributes=highdicom.sr.DeviceObserverIdentifyingAttributes(
                uid=generate_uid(entropy_srcs=["device", algorithm.name, algorithm.version]),
                name=software["manufacturer"],
                manufacturer_name=software["manufacturer"],
                model_name=software["manufacturer_model_name"],
                serial_number=software["device_serial_number"],
            ),
        )
    )
