"""Read reference masks: PNG, GIF, TIFF, JPEG, BMP, NIfTI and DICOM SEG."""

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
# A mask has two levels; a picture with more than this fraction of its pixels between them is no mask.
_MAX_FRACTION_BETWEEN = 0.05
# A mask with this fraction of lung, and lung in all corners, is inverted.
_MIN_FRACTION_OF_NEGATIVE = 0.5
# The error for a file that is no mask lists up to this number of levels.
_MAX_NAMED_LEVELS = 8


def read_mask(path: Path) -> NDArray[np.uint8]:
    """Read a reference mask of the lungs.

    A picture or volume with only the values 0, 1 and 2, of which 2 occurs, is a label map: 1 is the right
    lung, 2 the left. Three or more small integers (up to 32) with other values are a label map of further
    structures; it is refused, as it is not known which of them are lungs. In any other file, including one
    with the values 0 and 1, pixels above half of the largest value (above half of 255 in a JPEG, where black
    is not exactly 0) are lung of unknown side.

    For a palette of greys, the values are the colours; for a palette that only distinguishes classes, they
    are the indices. A mask that is lung in all four corners and most of its area is inverted and refused.

    Rows and columns are those of the file: a NIfTI file's array (x, y) is transposed to (H, W), and a DICOM
    SEG is read as stored (`read_reference` brings a mask upright). Segments are identified by their codes, or
    else by 'right' and 'left' in their labels; segments that are no lungs are ignored.

    Args:
        path: a PNG, GIF, TIFF, JPEG, BMP, NIfTI (.nii, .nii.gz, .hdr) or DICOM SEG file.

    Returns:
        (H, W) uint8: 0 background, 1 right lung, 2 left lung, 255 lung of unknown side.

    Raises:
        DataError: the file is missing, unreadable, not two-dimensional, or does not look like a mask.
    """
    return _read(Path(path))[0]


def read_reference(path: Path, pose: Pose, *, partial: bool = False) -> NDArray[np.uint8]:
    """Read the reference mask of a radiograph as `read_mask` does, and bring it upright.

    Args:
        path: the file.
        pose: of the radiograph's file. It also holds for the mask, unless the mask's file has its own
            orientation (the affine of NIfTI, Orientation of TIFF or EXIF).
        partial: accept an 8-bit picture with the value 254 and otherwise only 0, 1, 2 and 255, as written by
            `lungfield prepare`: pixels with 254 are unknown.

    Returns:
        (H, W) uint8 in the upright picture, with the values of `read_mask`, and 254 for unknown.

    Raises:
        DataError: as `read_mask`, also for a partial label without `partial`.
    """
    label_map, own = _read(Path(path), partial=partial)
    return (own or pose).upright(label_map)


def _read(path: Path, *, partial: bool = False) -> tuple[NDArray[np.uint8], Pose | None]:
    """The label map of a mask as stored, and the pose in its file or None."""
    if not path.is_file():
        raise DataError(f"{path}: the mask file does not exist.")
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
                f"{path}: this label has unknown pixels (254, as written by `lungfield prepare`); use it for "
                "training only, not as a reference mask."
            )
        return values.astype(np.uint8), pose
    return _label_map(values, path, darkest_lung=127.5 if is_jpeg else None), pose


def _label_map(values: NDArray[Any], path: Path, *, darkest_lung: float | None) -> NDArray[np.uint8]:
    """Convert stored values to labels; `darkest_lung` is the threshold, None for half of the maximum."""
    if values.dtype.kind not in "biuf" or not np.isfinite(values).all():
        raise DataError(f"{path}: holds values that are no finite numbers; a mask has 0 and higher values.")
    if values.min() < 0:
        raise DataError(
            f"{path}: holds values below 0 (down to {values.min():g}); a mask has 0 for background. "
            "Shift the values, or save it as 0 and 255."
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
                "lungs has 0, 1 (right) and 2 (left). Remove the other structures, or give a file with two "
                "levels, or one file for each lung."
            )
    threshold = peak / 2 if darkest_lung is None else darkest_lung
    between = np.count_nonzero((values > threshold / 2) & (values < threshold * 3 / 2)) / values.size
    if between > _MAX_FRACTION_BETWEEN:
        levels = np.unique(values)
        listed = f" (it holds {', '.join(f'{level:g}' for level in levels)})"
        raise DataError(
            f"{path}: {between:.0%} of the pixels lie between background and lung"
            f"{listed if len(levels) <= _MAX_NAMED_LEVELS else ''}, so "
            "this is a picture and not a mask; give a file with two levels, or with the labels 0, 1 and 2."
        )
    lung = values > threshold
    corners = lung[[0, 0, -1, -1], [0, -1, 0, -1]]
    if corners.all() and lung.mean() > _MIN_FRACTION_OF_NEGATIVE:
        raise DataError(f"{path}: all four corners are lung: the mask is inverted; invert it again.")
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
    except Exception as error:  # nibabel raises many kinds of exceptions
        raise DataError(f"{path}: cannot be read as NIfTI; is the file complete?") from error


@contextmanager
def _opened_segmentation(path: Path, **options: Any) -> Iterator[Any]:
    """A context with a DICOM SEG from `pydicom.dcmread`; any exception becomes `DataError`."""
    import pydicom

    try:
        dataset = pydicom.dcmread(path, **options)
        if dataset.get("SOPClassUID") not in (_SEGMENTATION_STORAGE, _LABEL_MAP_SEGMENTATION_STORAGE):
            raise DataError(f"{path}: is DICOM, but no segmentation (SOPClassUID); give a DICOM SEG file.")
        yield dataset
    except DataError:
        raise
    # For a damaged file, pydicom and its decoders can raise nearly any exception.
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
        raise DataError(f"{path}: has several frames per segment; a mask of a radiograph has one plane.")
    label_map = np.zeros(frames.shape[1:], dtype=np.uint8)
    for number, mask in masks:
        label_map[mask] = side_of_segment[number]
    return label_map


def referenced_sop_instance_uids(path: Path) -> set[str]:
    """The SOPInstanceUIDs of the source images of a DICOM SEG, read without its pixels.

    They come from ReferencedSeriesSequence and SourceImageSequence (PS3.3, sections C.12.1.1 and C.7.6.1), or
    else from its frames' DerivationImageSequence (C.7.6.16.2.6). Empty if there is no reference.

    Raises:
        DataError: the file cannot be read as DICOM, or is no segmentation.
    """
    path = Path(path)
    # The per-frame groups can be slow to read, and most files do not need them.
    return _referenced_below(path, "ReferencedSeriesSequence", "SourceImageSequence") or _referenced_below(
        path, "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"
    )


def _referenced_below(path: Path, *keywords: str) -> set[str]:
    """All ReferencedSOPInstanceUIDs at any depth of these sequences of a segmentation."""
    tags = ["SOPClassUID", *keywords]
    with _opened_segmentation(path, stop_before_pixels=True, specific_tags=tags) as dataset:
        return {str(item.value) for item in dataset.iterall() if item.keyword == "ReferencedSOPInstanceUID"}


def _side_of_segment(segment: Any) -> int | None:
    """The label of an item of SegmentSequence; None if it is no lung."""
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
    """The segment number of a frame, from its per-frame or the shared functional groups."""
    for groups in (
        dataset.PerFrameFunctionalGroupsSequence[index],
        dataset.SharedFunctionalGroupsSequence[0],
    ):
        if "SegmentIdentificationSequence" in groups:
            return int(groups.SegmentIdentificationSequence[0].ReferencedSegmentNumber)
    raise ValueError("a frame names no segment")
