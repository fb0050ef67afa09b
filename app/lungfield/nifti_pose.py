"""The pose of a NIfTI file's picture from its affine, and the affine and header for a mask of that pose."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from lungfield.pose import Pose

_LETTERS = (("L", "R"), ("P", "A"), ("F", "H"))
"""The negative and the positive direction of each axis, as in DICOM's PatientOrientation."""
_VERTICAL = {"P": "F", "A": "H"}
"""The axes that represent down and up in a picture without patient coordinates."""
_AS_ANY_PICTURE = ("L", "P")
"""The directions that writers such as ITK use for a picture of unknown orientation."""
_UNITS = {"L": (-1, 0, 0), "R": (1, 0, 0), "F": (0, -1, 0), "H": (0, 1, 0)}
_GEOMETRY = (
    "pixdim",
    "xyzt_units",
    "qform_code",
    "sform_code",
    *(f"quatern_{axis}" for axis in "bcd"),
    *(f"qoffset_{axis}" for axis in "xyz"),
    *(f"srow_{axis}" for axis in "xyz"),
)


def pose_of(image: Any, planar: tuple[int, int]) -> Pose | None:
    """The pose from the affine of a nibabel image with one plane; None if the affine does not give it.

    For a coronal plane it follows from the affine. For a picture without patient coordinates, most writers
    use the plane of left and posterior, where posterior represents down; their default for any picture (first
    axis left, second axis posterior) gives no information.

    Args:
        image: the nibabel image.
        planar: the axes along a row and along a column.
    """
    found = directions(image, planar)
    if found is None or found == _AS_ANY_PICTURE:
        return None
    if not set(found) & {"H", "F"}:
        found = (_VERTICAL.get(found[0], found[0]), _VERTICAL.get(found[1], found[1]))
    return Pose.of_directions(*found)


def is_frontal(image: Any, planar: tuple[int, int]) -> bool:
    """Whether the affine of a nibabel image is not valid or describes a frontal plane."""
    found = directions(image, planar)
    return found is None or ("" not in found and bool(set(found) & {"L", "R"}))


def directions(image: Any, planar: tuple[int, int]) -> tuple[str, str] | None:
    """The main directions of a row and a column, of A, P, R, L, H, F; '' for a zero vector.

    None if the affine is not valid: qform_code and sform_code are 0, or it is the identity, as in self-made
    files.
    """
    header = image.header
    has_pose = any(name in header and int(header[name]) > 0 for name in ("qform_code", "sform_code"))
    if not has_pose or np.array_equal(image.affine, np.eye(4)):
        return None
    # Imported on use: the import is slow, unless nibabel is imported already.
    from nibabel.orientations import aff2axcodes

    if max(planar) > 2 or not np.isfinite(image.affine).all():
        return "", ""
    letters = aff2axcodes(image.affine, _LETTERS)
    return letters[planar[0]] or "", letters[planar[1]] or ""


def affine_of(pose: Pose, zooms: tuple[float, float]) -> NDArray[np.float64]:
    """The (4, 4) float64 affine, with the origin 0, from which `pose_of` returns `pose`.

    `zooms` are the sizes of a pixel along a row and along a column.
    """
    affine = np.eye(4)
    for axis, (direction, zoom) in enumerate(zip(pose.directions, zooms, strict=True)):
        affine[:3, axis] = np.multiply(_UNITS[direction], zoom)
    if np.array_equal(affine, np.eye(4)):
        affine[2, 2] = -1  # the identity would count as not valid
    return affine


def geometry_of(header: Any) -> Any:
    """A NIfTI-1 header with the geometry of another header (NIfTI or Analyze), and without its text fields.

    Text fields such as descrip and aux_file may identify a patient.
    """
    from nibabel import Nifti1Header

    geometry = Nifti1Header()
    for name in _GEOMETRY:
        if name in header:
            geometry[name] = header[name]
    if abs(float(geometry["pixdim"][0])) != 1:  # Analyze uses this field for something else
        geometry["pixdim"][0] = 1
    return geometry
