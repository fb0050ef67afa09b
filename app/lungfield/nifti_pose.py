"""How the picture in a NIfTI file lies, by its affine; and the affine and header of a mask that lies so."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from lungfield.pose import Pose

_LETTERS = (("L", "R"), ("P", "A"), ("F", "H"))
"""Of the negative and the positive direction of each axis, as in PatientOrientation of DICOM."""
_VERTICAL = {"P": "F", "A": "H"}
"""What stands for down and up in a picture that has no place in the patient."""
_AS_ANY_PICTURE = ("L", "P")
"""What writers such as ITK make of a picture of which they know nothing."""
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
    """The pose that the affine of a nibabel image of one plane tells, or None.

    In a coronal plane that is what the affine says. A picture that was never placed in the patient lies in
    the plane of left and posterior for most writers, where posterior stands for down; what such a writer
    makes of any picture, first axis to the left and second to posterior, tells nothing. `planar` are the axes
    that run along a row and along a column.
    """
    found = directions(image, planar)
    if found is None or found == _AS_ANY_PICTURE:
        return None
    if not set(found) & {"H", "F"}:
        found = (_VERTICAL.get(found[0], found[0]), _VERTICAL.get(found[1], found[1]))
    return Pose.of_directions(*found)


def is_frontal(image: Any, planar: tuple[int, int]) -> bool:
    """Whether the affine of a nibabel image, if it means anything, leaves its picture a frontal one."""
    found = directions(image, planar)
    return found is None or ("" not in found and bool(set(found) & {"L", "R"}))


def directions(image: Any, planar: tuple[int, int]) -> tuple[str, str] | None:
    """The main directions of a row and of a column, of A, P, R, L, H, F; each '' where it points nowhere.

    None where the affine means nothing: qform_code and sform_code are 0, or it is the identity of files that
    are made at home.
    """
    header = image.header
    told = any(name in header and int(header[name]) > 0 for name in ("qform_code", "sform_code"))
    if not told or np.array_equal(image.affine, np.eye(4)):
        return None
    # Imported on use: it takes a while, though not where there is an image of it already.
    from nibabel.orientations import aff2axcodes

    if max(planar) > 2 or not np.isfinite(image.affine).all():
        return "", ""
    letters = aff2axcodes(image.affine, _LETTERS)
    return letters[planar[0]] or "", letters[planar[1]] or ""


def affine_of(pose: Pose, zooms: tuple[float, float]) -> NDArray[np.float64]:
    """The (4, 4) affine by which `pose_of` tells the pose of a picture, which starts at 0.

    `zooms` are the lengths of a pixel along a row and along a column.
    """
    affine = np.eye(4)
    for axis, (direction, zoom) in enumerate(zip(pose.directions, zooms, strict=True)):
        affine[:3, axis] = np.multiply(_UNITS[direction], zoom)
    if np.array_equal(affine, np.eye(4)):
        affine[2, 2] = -1  # the identity would tell nothing
    return affine


def geometry_of(header: Any) -> Any:
    """A NIfTI-1 header that has all from another one (NIfTI or Analyze) that places its array, and no text.

    Texts such as descrip and aux_file may hold identity.
    """
    from nibabel import Nifti1Header

    geometry = Nifti1Header()
    for name in _GEOMETRY:
        if name in header:
            geometry[name] = header[name]
    if abs(float(geometry["pixdim"][0])) != 1:  # Analyze has something else there
        geometry["pixdim"][0] = 1
    return geometry
