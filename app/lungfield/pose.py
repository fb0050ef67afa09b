"""The pose of a picture in its file (rotated, mirrored), and conversion to and from the upright picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

_Value = TypeVar("_Value", bound=np.generic)
_Number = TypeVar("_Number")
_Real = TypeVar("_Real", int, float)

_ORIENTATION_TAG = 274


@dataclass(frozen=True)
class Pose:
    """The operations that bring a stored picture upright: transpose, then reverse rows, then reverse columns.

    An upright frontal radiograph has the head at the top and the patient's right on the left side of the
    picture. The eight poses are the rotations and mirror images of a rectangle.

    Attributes:
        transposed: rows and columns are exchanged.
        rows_reversed: then the order of the rows is reversed.
        columns_reversed: then the order of the columns is reversed.
    """

    transposed: bool = False
    rows_reversed: bool = False
    columns_reversed: bool = False

    @classmethod
    def of_directions(cls, along_rows: str, along_columns: str) -> Pose | None:
        """The pose from the directions of rows and columns: 'L', 'R' (the patient's), 'H' (head), 'F' (feet).

        None if the two directions do not span the frontal plane.
        """
        transposed = along_rows in ("H", "F")
        across, down = (along_columns, along_rows) if transposed else (along_rows, along_columns)
        if across not in ("L", "R") or down not in ("H", "F"):
            return None
        return cls(transposed, rows_reversed=down == "H", columns_reversed=across == "R")

    @classmethod
    def of_exif(cls, orientation: int) -> Pose | None:
        """The pose of an Orientation of EXIF or TIFF (TIFF 6.0, section 8) from 2 to 8.

        None for 1, which most programs write as a default, and for invalid values.
        """
        directions = ("RF", "RH", "LH", "FL", "FR", "HR", "HL")
        return cls.of_directions(*directions[orientation - 2]) if 2 <= orientation <= 8 else None

    @classmethod
    def of_picture(cls, image: Any) -> Pose | None:
        """The pose in the EXIF data of a Pillow image (`of_exif`), or None."""
        try:
            return cls.of_exif(int(image.getexif().get(_ORIENTATION_TAG, 1)))
        except Exception:  # damaged EXIF data must not make a picture unreadable
            return None

    @property
    def directions(self) -> tuple[str, str]:
        """The directions of rows and columns of the stored picture: ('L', 'F') for an upright one."""
        across = "R" if self.columns_reversed else "L"
        down = "H" if self.rows_reversed else "F"
        return (down, across) if self.transposed else (across, down)

    @property
    def is_upright(self) -> bool:
        """Whether the picture is stored upright."""
        return self == Pose()

    @property
    def is_mirrored(self) -> bool:
        """Whether the stored picture is a mirror image, which rotation alone cannot bring upright."""
        return self.transposed ^ self.rows_reversed ^ self.columns_reversed

    def upright(self, stored: NDArray[_Value]) -> NDArray[_Value]:
        """An upright view of a stored (H, W) or (H, W, C) array."""
        turned = stored.swapaxes(0, 1) if self.transposed else stored
        turned = turned[::-1] if self.rows_reversed else turned
        return turned[:, ::-1] if self.columns_reversed else turned

    def stored(self, upright: NDArray[_Value]) -> NDArray[_Value]:
        """A view of an upright array in the stored pose; the inverse of `upright`."""
        turned = upright[:, ::-1] if self.columns_reversed else upright
        turned = turned[::-1] if self.rows_reversed else turned
        return turned.swapaxes(0, 1) if self.transposed else turned

    def stored_pair(self, upright: tuple[_Number, _Number]) -> tuple[_Number, _Number]:
        """Convert a pair of (row, column) values, such as a shape, from the upright to the stored picture."""
        return upright[::-1] if self.transposed else upright

    def stored_point(self, upright: tuple[_Real, _Real], shape: tuple[int, int]) -> tuple[_Real, _Real]:
        """Convert a (row, column) of the upright picture, which has `shape`, to the stored picture."""
        row, column = upright
        row = shape[0] - 1 - row if self.rows_reversed else row
        column = shape[1] - 1 - column if self.columns_reversed else column
        return self.stored_pair((row, column))

    def then(self, further: Pose) -> Pose:
        """The pose that is equivalent to this one followed by `further`."""
        rows, columns = self.rows_reversed, self.columns_reversed
        if further.transposed:
            rows, columns = columns, rows
        return Pose(
            self.transposed ^ further.transposed,
            rows ^ further.rows_reversed,
            columns ^ further.columns_reversed,
        )


UPRIGHT = Pose()
UPSIDE_DOWN = Pose(rows_reversed=True, columns_reversed=True)
QUARTER_TURNS = (UPRIGHT, Pose(True, False, True), UPSIDE_DOWN, Pose(True, True, False))
"""The poses that undo a rotation by 0, 90, 180 and 270 degrees, without mirroring."""
MIRRORED = Pose(columns_reversed=True)
ALL_POSES = tuple(turn.then(mirror) for mirror in (UPRIGHT, MIRRORED) for turn in QUARTER_TURNS)
