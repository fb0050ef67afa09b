"""How a picture lies, by the Orientation of its EXIF data."""

from __future__ import annotations

from typing import Any

from lungfield.pose import Pose

ORIENTATION = 274


def pose_of(image: Any) -> Pose | None:
    """The pose that the EXIF data of a Pillow image tells (`Pose.of_exif`), or None."""
    try:
        return Pose.of_exif(int(image.getexif().get(ORIENTATION, 1)))
    except Exception:  # damaged EXIF is no reason to turn a picture down
        return None
