"""Reading reference masks: PNG, GIF, TIFF, JPEG, BMP, NIfTI and DICOM SEG."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lungfield.errors import DataError
from lungfield.formats import NIFTI, has_preamble
from lungfield.labels import BACKGROUND, LEFT_LUNG, LUNG_SIDE_UNKNOWN, RIGHT_LUNG, UNKNOWN
from lungfield.mask.pictures import MAX_LABEL, read_picture
from lungfield.nifti_pose import pose_of
from lungfield.pose import Pose

_SEGMENTATION_STORAGE = "1.2.840.10008.5.1.4.1.1.66.4"
_LABEL_MAP_SEGMENTATION_STORAGE = "1.2.840.10008.5.1.4.1.1.66.7"

# The lungs of DICOM PS3.16 CID 4030 and their laterality (CID 244), with the SNOMED-RT codes of old files.
_SIDE_OF_CODE = {
    "3341006": RIGHT_LUNG.value,
    "T-28100": RIGHT_LUNG.value,
    "44029006": LEFT_LUNG.value,
    "T-28500": LEFT_LUNG.value,
}
_LUNG_CODES = {"39607008", "T-28000"}
_SIDE_OF_MODIFIER = {
    "24028007": RIGHT_LUNG.value,
    "G-A100": RIGHT_LUNG.value,
    "7771000": LEFT_LUNG.value,
    "G-A101": LEFT_LUNG.value,
}

_VALUES_OF_PARTIAL_LABELS = {BACKGROUND, RIGHT_LUNG.value, LEFT_LUNG.value, LUNG_SIDE_UNKNOWN, UNKNOWN}
# A mask has two levels; a picture with more than this part of its pixels well between them is none.
_MAX_FRACTION_BETWEEN = 0.05
# A mask of which this part and all corners are lung is a negative.
_MIN_FRACTION_OF_NEGATIVE = 0.5
# So many levels of a file that is no mask are named.
_MAX_NAMED_LEVELS = 8


def read_mask(path: Path) -> NDArray[np.uint8]:
    """Read a reference mask of the lungs.

    A picture or volume that holds only the values 0, 1 and 2, and 2 among them, is a label map and is kept:
    1 is the right lung, 2 the left. One of three or more small integers (up to 32) with others among them is
    a label map of further structures; which of them are lungs is not known, so it is refused. In any other
    one, what is brighter than half of its largest value (of 255 in a JPEG, where black is not quite 0) is
    lung whose side is not told; so is a mask of 0 and 1, the usual way to store both lungs together.

    An index into a palette counts by its colour where the colours are grey, and by itself where they only
    tell classes apart. What is lung in all four corners and in most of the rest is the negative of a mask
    and refused.

    Rows and columns are those of the file: a NIfTI file's array (x, y) is transposed to (H, W), a DICOM SEG
    is taken as it is stored (`read_reference` brings a mask upright). Its segments are told apart by their
    codes, else by 'right' and 'left' in their labels; segments that are no lungs are passed over.

    Args:
        path: a PNG, GIF, TIFF, JPEG, BMP, NIfTI (.nii, .nii.gz, .hdr) or DICOM SEG file.

    Returns:
        (H, W) uint8: 0 background, 1 right lung, 2 left lung, 255 lung whose side is not told.

    Raises:
        DataError: the file is missing, unreadable, not two-dimensional, or does not look like a mask.
    """
    return _read(Path(path))[0]


def read_reference(path: Path, pose: Pose, *, partial: bool = False) -> NDArray[np.uint8]:
    """Read the reference mask of a radiograph as `read_mask` does, and bring it upright.

    A file that tells how it lies (an affine of NIfTI, the Orientation of TIFF or EXIF) is turned by that. Any
    other one lies on the pixels as the radiograph's file stores them, in its `pose`. With `partial`, an 8-bit
    picture that holds 254 and no other values than 0, 1, 2 and 255 is a label map that is unknown there, as
    `lungfield prepare` writes it; without it such a file is refused.
    """
    label_map, own = _read(Path(path), partial=partial)
    return (own or pose).upright(label_map)


def _read(path: Path, *, partial: bool = False) -> tuple[NDArray[np.uint8], Pose | None]:
    """The label map of a mask as stored, and the pose that its file tells."""
    if not path.is_file():
        raise DataError(f"{path}: there is no such mask file.")
    if path.name.lower().endswith((*NIFTI, ".hdr", ".hdr.gz")):
        values, pose = _read_nifti(path)
        return _label_map(values, path, darkest_lung=None), pose
    try:
        is_dicom = has_preamble(path)
    except OSError as error:
        raise DataError(f"{path}: cannot be opened: {error.strerror}.") from error
    if is_dicom:
        return _read_dicom_seg(path), None
    values, is_jpeg, pose = read_picture(path)
    found = set(np.unique(values).tolist()) if values.dtype == np.uint8 else set()
    if UNKNOWN in found and len(found) > 2 and found <= _VALUES_OF_PARTIAL_LABELS:
        if not partial:
            raise DataError(
                f"{path}: this is a label that is unknown in places (254, as `lungfield prepare` writes it); "
                "it serves for training, but not as a mask."
            )
        return values.astype(np.uint8), pose
    return _label_map(values, path, darkest_lung=127.5 if is_jpeg else None), pose


def _label_map(values: NDArray[Any], path: Path, *, darkest_lung: float | None) -> NDArray[np.uint8]:
    """Turn stored values into labels; `darkest_lung` is the threshold, None for half of the largest value."""
    if values.dtype.kind not in "biuf" or not np.isfinite(values).all():
        raise DataError(f"{path}: a mask holds finite values from 0 up; this file holds others.")
    if values.min() < 0:
        raise DataError(
            f"{path}: holds values below 0 (down to {values.min():g}); a mask has 0 for background. "
            "Add to them, or save it as 0 and 255."
        )
    peak = float(values.max())
    if darkest_lung is None and 2 <= peak <= MAX_LABEL and np.isin(values, range(MAX_LABEL + 1)).all():
        levels = np.unique(values)
        if peak == LEFT_LUNG.value:
            return values.astype(np.uint8)
        if len(levels) > 2:
            further = [f"{level:g}" for level in levels if level > LEFT_LUNG.value]
            raise DataError(
                f"{path}: holds the label{'s' * (len(further) > 1)} {', '.join(further)}; a label map of the "
                "lungs has 0, 1 (right) and 2 (left). Remove the other structures, or give a file of two "
                "levels, or one for each lung."
            )
    threshold = peak / 2 if darkest_lung is None else darkest_lung
    between = np.count_nonzero((values > threshold / 2) & (values < threshold * 3 / 2)) / values.size
    if between > _MAX_FRACTION_BETWEEN:
        levels = np.unique(values)
        listed = f" (it holds {', '.join(f'{level:g}' for level in levels)})"
        raise DataError(
            f"{path}: {between:.0%} of the pixels lie between background and lung"
            f"{listed if len(levels) <= _MAX_NAMED_LEVELS else ''}, so "
            "this is a picture and not a mask; give a file of two levels, or of the labels 0, 1 and 2."
        )
    lung = values > threshold
    corners = lung[[0, 0, -1, -1], [0, -1, 0, -1]]
    if corners.all() and lung.mean() > _MIN_FRACTION_OF_NEGATIVE:
        raise DataError(f"{path}: all four corners are lung: this is the negative of a mask; invert it.")
    return np.where(lung, LUNG_SIDE_UNKNOWN, BACKGROUND).astype(np.uint8)


def _read_nifti(path: Path) -> tuple[NDArray[Any], Pose | None]:
    # Imported on use: slow, and few references are NIfTI.
    import nibabel

    try:
        image = nibabel.load(path)
        planar = [axis for axis, size in enumerate(image.shape) if size > 1 or len(image.shape) == 2]
        if len(planar) != 2:
            raise DataError(
                f"{path}: has the shape {image.shape}; a mask of a radiograph has two dimensions."
            )
        shape = tuple(image.shape[axis] for axis in planar)
        return np.asarray(image.dataobj).reshape(shape).T, pose_of(image, (planar[0], planar[1]))
    except DataError:
        raise
    except Exception as error:  # nibabel has errors of its own for each thing that can be wrong
        raise DataError(f"{path}: cannot be read as NIfTI; is the file complete?") from error


@contextmanager
def _opened_segmentation(path: Path, **options: Any) -> Iterator[Any]:
    """A DICOM SEG as `pydicom.dcmread` reads it; whatever is raised for a damaged one becomes `DataError`."""
    import pydicom

    try:
        dataset = pydicom.dcmread(path, **options)
        if dataset.get("SOPClassUID") not in (_SEGMENTATION_STORAGE, _LABEL_MAP_SEGMENTATION_STORAGE):
            raise DataError(f"{path}: is DICOM, but no segmentation (SOPClassUID); give a DICOM SEG file.")
        yield dataset
    except DataError:
        raise
    # A damaged file can raise nearly anything from pydicom and its decoders.
    except Exception as error:
        raise DataError(f"{path}: cannot be read as DICOM SEG; is the file complete?") from error


def _read_dicom_seg(path: Path) -> NDArray[np.uint8]:
    """Read a segmentation of one plane (DICOM PS3.3, section C.8.20)."""
    with _opened_segmentation(path) as dataset:
        sides = {int(item.SegmentNumber): _side_of_segment(item) for item in dataset.SegmentSequence}
        side_of_segment = {number: side for number, side in sides.items() if side is not None}
        frames = dataset.pixel_array.reshape(-1, dataset.Rows, dataset.Columns)
        if dataset.SOPClassUID == _LABEL_MAP_SEGMENTATION_STORAGE:
            masks = [(number, frame == number) for number in side_of_segment for frame in frames]
        else:
            threshold = dataset.get("MaximumFractionalValue", 1) / 2
            masks = [
                (_segment_number(dataset, index), frame > threshold) for index, frame in enumerate(frames)
            ]
    if not side_of_segment:
        raise DataError(f"{path}: none of its segments is a lung, by code or by label (SegmentSequence).")
    masks = [(number, mask) for number, mask in masks if number in side_of_segment]
    if len({number for number, _ in masks}) < len(masks):
        raise DataError(f"{path}: has several frames for a segment; a mask of a radiograph has one plane.")
    label_map = np.zeros(frames.shape[1:], dtype=np.uint8)
    for number, mask in masks:
        label_map[mask] = side_of_segment[number]
    return label_map


def referenced_sop_instance_uids(path: Path) -> set[str]:
    """The SOPInstanceUIDs of the images that a DICOM SEG says it was made from, without reading its pixels.

    Those of ReferencedSeriesSequence and SourceImageSequence (PS3.3, sections C.12.1.1 and C.7.6.1), and
    where there are none those of its frames' DerivationImageSequence (C.7.6.16.2.6). Empty where it names
    none.

    Raises:
        DataError: the file cannot be read as DICOM, or is no segmentation.
    """
    path = Path(path)
    # A group a frame can take long to read, and most files need none of them.
    return _referenced_below(path, "ReferencedSeriesSequence", "SourceImageSequence") or _referenced_below(
        path, "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"
    )


def _referenced_below(path: Path, *keywords: str) -> set[str]:
    """Every ReferencedSOPInstanceUID at any depth of these sequences of a segmentation."""
    tags = ["SOPClassUID", *keywords]
    with _opened_segmentation(path, stop_before_pixels=True, specific_tags=tags) as dataset:
        return {str(item.value) for item in dataset.iterall() if item.keyword == "ReferencedSOPInstanceUID"}


def _side_of_segment(segment: Any) -> int | None:
    """The label of an item of SegmentSequence, None where it is no lung."""
    label = str(segment.get("SegmentLabel", "")).lower()
    for kind in segment.get("SegmentedPropertyTypeCodeSequence") or []:
        if kind.get("CodeValue") in _SIDE_OF_CODE:
            return _SIDE_OF_CODE[kind.CodeValue]
        for modifier in kind.get("SegmentedPropertyTypeModifierCodeSequence") or []:
            if kind.get("CodeValue") in _LUNG_CODES and modifier.get("CodeValue") in _SIDE_OF_MODIFIER:
                return _SIDE_OF_MODIFIER[modifier.CodeValue]
        label += " lung" * (kind.get("CodeValue") in _LUNG_CODES)
    if "lung" not in label:
        return None
    if ("right" in label) != ("left" in label):
        return RIGHT_LUNG.value if "right" in label else LEFT_LUNG.value
    return LUNG_SIDE_UNKNOWN


def _segment_number(dataset: Any, index: int) -> int:
    """The segment that a frame belongs to: told for the frame, else for all frames."""
    for groups in (
        dataset.PerFrameFunctionalGroupsSequence[index],
        dataset.SharedFunctionalGroupsSequence[0],
    ):
        if "SegmentIdentificationSequence" in groups:
            return int(groups.SegmentIdentificationSequence[0].ReferencedSegmentNumber)
    raise ValueError("a frame names no segment")
