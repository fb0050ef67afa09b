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
from lungfield.export import derived
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
    algorithm: derived.Algorithm,
    density: Density | None = None,
    created: datetime | None = None,
    segmentation: Path | None = None,
) -> None:
    """Write what was measured on a radiograph as a DICOM structured report (TID 1500).

    Each lung is a measurement group with its area, height and width (in mm, else in pixels) and its grey
    where `density` is given. A lung that is absent has an area of 0 and nothing else. The groups refer to the
    radiograph and to the lung's segment in `segmentation`, the DICOM SEG that `save_dicom_seg` wrote for this
    radiograph, if one is given.

    The report is marked preliminary and unverified, and says that it is for research use only. It belongs to
    the radiograph's patient and study as a DICOM SEG does, and carries nothing else of the header. The same
    input, algorithm and `created` give the same bytes and the same identifiers; other figures, or a reference
    to another DICOM SEG, are another object. Other arguments are those of `save_dicom_seg`.

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
    with derived.errors_of_header(radiograph.path, path, "structured report"):
        report = _report(measurements, density, source, segments, algorithm)
        kind = "report" if segments is None else "report with segments"
        figures = [list(_figures(lung, measurements, density)) for lung in LUNGS]
        comments = list(_comments(measurements, density))
        said = repr((figures, comments, "" if segments is None else str(segments.SOPInstanceUID))).encode()
        uids = derived.derived_uids(source, algorithm, kind, said)
        derived.give_identity(report, radiograph.header, source, *uids)
        derived.stamp(report, derived.creation_time(created))
        content = derived.to_bytes(report)
    write_whole(path, content)


def _read_segments(segmentation: Path, source: Source, radiograph: Path, path: Path) -> Dataset:
    """The identifiers of a SEG of this radiograph, in the study of `stand_in`.

    Raises `OutputError` where it cannot be read, or is of another radiograph.
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
    segments = derived.stand_in()
    for keyword, uid in uids.items():
        derived.set_uid(segments, keyword, uid)
    return segments


def _report(
    measurements: Measurements,
    density: Density | None,
    source: Source,
    segments: Dataset | None,
    algorithm: derived.Algorithm,
) -> Dataset:
    """The highdicom.sr.ComprehensiveSR of the measurements, of nobody yet."""
    # Imported on use: it takes a while, and not every run asks for reports.
    import highdicom

    image = derived.stand_in()
    scheme = highdicom.coding_schemes.CodingSchemeIdentificationItem(
        _PRIVATE_SCHEME, name="lungfield", version=derived.software_version()
    )
    groups = [_group(lung, measurements, density, source, segments, algorithm) for lung in LUNGS]
    content = highdicom.sr.MeasurementReport(
        observation_context=_observer(algorithm),
        procedure_reported=derived.concept(PROCEDURE),
        imaging_measurements=groups,
        title=derived.concept(_TITLE),
    )
    for text in _comments(measurements, density):
        content[0].ContentSequence.append(
            highdicom.sr.TextContentItem(
                name=derived.concept(_COMMENT),
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
        coding_schemes=None if density is None else [scheme],
        **derived.equipment(algorithm),
    )
    derived.refer_to_source(report, source)
    return report


def _group(
    lung: Label,
    measurements: Measurements,
    density: Density | None,
    source: Source,
    segments: Dataset | None,
    algorithm: derived.Algorithm,
) -> Any:
    """The measurement group of one lung: TID 1410 where its segment is known, else TID 1501."""
    import highdicom

    image = derived.stand_in()
    described = {
        "tracking_identifier": highdicom.sr.TrackingIdentifier(
            uid=generate_uid(entropy_srcs=[source.instance, algorithm.name, algorithm.version, lung.name]),
            identifier=lung.title,
        ),
        "finding_category": derived.concept(ANATOMICAL_STRUCTURE),
        "finding_type": derived.concept(lung.code),
        "finding_sites": [highdicom.sr.FindingSite(derived.concept(lung.code))],
        "algorithm_id": highdicom.sr.AlgorithmIdentification(
            name=algorithm.short_name,
            version=algorithm.short_version,
            family=derived.concept(_ARTIFICIAL_INTELLIGENCE),
        ),
        "measurements": [
            highdicom.sr.Measurement(
                name=derived.concept(name),
                value=value,
                unit=derived.concept(unit),
                derivation=None if derivation is None else derived.concept(derivation),
            )
            for name, value, unit, derivation in _figures(lung, measurements, density)
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


def _figures(
    lung: Label, measurements: Measurements, density: Density | None
) -> Iterator[tuple[Code, float, Code, Code | None]]:
    """(concept, value, unit, derivation) of all that is known of one lung, to six digits."""
    extent: Extent = getattr(measurements, lung.name)
    level: GreyLevel | None = None if density is None else getattr(density, lung.name)
    found: list[tuple[Code, float | None, float, Code]] = [
        (AREA, extent.area_mm2, extent.area_px, SQUARE_MILLIMETRE)
    ]
    if extent.area_px:
        found.append((HEIGHT, extent.height_mm, extent.height_px, MILLIMETRE))
        found.append((WIDTH, extent.width_mm, extent.width_px, MILLIMETRE))
    for name, mm, px, unit in found:
        yield (name, _rounded(px), PIXELS, None) if mm is None else (name, _rounded(mm), unit, None)
    if extent.area_px and level is not None:
        yield _RELATIVE_DENSITY, _rounded(level.mean), _NO_UNITS, _MEAN
        yield _RELATIVE_DENSITY, _rounded(level.sd), _NO_UNITS, _STANDARD_DEVIATION


def _rounded(value: float) -> float:
    return float(f"{value:.6g}")


def _comments(measurements: Measurements, density: Density | None) -> Iterator[str]:
    yield derived.RESEARCH_USE_ONLY
    if measurements.spacing_plane in PLANE_COMMENTS:
        yield PLANE_COMMENTS[measurements.spacing_plane]
    if density is not None:
        yield _DENSITY_COMMENT


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
