"""How a picture lies, as far as a DICOM header tells: PatientOrientation (DICOM PS3.3, C.7.6.1.1.1)."""

from __future__ import annotations

from typing import Any

from lungfield.pose import Pose


def directions(header: Any) -> tuple[str, str]:
    """The main directions of a row and of a column, of A, P, R, L, H, F; each '' where it is not known."""
    value = header.get("PatientOrientation") or ""
    parts = [value] if isinstance(value, str) else list(value)
    if len(parts) != 2:
        return "", ""
    along_rows, along_columns = (str(part).strip().upper()[:1] for part in parts)
    return along_rows, along_columns


def read_pose(header: Any) -> Pose | None:
    """The pose of the stored picture, None where the header does not tell it."""
    return Pose.of_directions(*directions(header))
