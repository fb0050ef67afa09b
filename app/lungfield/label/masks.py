"""Write masks so that they fit the radiograph in a viewer, and read masks that viewers save."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk  # noqa: N813 - as everybody calls it
from numpy.typing import NDArray

from lungfield.errors import DataError, OutputError
from lungfield.export import save_label_map_png
from lungfield.labels import (
    BACKGROUND,
    CLAVICLES,
    HEART,
    LEFT_LUNG,
    LUNG_SIDE_UNKNOWN,
    LUNGS,
    RIGHT_LUNG,
    STRUCTURES,
)
from lungfield.mask import read_mask, with_structures
from lungfield.pipeline import Segmentation
from lungfield.records import Radiograph
from lungfield.transforms.itk_geometry import geometry_of

PICTURE = ".png"
DICOM_SEG = ".dcm"
VOLUMES = (".nii.gz", ".nii", ".nrrd", ".mha")
#: Formats for viewers that show everything as a volume.
_ALWAYS_VOLUMES = (".nrrd", ".mha")
_BOTH_LUNGS = 255


def require_known(suffix: str) -> None:
    """Raise `OutputError`, with the valid suffixes, if a mask cannot be written with that suffix."""
    known = (PICTURE, *VOLUMES, DICOM_SEG)
    if suffix not in known:
        raise OutputError(
            f"A mask cannot be written as '{suffix}'; result_extension is one of {', '.join(known)}."
        )


def save_mask(lungs: Segmentation, path: Path) -> None:
    """Write the masks of a segmentation so that a viewer shows them on the radiograph.

    If the network segments heart and clavicles, they are segments of a DICOM SEG that may overlap; in a label
    map they are drawn outside of the lungs.

    Args:
        lungs: the segmentation; the radiograph's file must still exist.
        path: the file to write. The suffix gives the format: .png (H, W); .nii or .nii.gz, (W, H) or
            (W, H, 1) as ITK reads the radiograph's file; .nrrd or .mha (W, H, 1); .dcm for a DICOM SEG, only
            for a radiograph from DICOM. For a radiograph from NIfTI, volumes have its axes, such as
            (W, 1, H) for a coronal plane.

    Raises:
        OutputError: the file cannot be written.
    """
    given = [one for one, labels in STRUCTURES.items() if labels[0].name in lungs.structures]
    if path.name.endswith(DICOM_SEG):
        lungs.save_seg(path, structures=given)
        return
    label_map = with_structures(lungs.label_map, lungs.structures)
    if path.name.endswith(PICTURE):
        save_label_map_png(label_map, path)
    else:
        _save_volume(lungs.radiograph, label_map, path, always_volume=path.name.endswith(_ALWAYS_VOLUMES))


def _save_volume(
    radiograph: Radiograph, values: NDArray[np.uint8], path: Path, *, always_volume: bool
) -> None:
    geometry = geometry_of(radiograph.path, radiograph.spacing)
    header = radiograph.nifti_header
    if header is not None:  # the slowest axis first: (H, 1, W) of a coronal plane
        values = values.reshape(header.get_data_shape()[:3][::-1])
    if values.ndim < 3 and (always_volume or geometry.axes > 2):
        values = values[np.newaxis]
    if values.ndim > geometry.axes:
        geometry = geometry.as_volume()
    image = sitk.GetImageFromArray(values)
    image.SetSpacing(geometry.spacing)
    image.SetOrigin(geometry.origin)
    image.SetDirection(geometry.direction)
    try:
        sitk.WriteImage(image, str(path), useCompression=True)
    except RuntimeError as error:
        raise OutputError(f"{path}: the mask cannot be written; is there space?") from error


def read_label(
    path: Path, shape: tuple[int, int] | None = None, *, names: Mapping[int, str] | None = None
) -> NDArray[np.uint8]:
    """Read a mask that an annotator saved.

    Args:
        path: a label map as PNG, NIfTI, NRRD or MetaImage, or a DICOM SEG.
        shape: (rows, columns) of the radiograph; None to accept any.
        names: the names of a label map's values, such as `{1: "right lung", 2: "left lung"}`; structures that
            are no lungs are ignored. None for the values of `lungfield.labels`, of which the lungs are read,
            or a mask of both lungs with the values 0 and 255.

    Returns:
        (H, W) uint8 with the values of `lungfield.labels`.

    Raises:
        DataError: the file cannot be read, or has another size or unknown values.
    """
    path = Path(path)
    dicom_seg = path.name.lower().endswith(DICOM_SEG)
    label_map = read_mask(path) if dicom_seg else _named(_values(path), names or {}, path)
    if shape is not None and label_map.shape != shape:
        raise DataError(
            f"{path.name}: the mask has {label_map.shape[1]}x{label_map.shape[0]} pixels and the radiograph "
            f"{shape[1]}x{shape[0]}; save it on the radiograph's own grid."
        )
    return label_map


def _values(path: Path) -> NDArray[Any]:
    """The values (H, W) of a file that ITK reads."""
    try:
        image = sitk.ReadImage(str(path))
    except RuntimeError as error:
        raise DataError(
            f"{path.name}: cannot be read as a mask; give PNG, NIfTI, NRRD, MetaImage or DICOM SEG."
        ) from error
    if image.GetNumberOfComponentsPerPixel() > 1:
        raise DataError(f"{path.name}: has several values per pixel; a label map has one.")
    values = sitk.GetArrayFromImage(image)
    if values.ndim > 2:
        values = values.squeeze()
    if values.ndim != 2:
        raise DataError(f"{path.name}: has the size {image.GetSize()}; a radiograph's mask has one plane.")
    return values


def _named(values: NDArray[Any], names: Mapping[int, str], path: Path) -> NDArray[np.uint8]:
    """Convert the values of a file to labels, by their names if given."""
    found = np.unique(values).tolist()
    meaning = {BACKGROUND: BACKGROUND}
    if names:
        meaning |= {value: _label_of(name) for value, name in names.items()}
    elif set(found) <= {BACKGROUND, _BOTH_LUNGS}:
        meaning[_BOTH_LUNGS] = LUNG_SIDE_UNKNOWN
    else:
        meaning |= {lung.value: lung.value for lung in LUNGS}
        meaning |= {label.value: BACKGROUND for label in (HEART, *CLAVICLES)}
    unknown = [value for value in found if value not in meaning]
    if unknown:
        of_lungs = {lung.value: lung.title.lower() for lung in LUNGS}
        raise DataError(
            f"{path.name}: holds the unknown value {unknown[0]:g}; a label map has 0, "
            + ", ".join(f"{value} ({name})" for value, name in (names or of_lungs).items())
            + "."
        )
    label_map = np.zeros(values.shape, dtype=np.uint8)
    for value in found:
        label_map[values == value] = meaning[value]
    return label_map


def _label_of(name: str) -> int:
    """The label of a structure with a name; background if it is no lung."""
    words = name.lower().replace("_", " ")
    if "lung" not in words:
        return BACKGROUND
    sides = [lung.value for lung, side in ((RIGHT_LUNG, "right"), (LEFT_LUNG, "left")) if side in words]
    return sides[0] if len(sides) == 1 else LUNG_SIDE_UNKNOWN
