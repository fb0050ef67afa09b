"""Label maps as DICOM Segmentation objects (PS3.3, section A.51)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset, dcmread
from pydicom.uid import ExplicitVRLittleEndian, generate_uid
from pydicom.valuerep import DSfloat

from lungfield.atomic import write_whole
from lungfield.errors import OutputError
from lungfield.export import derived
from lungfield.export.source import Source, patient_orientation, source_of, values_of
from lungfield.labels import ANATOMICAL_STRUCTURE, BACKGROUND, CLAVICLES, HEART, LUNGS, Label
from lungfield.records import Radiograph

_CONTENT_LABEL = "LUNG_FIELDS"
_CONTENT_DESCRIPTION = "Lung fields. For research use: not a medical device."
_SERIES_DESCRIPTION = "Lung fields (research use only)"
_WITH_MORE_LABEL = "CHEST"
_WITH_MORE_DESCRIPTION = "Lungs, heart, clavicles. For research use: no medical device."
_WITH_MORE_SERIES = "Lung fields and more (research use only)"
# SeriesNumber is required; this one is higher than those that a modality uses.
_SERIES_NUMBER = 7301
# Lossy compression of the radiograph's pixels, copied if present.
_COMPRESSION = ("LossyImageCompression", "LossyImageCompressionRatio", "LossyImageCompressionMethod")
_STAND_IN_SIDE_PX = 8


def save_dicom_seg(
    radiograph: Radiograph,
    label_map: NDArray[np.uint8],
    path: Path,
    *,
    algorithm: derived.Algorithm,
    structures: Mapping[str, NDArray[np.bool_]] | None = None,
    viewer_geometry: bool = False,
    created: datetime | None = None,
) -> None:
    """Write masks as a binary DICOM SEG that refers to its radiograph, with a segment per lung and structure.

    The masks are in the pixels as the radiograph's file stores them. Segments may overlap. An absent lung or
    structure has an empty frame. The object has the attributes of the radiograph's patient and study, so it
    identifies the patient as the radiograph does. Required attributes that the source lacks are empty;
    invalid dates, times and codes, and multiple values where one is allowed, are left out. Text is copied
    byte for byte with its SpecificCharacterSet.

    The identifiers are those of `derived_uids`: a second run gives the same ones, and another mask gives
    another object. The same input, algorithm and `created` give the same bytes.

    Args:
        radiograph: the radiograph, read from DICOM, with its header.
        label_map: (H, W) uint8 in the stored pixels: 0 background, 1 right lung, 2 left lung.
        path: the file to write.
        structures: (H, W) bool masks of further segments, by the names of `lungfield.labels`.
        algorithm: that made the masks; name and version are cut at 64 characters.
        viewer_geometry: also give the SEG an invented frame of reference (origin 0, axes of a supine patient,
            the radiograph's spacing or else 1 mm). A projection radiograph has none, but some viewers and
            converters, such as OHIF, refuse a SEG without one. Positions relative to other objects in that
            frame are meaningless.
        created: creation time; by default SOURCE_DATE_EPOCH, else the current time.

    Raises:
        HeaderError: the radiograph's header lacks valid identifiers, or no object can be made from it.
        OutputError: the radiograph did not come from DICOM; the label map does not belong to it; or the file
            could not be written.
    """
    path = Path(path)
    source = source_of(radiograph, path)
    derived.require_its_shape(radiograph, label_map.shape, path)
    known = (BACKGROUND, *(label.value for label in LUNGS))
    # The values are consecutive, so checking the largest is enough.
    if label_map.max(initial=BACKGROUND) > max(known):
        raise OutputError(f"{path}: the label map has other values than {known}; split the lungs first.")
    with derived.errors_of_header(radiograph.path, path, "DICOM SEG"):
        segmentation = _segmentation(
            radiograph, source, label_map, structures or {}, algorithm, viewer_geometry
        )
        derived.stamp(segmentation, derived.creation_time(created))
        content = derived.to_bytes(segmentation)
    write_whole(path, content)


def _segmentation(
    radiograph: Radiograph,
    source: Source,
    label_map: NDArray[np.uint8],
    structures: Mapping[str, NDArray[np.bool_]],
    algorithm: derived.Algorithm,
    viewer_geometry: bool,
) -> Dataset:
    """A DICOM SEG: a copy of the template with the radiograph's identity, references and masks."""
    pixel_spacing_mm = None
    if viewer_geometry:
        spacing = radiograph.stored_spacing
        pixel_spacing_mm = (1.0, 1.0) if spacing is None else (spacing.row_mm, spacing.column_mm)
    further = tuple(label for label in (HEART, *CLAVICLES) if label.name in structures)
    segmentation = dcmread(BytesIO(_template(algorithm, pixel_spacing_mm, further)))
    segmentation.Rows, segmentation.Columns = label_map.shape
    frames = [label_map == lung.value for lung in LUNGS] + [structures[label.name] for label in further]
    segmentation.PixelData = _packed(frames)
    # With a geometry, the content differs, so the object gets another UID.
    kind = "viewer geometry" if viewer_geometry else "no geometry"
    kind = ", ".join([kind, *(label.name for label in further)])
    uids = derived.derived_uids(source, algorithm, kind, segmentation.PixelData)
    derived.give_identity(segmentation, radiograph.header, source, *uids)
    _refer(segmentation, source)
    _add_context(segmentation, radiograph.header)
    return segmentation


@lru_cache(maxsize=16)
def _template(
    algorithm: derived.Algorithm, pixel_spacing_mm: tuple[float, float] | None, further: tuple[Label, ...]
) -> bytes:
    """A SEG that highdicom makes from a small blank radiograph, as the bytes of a DICOM file.

    Building and validating a SEG takes most of the time, and everything except identity, references and masks
    is the same for all radiographs. So it is built once and copied. Reading a file is the fastest way to copy
    it: pydicom decodes elements lazily, and writes the others unchanged.
    """
    # Imported on use: the import is slow, and not every run writes DICOM SEG.
    import highdicom

    identification = highdicom.AlgorithmIdentificationSequence(
        name=algorithm.short_name,
        version=algorithm.short_version,
        family=highdicom.sr.CodedConcept("123109", "DCM", "Artificial Intelligence"),
    )
    segmentation = highdicom.seg.Segmentation(
        source_images=[_blank_image(pixel_spacing_mm)],
        pixel_array=np.zeros((1, _STAND_IN_SIDE_PX, _STAND_IN_SIDE_PX), dtype=np.uint8),
        segmentation_type=highdicom.seg.SegmentationTypeValues.BINARY,
        segment_descriptions=[
            _segment_description(number, label, identification)
            for number, label in enumerate((*LUNGS, *further), start=1)
        ],
        series_instance_uid=generate_uid(),
        series_number=_SERIES_NUMBER,
        series_description=_WITH_MORE_SERIES if further else _SERIES_DESCRIPTION,
        sop_instance_uid=generate_uid(),
        instance_number=1,
        content_label=_WITH_MORE_LABEL if further else _CONTENT_LABEL,
        content_description=_WITH_MORE_DESCRIPTION if further else _CONTENT_DESCRIPTION,
        transfer_syntax_uid=ExplicitVRLittleEndian,
        # Keep the empty frame of a lung that was not found.
        omit_empty_frames=False,
        **derived.equipment(algorithm),
    )
    return derived.to_bytes(segmentation)


def _blank_image(pixel_spacing_mm: tuple[float, float] | None) -> Dataset:
    """A small blank radiograph; with a spacing, it has an invented frame of reference.

    highdicom copies the geometry of the segmentation from it.
    """
    image = derived.stand_in()
    image.Rows = image.Columns = _STAND_IN_SIDE_PX
    if pixel_spacing_mm is not None:
        image.FrameOfReferenceUID = generate_uid()
        image.PositionReferenceIndicator = ""
        image.ImagePositionPatient = [0, 0, 0]
        image.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        # DS allows 16 characters, fewer than a quotient may have.
        image.PixelSpacing = [DSfloat(one, auto_format=True) for one in pixel_spacing_mm]
        image.SliceThickness = 1
    return image


def _segment_description(number: int, label: Label, identification: Any) -> Any:
    import highdicom

    description = highdicom.seg.SegmentDescription(
        segment_number=number,
        segment_label=label.title,
        segmented_property_category=derived.concept(ANATOMICAL_STRUCTURE),
        segmented_property_type=derived.concept(label.code),
        algorithm_type=highdicom.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=identification,
        display_color=highdicom.color.CIELabColor.from_rgb(*label.colour_rgb),
    )
    if label.laterality is not None:
        (kind,) = description.SegmentedPropertyTypeCodeSequence
        kind.SegmentedPropertyTypeModifierCodeSequence = [derived.concept(label.laterality)]
    return description


def _refer(segmentation: Dataset, source: Source) -> None:
    """Set every reference of the template to the source, and replace its other identifiers."""
    series = segmentation.ReferencedSeriesSequence[0]
    derived.set_uid(series, "SeriesInstanceUID", source.series)
    references = [
        series.ReferencedInstanceSequence[0],
        segmentation.SourceImageSequence[0],
        *(
            frame.DerivationImageSequence[0].SourceImageSequence[0]
            for frame in segmentation.PerFrameFunctionalGroupsSequence
        ),
    ]
    for reference in references:
        derived.set_uid(reference, "ReferencedSOPClassUID", source.sop_class)
        derived.set_uid(reference, "ReferencedSOPInstanceUID", source.instance)
    dimensions_uid = generate_uid(entropy_srcs=[segmentation.SOPInstanceUID, "dimensions"])
    for item in (*segmentation.DimensionOrganizationSequence, *segmentation.DimensionIndexSequence):
        item.DimensionOrganizationUID = dimensions_uid
    if "FrameOfReferenceUID" in segmentation:
        segmentation.FrameOfReferenceUID = generate_uid(entropy_srcs=[source.instance, "invented frame"])


def _add_context(segmentation: Dataset, header: Dataset) -> None:
    """Add body part, and the radiograph's orientation and lossy compression."""
    segmentation.BodyPartExamined = "CHEST"
    if "FrameOfReferenceUID" not in segmentation:
        segmentation.PatientOrientation = patient_orientation(header) or ""
    if values_of(header, "LossyImageCompression") == ["01"]:
        for keyword in _COMPRESSION:
            values = values_of(header, keyword)
            if values:
                setattr(segmentation, keyword, values)


def _packed(frames: list[NDArray[np.bool_]]) -> bytes:
    """Frames (H, W) with one bit per pixel, without gaps, padded to an even length (PS3.5, 8.1.1)."""
    if frames[0].size % 8:  # the second frame starts within the last byte of the first
        frames = [np.concatenate(frames, axis=None)]
    packed = b"".join(np.packbits(frame, bitorder="little").tobytes() for frame in frames)
    return packed + b"\0" * (len(packed) % 2)
