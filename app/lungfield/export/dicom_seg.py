"""Label maps as DICOM Segmentation objects (PS3.3, section A.51)."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache, partial
from io import BytesIO
from pathlib import Path
from typing import Any, cast

import cv2
import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset, dcmread
from pydicom.dataelem import RawDataElement
from pydicom.tag import BaseTag, Tag
from pydicom.uid import ExplicitVRLittleEndian, generate_uid
from pydicom.valuerep import DSfloat

from lungfield.atomic import write_whole
from lungfield.errors import OutputError
from lungfield.export import derived
from lungfield.export.source import Source, patient_orientation, raw_element, source_of, values_of
from lungfield.labels import ANATOMICAL_STRUCTURE, BACKGROUND, CLAVICLES, HEART, LUNGS, Label
from lungfield.mask.regions import Region, Regions
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
_STAND_IN_TIME = datetime.max.replace(microsecond=0)
# Of the template. It is a hash like the identifiers of `derived_uids`, and so as long as these.
_STAND_IN_UID = generate_uid(entropy_srcs=["template"])


def save_dicom_seg(
    radiograph: Radiograph,
    label_map: NDArray[np.uint8],
    path: Path,
    *,
    algorithm: derived.Algorithm,
    structures: Mapping[str, NDArray[np.bool_]] | None = None,
    regions: Regions | None = None,
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
        regions: of `label_map` and `structures`, if they are known.
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
    found = regions or Regions(label_map, structures)
    further = tuple(label for label in (HEART, *CLAVICLES) if label.name in (structures or {}))
    pixels = _packed([found[label.name] for label in (*LUNGS, *further)], label_map.shape)
    with derived.errors_of_header(radiograph.path, path, "DICOM SEG"):
        content = _segmentation(
            radiograph, source, pixels, further, algorithm, viewer_geometry, derived.creation_time(created)
        )
    write_whole(path, content)


def _segmentation(
    radiograph: Radiograph,
    source: Source,
    pixels: bytes,
    further: tuple[Label, ...],
    algorithm: derived.Algorithm,
    viewer_geometry: bool,
    created: datetime,
) -> bytes:
    """A DICOM SEG as a file: the template with the radiograph's identity, references and masks."""
    pixel_spacing_mm = None
    if viewer_geometry:
        spacing = radiograph.stored_spacing
        pixel_spacing_mm = (1.0, 1.0) if spacing is None else (spacing.row_mm, spacing.column_mm)
    template = _template(algorithm, pixel_spacing_mm, further, _stand_in(source))
    # With a geometry, the content differs, so the object gets another UID.
    kind = "viewer geometry" if viewer_geometry else "no geometry"
    kind = ", ".join([kind, *(label.name for label in further)])
    series, instance = derived.derived_uids(source, algorithm, kind, pixels)
    elements = dict(template.elements)
    for own in (
        *_references(template, source, instance, created),
        *derived.identity(radiograph.header, source, series, instance),
        *derived.creation(created),
        *_context(radiograph.header, source, viewer_geometry),
        *_image(template, radiograph.stored_shape, pixels),
    ):
        elements[own.tag] = own
    head = template.head.replace(_STAND_IN_UID.encode(), instance.encode())
    return b"".join((head, *derived.encoded(elements[tag] for tag in sorted(elements))))


@dataclass(frozen=True)
class _Template:
    """A SEG of a small blank radiograph, of which everything but identity, references and masks is copied.

    Attributes:
        head: the beginning of the file, with the file meta information.
        elements: of the data set, in explicit VR little endian.
    """

    head: bytes
    elements: Mapping[BaseTag, RawDataElement]


@lru_cache(maxsize=256)
def _template(
    algorithm: derived.Algorithm,
    pixel_spacing_mm: tuple[float, float] | None,
    further: tuple[Label, ...],
    stand_in: Source,
) -> _Template:
    """The template for all radiographs whose identifiers are as long as those of `stand_in`.

    Thus the identifiers within its sequences can be replaced in their bytes, which is much faster than
    reading and writing the sequences.
    """
    segmentation = dcmread(BytesIO(_blank_segmentation(algorithm, pixel_spacing_mm, further)))
    _refer(segmentation, stand_in)
    derived.stamp(segmentation, _STAND_IN_TIME)
    segmentation.BodyPartExamined = "CHEST"
    content = derived.to_bytes(segmentation)
    read = dcmread(BytesIO(content))
    # Elements stay raw until their value is read.
    elements = {tag: cast(RawDataElement, read.get_item(tag)) for tag in read.keys()}  # noqa: SIM118
    head = content[: -len(b"".join(derived.encoded(elements.values())))]
    return _Template(head, elements)


@lru_cache(maxsize=16)
def _blank_segmentation(
    algorithm: derived.Algorithm, pixel_spacing_mm: tuple[float, float] | None, further: tuple[Label, ...]
) -> bytes:
    """A SEG of a small blank radiograph, as the bytes of a DICOM file; without a spacing from the cache."""
    make = partial(_make_blank_segmentation, algorithm, pixel_spacing_mm, further)
    # With a geometry there are nearly as many as radiographs, which would fill the user's folder.
    return make() if pixel_spacing_mm else derived.kept("dicom-seg", (algorithm, further), make)


def _make_blank_segmentation(
    algorithm: derived.Algorithm, pixel_spacing_mm: tuple[float, float] | None, further: tuple[Label, ...]
) -> bytes:
    """Let highdicom build and validate it: at the first time half a second and 150 MB for its tables."""
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
        sop_instance_uid=_STAND_IN_UID,
        instance_number=1,
        content_label=_WITH_MORE_LABEL if further else _CONTENT_LABEL,
        content_description=_WITH_MORE_DESCRIPTION if further else _CONTENT_DESCRIPTION,
        transfer_syntax_uid=ExplicitVRLittleEndian,
        # Keep the empty frame of a lung that was not found.
        omit_empty_frames=False,
        **derived.equipment(algorithm),
    )
    if further:  # heart and clavicles lie over the lungs; highdicom judges by the blank frames
        segmentation.SegmentsOverlap = "UNDEFINED"
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


def _stand_in(source: Source) -> Source:
    """Identifiers as long as those of a source, of characters that occur nowhere in DICOM text."""
    return Source("\1" * len(source.sop_class), "\2" * len(source.instance), "\3" * len(source.series), "\4")


def _refer(segmentation: Dataset, source: Source) -> None:
    """Set every reference of the template to the source."""
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
    for item in (*segmentation.DimensionOrganizationSequence, *segmentation.DimensionIndexSequence):
        item.DimensionOrganizationUID = _dimensions_uid(segmentation.SOPInstanceUID)


def _dimensions_uid(instance: str) -> str:
    return generate_uid(entropy_srcs=[instance, "dimensions"])


def _references(
    template: _Template, source: Source, instance: str, created: datetime
) -> Iterator[RawDataElement]:
    """The sequences of the template, with the identifiers and the time of this object."""
    stand_in = _stand_in(source)
    replacements = [
        (stand_in.sop_class, source.sop_class),
        (stand_in.instance, source.instance),
        (stand_in.series, source.series),
        (_dimensions_uid(_STAND_IN_UID), _dimensions_uid(instance)),
        (f"{_STAND_IN_TIME:%Y%m%d%H%M%S}", f"{created:%Y%m%d%H%M%S}"),
    ]
    for element in template.elements.values():
        if element.VR == "SQ" and element.value is not None:
            content = element.value
            for old, new in replacements:
                content = content.replace(old.encode(), new.encode())
            yield element._replace(value=content)


def _context(header: Dataset, source: Source, viewer_geometry: bool) -> Iterator[RawDataElement]:
    """The frame of reference or else the radiograph's orientation, and its lossy compression."""
    if viewer_geometry:
        frame = generate_uid(entropy_srcs=[source.instance, "invented frame"])
        yield raw_element("FrameOfReferenceUID", frame.encode())
    else:
        yield raw_element("PatientOrientation", "\\".join(patient_orientation(header)).encode())
    if values_of(header, "LossyImageCompression") == ["01"]:
        for keyword in _COMPRESSION:
            values = values_of(header, keyword)
            if values:
                yield raw_element(keyword, "\\".join(values).encode())


def _image(template: _Template, shape: tuple[int, int], pixels: bytes) -> Iterator[RawDataElement]:
    """The masks and their numbers of rows and columns."""
    for keyword, length in zip(("Rows", "Columns"), shape, strict=True):
        yield raw_element(keyword, struct.pack("<H", length))
    yield template.elements[Tag("PixelData")]._replace(value=pixels)


def _packed(frames: list[Region | None], shape: tuple[int, int]) -> bytes:
    """Frames of a shape (H, W) with one bit per pixel, without gaps, padded to an even length.

    The order of bits is that of PS3.5, section 8.1.1. A frame is a region, or None if it is empty.
    """
    height, width = shape
    packed = np.zeros(-(-len(frames) * height * width // 16) * 2, dtype=np.uint8)
    for number, region in enumerate(frames):
        if region is None:
            continue
        # Eight rows of any width fill whole bytes, so begin at a multiple of eight.
        begin, above = divmod(number * height + region.box[0].start, 8)
        left, right = region.box[1].start, width - region.box[1].stop
        rows = cv2.copyMakeBorder(region.mask.view(np.uint8), above, 0, left, right, cv2.BORDER_CONSTANT)
        bits = np.packbits(rows, bitorder="little")
        packed[begin * width : begin * width + bits.size] |= bits
    return packed.tobytes()
