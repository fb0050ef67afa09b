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
# Required, and high enough to come after the series that the study's own equipment made.
_SERIES_NUMBER = 7301
# What the radiograph's own pixels went through, copied where it is known.
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
    """Write masks as a binary DICOM SEG that refers to its radiograph, a segment for each lung and structure.

    The masks lie on the pixels as the radiograph's file stores them, mirrored or not. Segments may overlap,
    and each is whole. A lung or structure that is absent has an empty frame. The object belongs to the
    radiograph's patient and study and carries their attributes, like any object derived from it: it is no
    safer to pass on than the radiograph itself. What it requires and the source lacks is empty; dates, times
    and codes that are not valid DICOM are left out, as are several values where one is allowed. Text is
    copied byte for byte with its SpecificCharacterSet.

    Its identifiers derive from those of the source, from the algorithm, its weights and the version of
    lungfield, and from the mask: a second run gives the same ones, so that an archive does not gather copies,
    and another mask is another object. All radiographs of one series give one series of segmentations. The
    same input, algorithm and `created` give the same bytes.

    Args:
        radiograph: the radiograph, read from DICOM, with its header.
        label_map: (H, W) uint8 of the same shape: 0 background, 1 right lung, 2 left lung.
        path: the file to write.
        structures: (H, W) bool masks of further segments, by the names of `lungfield.labels`.
        algorithm: what made the mask; name and version are cut at 64 characters.
        viewer_geometry: also place the picture in an invented frame of reference (origin 0, axes of a supine
            patient, the radiograph's spacing or else 1 mm). A radiograph has no such place, but some viewers
            and converters, OHIF among them, refuse a SEG without one. Distances to other objects in that
            frame mean nothing.
        created: the time to write as that of creation; by default SOURCE_DATE_EPOCH, else now.

    Raises:
        HeaderError: the radiograph's header has no valid identifiers to refer to, or is otherwise broken.
        OutputError: the radiograph did not come from DICOM; the label map does not belong to it; or the file
            could not be written.
    """
    path = Path(path)
    source = source_of(radiograph, path)
    derived.require_its_label_map(radiograph, label_map, path)
    known = (BACKGROUND, *(label.value for label in LUNGS))
    # They follow one another, so that the largest value tells.
    if label_map.max(initial=BACKGROUND) > max(known):
        raise OutputError(f"{path}: the label map holds values other than {known}; split the lungs first.")
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
    """The DICOM SEG of masks: the template with the radiograph's identity, references and masks."""
    pixel_spacing_mm = None
    if viewer_geometry:
        spacing = radiograph.stored_spacing
        pixel_spacing_mm = (1.0, 1.0) if spacing is None else (spacing.row_mm, spacing.column_mm)
    further = tuple(label for label in (HEART, *CLAVICLES) if label.name in structures)
    segmentation = dcmread(BytesIO(_template(algorithm, pixel_spacing_mm, further)))
    segmentation.Rows, segmentation.Columns = label_map.shape
    frames = [label_map == lung.value for lung in LUNGS] + [structures[label.name] for label in further]
    segmentation.PixelData = _packed(frames)
    # With a geometry, the object says something else, so it is another object.
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
    """The SEG that highdicom makes of a small blank stand-in for a radiograph, as a DICOM file.

    Building and checking one costs more than all else, and all but identity, references and masks is the
    same for every radiograph; so it is done once, and copies get what is their own. To read a file is the
    fastest way to copy it: pydicom decodes no more than is asked for, and writes the rest as it was.
    """
    # Imported on use: it takes a while, and not every run asks for DICOM SEG.
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
        # A lung that was looked for and not found keeps its empty frame.
        omit_empty_frames=False,
        **derived.equipment(algorithm),
    )
    return derived.to_bytes(segmentation)


def _blank_image(pixel_spacing_mm: tuple[float, float] | None) -> Dataset:
    """A small stand-in for a radiograph, in a plane of an invented frame if a spacing is given.

    highdicom takes the geometry of the segmentation from there.
    """
    image = derived.stand_in()
    image.Rows = image.Columns = _STAND_IN_SIDE_PX
    if pixel_spacing_mm is not None:
        image.FrameOfReferenceUID = generate_uid()
        image.PositionReferenceIndicator = ""
        image.ImagePositionPatient = [0, 0, 0]
        image.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        # A quotient has more digits than DICOM allows.
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
    """Point every reference of the template to the source, and every other identifier away from it."""
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
    """Add which way the picture lies, what it shows, and what its pixels went through."""
    segmentation.BodyPartExamined = "CHEST"
    if "FrameOfReferenceUID" not in segmentation:
        segmentation.PatientOrientation = patient_orientation(header) or ""
    if values_of(header, "LossyImageCompression") == ["01"]:
        for keyword in _COMPRESSION:
            values = values_of(header, keyword)
            if values:
                setattr(segmentation, keyword, values)


def _packed(frames: list[NDArray[np.bool_]]) -> bytes:
    """Frames (H, W), a bit a pixel, without gaps, padded to an even length (PS3.5, 8.1.1)."""
    if frames[0].size % 8:  # the second frame begins within a byte of the first
        frames = [np.concatenate(frames, axis=None)]
    packed = b"".join(np.packbits(frame, bitorder="little").tobytes() for frame in frames)
    return packed + b"\0" * (len(packed) % 2)
