"""Measurements as DICOM structured reports: TID 1500 (PS3.16) in a Comprehensive SR (PS3.3, A.35.3)."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pydicom
from pydicom import Dataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from lungfield.atomic import write_whole
from lungfield.errors import OutputError
from lungfield.export.derived import (
    RESEARCH_USE_ONLY,
    Algorithm,
    concept,
    creation_time,
    derived_uids,
    equipment,
    errors_of_header,
    give_identity,
    refer_to_source,
    set_uid,
    software_version,
    stamp,
    stand_in,
    to_bytes,
)
from lungfield.export.source import Source, source_of, text_of
from lungfield.labels import ANATOMICAL_STRUCTURE, LUNGS, Code, Label
from lungfield.mask.density import Density, GreyLevel
from lungfield.mask.measurements import Extent, Measurements
from lungfield.records import Radiograph

_SERIES_DESCRIPTION = "Lung field measurements (research use only)"
# Comes after the series of segmentations.
_SERIES_NUMBER = 7302

PROCEDURE = Code("399208008", "SCT", "Plain X-ray of chest")
_TITLE = Code("126000", "DCM", "Imaging Measurement Report")
_DEVICE = Code("121007", "DCM", "Device")
_COMMENT = Code("121106", "DCM", "Comment")
_ARTIFICIAL_INTELLIGENCE = Code("123109", "DCM", "Artificial Intelligence")
# Concepts of CID 7469, which holds the areas and lengths of CID 7470 and CID 7471.
AREA = Code("42798000", "SCT", "Area")
HEIGHT = Code("121207", "DCM", "Height")
WIDTH = Code("103355008", "SCT", "Width")
# How a figure came about: CID 7464.
_MEAN = Code("373098007", "SCT", "Mean")
_STANDARD_DEVIATION = Code("386136009", "SCT", "Standard Deviation")
SQUARE_MILLIMETRE = Code("mm2", "UCUM", "square millimeter")
MILLIMETRE = Code("mm", "UCUM", "mm")
PIXELS = Code("{pixels}", "UCUM", "pixels")
_NO_UNITS = Code("1", "UCUM", "no units")
# DICOM has no code for the grey that a screen shows, as a fraction of white.
_PRIVATE_SCHEME = "99LUNGFIELD"
_RELATIVE_DENSITY = Code("relative-density", _PRIVATE_SCHEME, "Displayed grey, 0 black to 1 white")

PLANE_COMMENTS = {
    "detector": "Lengths and areas in mm hold in the plane of the detector; in the patient they are smaller.",
    "unknown": "Whether lengths and areas in mm hold in the patient or at the detector is not known.",
    None: "The distance of the pixels is not known: areas and lengths are in pixels.",
}
_DENSITY_COMMENT = "Densities depend on exposure, processing and window; compare them within one image only."


def save_structured_report(
    radiograph: Radiograph,
    measurements: Measurements,
    path: Path,
    *,
    algorithm: Algorithm,
    density: Density | None = None,
    created: datetime | None = None,
    segmentation: Path | None = None,
) -> None:
    """Write what was measured on a radiograph as a DICOM structured report (TID 1500).

    Each lung is a measurement group with its area, height and width (in mm, else in pixels) and its grey
    where that was measured. A lung that is absent has an area of 0 and nothing else. The groups refer to the
    radiograph and, if one is given, to the lung's segment in the DICOM SEG.

    The report is marked preliminary and unverified, and says that it is for research use only. It belongs to
    the radiograph's patient and study as a DICOM SEG does (see `save_dicom_seg`), and carries nothing else
    of the header. The same input, algorithm and `created` give the same bytes and the same identifiers;
    other figures, or a reference to another DICOM SEG, are another object.

    Args:
        radiograph: the radiograph, read from DICOM, with its header.
        measurements: what was measured on its label map.
        path: the file to write.
        algorithm: what made the mask; name and version are cut at 64 characters.
        density: the grey of the lungs, or None to leave it out.
        created: the time to write as that of creation; by default SOURCE_DATE_EPOCH, else now.
        segmentation: the DICOM SEG of the lungs that `save_dicom_seg` wrote for this radiograph, or None for
            a report that refers to the radiograph alone.

    Raises:
        HeaderError: the radiograph's header has no valid identifiers to refer to, or is otherwise broken.
        OutputError: the radiograph did not come from DICOM; `segmentation` is no SEG of this radiograph; or
            the file could not be written.
    """
    path = Path(path)
    source = source_of(radiograph, path)
    segments = (
        None if segmentation is None else _read_segments(Path(segmentation), source, radiograph.path, path)
    )
    with errors_of_header(radiograph, path, "structured report"):
        report = _report(measurements, density, source, segments, algorithm)
        kind = "report" if segments is None else "report with segments"
        uids = derived_uids(source, algorithm, kind, _said(measurements, density, segments))
        give_identity(report, radiograph.header, source, *uids)
        stamp(report, creation_time(created))
        content = to_bytes(report)
    write_whole(path, content)


def _read_segments(segmentation: Path, source: Source, radiograph: Path, path: Path) -> Dataset:
    """The identifiers of a SEG of this radiograph, in the study of `stand_in`.

    Raises:
        OutputError: it cannot be read, or is of another radiograph.
    """
    keywords = ("SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID")
    try:
        header = pydicom.dcmread(
            segmentation, stop_before_pixels=True, specific_tags=[*keywords, "SourceImageSequence"]
        )
        images = {text_of(item, "ReferencedSOPInstanceUID") for item in header.get("SourceImageSequence", ())}
        uids = {keyword: text_of(header, keyword) for keyword in keywords}
    except Exception as error:
        raise OutputError(
            f"{path}: the DICOM SEG {segmentation} cannot be read ({type(error).__name__}); write it first."
        ) from error
    if not all(uids.values()) or source.instance not in images:
        raise OutputError(
            f"{path}: {segmentation} is no DICOM SEG of {radiograph}; give the one written for it."
        )
    segments = stand_in()
    for keyword, uid in uids.items():
        set_uid(segments, keyword, uid)
    return segments


def _report(
    measurements: Measurements,
    density: Density | None,
    source: Source,
    segments: Dataset | None,
    algorithm: Algorithm,
) -> Dataset:
    """The highdicom.sr.ComprehensiveSR of the measurements, of nobody yet."""
    # Imported on use: it takes a while, and not every run asks for reports.
    import highdicom

    image = stand_in()
    groups = [_group(lung, measurements, density, source, segments, algorithm) for lung in LUNGS]
    content = highdicom.sr.MeasurementReport(
        observation_context=_observer(algorithm),
        procedure_reported=concept(PROCEDURE),
        imaging_measurements=groups,
        title=concept(_TITLE),
    )
    for text in _comments(measurements, density):
        content[0].ContentSequence.append(
            highdicom.sr.TextContentItem(
                name=concept(_COMMENT),
                value=text,
                relationship_type=highdicom.sr.RelationshipTypeValues.CONTAINS,
            )
        )
    report = highdicom.sr.ComprehensiveSR(
        evidence=[image] if segments is None else [image, segments],
        content=content,
        series_instance_uid=generate_uid(),
        series_number=_SERIES_NUMBER,
        series_description=_SERIES_DESCRIPTION,
        sop_instance_uid=generate_uid(),
        instance_number=1,
        is_complete=True,
        transfer_syntax_uid=ExplicitVRLittleEndian,
        coding_schemes=None if density is None else [_private_scheme()],
        **equipment(algorithm),
    )
    refer_to_source(report, source)
    return report


def _said(measurements: Measurements, density: Density | None, segments: Dataset | None) -> bytes:
    """All that a report says of a radiograph, for its identifier."""
    figures = [_figures_of(lung, measurements, density) for lung in LUNGS]
    comments = list(_comments(measurements, density))
    return repr((figures, comments, "" if segments is None else str(segments.SOPInstanceUID))).encode()


def _group(
    lung: Label,
    measurements: Measurements,
    density: Density | None,
    source: Source,
    segments: Dataset | None,
    algorithm: Algorithm,
) -> Any:
    """The measurement group of one lung: TID 1410 where its segment is known, else TID 1501."""
    import highdicom

    image = stand_in()
    described = {
        "tracking_identifier": highdicom.sr.TrackingIdentifier(
            uid=generate_uid(entropy_srcs=[source.instance, algorithm.name, algorithm.version, lung.name]),
            identifier=lung.title,
        ),
        "finding_category": concept(ANATOMICAL_STRUCTURE),
        "finding_type": concept(lung.code),
        "finding_sites": [highdicom.sr.FindingSite(concept(lung.code))],
        "algorithm_id": highdicom.sr.AlgorithmIdentification(
            name=algorithm.short_name,
            version=algorithm.short_version,
            family=concept(_ARTIFICIAL_INTELLIGENCE),
        ),
        "measurements": [
            highdicom.sr.Measurement(
                name=concept(name),
                value=value,
                unit=concept(unit),
                derivation=None if derivation is None else concept(derivation),
            )
            for name, value, unit, derivation in _figures_of(lung, measurements, density)
        ],
    }
    if segments is None:
        reference = highdicom.sr.SourceImageForMeasurementGroup(image.SOPClassUID, image.SOPInstanceUID)
        return highdicom.sr.MeasurementsAndQualitativeEvaluations(source_images=[reference], **described)
    segment = highdicom.sr.ReferencedSegmentationFrame(
        sop_class_uid=segments.SOPClassUID,
        sop_instance_uid=segments.SOPInstanceUID,
        # The standard allows a frame or a segment, not both (PS3.3, section 10.3).
        frame_number=None,
        segment_number=lung.value,
        source_image=highdicom.sr.SourceImageForSegmentation(image.SOPClassUID, image.SOPInstanceUID),
    )
    return highdicom.sr.PlanarROIMeasurementsAndQualitativeEvaluations(
        referenced_segment=segment, **described
    )


def _figures_of(
    lung: Label, measurements: Measurements, density: Density | None
) -> list[tuple[Code, float, Code, Code | None]]:
    """(concept, value, unit, derivation) of all that is known of one lung, to six digits."""
    extent: Extent = getattr(measurements, lung.name)
    level: GreyLevel | None = None if density is None else getattr(density, lung.name)
    return [
        (name, float(f"{value:.6g}"), unit, derivation)
        for name, value, unit, derivation in _figures(extent, level)
    ]


def _figures(extent: Extent, level: GreyLevel | None) -> Iterator[tuple[Code, float, Code, Code | None]]:
    if extent.area_mm2 is None:
        yield AREA, extent.area_px, PIXELS, None
    else:
        yield AREA, extent.area_mm2, SQUARE_MILLIMETRE, None
    if extent.area_px == 0:
        return
    for name, px, mm in (
        (HEIGHT, extent.height_px, extent.height_mm),
        (WIDTH, extent.width_px, extent.width_mm),
    ):
        yield (name, px, PIXELS, None) if mm is None else (name, mm, MILLIMETRE, None)
    if level is not None:
        yield _RELATIVE_DENSITY, level.mean, _NO_UNITS, _MEAN
        yield _RELATIVE_DENSITY, level.sd, _NO_UNITS, _STANDARD_DEVIATION


def _comments(measurements: Measurements, density: Density | None) -> Iterator[str]:
    yield RESEARCH_USE_ONLY
    if measurements.spacing_plane in PLANE_COMMENTS:
        yield PLANE_COMMENTS[measurements.spacing_plane]
    if density is not None:
        yield _DENSITY_COMMENT


def _observer(algorithm: Algorithm) -> Any:
    """The software as the observing device (TID 1004)."""
    import highdicom

    software = equipment(algorithm)
    return highdicom.sr.ObservationContext(
        observer_device_context=highdicom.sr.ObserverContext(
            observer_type=concept(_DEVICE),
            observer_identifying_attributes=highdicom.sr.DeviceObserverIdentifyingAttributes(
                uid=generate_uid(entropy_srcs=["device", algorithm.name, algorithm.version]),
                name=software["manufacturer"],
                manufacturer_name=software["manufacturer"],
                model_name=software["manufacturer_model_name"],
                serial_number=software["device_serial_number"],
            ),
        )
    )


def _private_scheme() -> Any:
    from highdicom.coding_schemes import CodingSchemeIdentificationItem

    return CodingSchemeIdentificationItem(
        designator=_PRIVATE_SCHEME, name="lungfield", version=software_version()
    )
