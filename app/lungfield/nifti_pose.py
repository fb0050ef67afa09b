"""How the picture in a NIfTI file lies, by its affine."""

from __future__ import annotations

from typing import Any

from lungfield.pose import Pose


def is_placed(image: Any) -> bool:
    """Whether a nibabel image says that its affine means something: qform_code or sform_code is not 0."""
    header = image.header
    return any(name in header and int(header[name]) > 0 for name in ("qform_code", "sform_code"))


def pose_of(image: Any, planar: tuple[int, int]) -> Pose | None:
    """The pose that the affine of a nibabel image tells, or None.

    Args:
        image: of one plane.
        planar: which axes run along a row and along a column.
    """
    if not is_placed(image) or max(planar) > 2:
        return None
    return Pose.of_affine(image.affine, planar)
