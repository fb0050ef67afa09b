"""How a picture lies in its file: turned, upside down, mirrored; and how to bring it upright and back."""

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
    """What brings a stored picture upright: transpose it first, then reverse rows, then reverse columns.

    Upright is a frontal radiograph with the head at the top and the patient's right on the left side of the
    picture. The eight poses are the turns and mirror images of a rectangle.

    Attributes:
        transposed: rows and columns change places.
        rows_reversed: after that, the last row comes first.
        columns_reversed: and the last column comes first.
    """

    transposed: bool = False
    rows_reversed: bool = False
    columns_reversed: bool = False

    @classmethod
    def of_directions(cls, along_rows: str, along_columns: str) -> Pose | None:
        """The pose of a picture whose rows and columns run to 'L', 'R' (the patient's), 'H' or 'F'.

        Head and feet; None where the two directions do not span the frontal plane.
        """
        transposed = along_rows in ("H", "F")
        across, down = (along_columns, along_rows) if transposed else (along_rows, along_columns)
        if across not in ("L", "R") or down not in ("H", "F"):
            return None
        return cls(transposed, rows_reversed=down == "H", columns_reversed=across == "R")

    @classmethod
    def of_exif(cls, orientation: int) -> Pose | None:
        """The pose that an Orientation of EXIF or TIFF (TIFF 6.0, section 8) tells: 2 to 8.

        None for 1, which most programs write without knowing, and for what means nothing.
        """
        directions = ("RF", "RH", "LH", "FL", "FR", "HR", "HL")
        return cls.of_directions(*directions[orientation - 2]) if 2 <= orientation <= 8 else None

    @classmethod
    def of_picture(cls, image: Any) -> Pose | None:
        """The pose that the EXIF data of a Pillow image tells (`of_exif`), or None."""
        try:
            return cls.of_exif(int(image.getexif().get(_ORIENTATION_TAG, 1)))
        except Exception:  # damaged EXIF is no reason to turn a picture down
            return None

    @property
    def directions(self) -> tuple[str, str]:
        """Where rows and columns of the stored picture run to: ('L', 'F') for an upright one."""
        across = "R" if self.columns_reversed else "L"
        down = "H" if self.rows_reversed else "F"
        return (down, across) if self.transposed else (across, down)

    @property
    def is_upright(self) -> bool:
        """Whether the picture is stored upright, so that there is nothing to do."""
        return self == Pose()

    @property
    def is_mirrored(self) -> bool:
        """Whether the stored picture is a mirror image, which no turning brings upright."""
        return self.transposed ^ self.rows_reversed ^ self.columns_reversed

    def upright(self, stored: NDArray[_Value]) -> NDArray[_Value]:
        """A view of a stored (H, W) or (H, W, C) array that is upright."""
        turned = stored.swapaxes(0, 1) if self.transposed else stored
        turned = turned[::-1] if self.rows_reversed else turned
        return turned[:, ::-1] if self.columns_reversed else turned

    def stored(self, upright: NDArray[_Value]) -> NDArray[_Value]:
        """A view of an upright array that lies as it is stored: the reverse of `upright`."""
        turned = upright[:, ::-1] if self.columns_reversed else upright
        turned = turned[::-1] if self.rows_reversed else turned
        return turned.swapaxes(0, 1) if self.transposed else turned

    def stored_pair(self, upright: tuple[_Number, _Number]) -> tuple[_Number, _Number]:
        """A pair of (row, column) values, such as a shape, of the stored picture from those upright."""
        return upright[::-1] if self.transposed else upright

    def stored_point(self, upright: tuple[_Real, _Real], shape: tuple[int, int]) -> tuple[_Real, _Real]:
        """(row, column) of the stored picture from that of the upright one, which has that shape."""
        row, column = upright
        row = shape[0] - 1 - row if self.rows_reversed else row
        column = shape[1] - 1 - column if self.columns_reversed else column
        return self.stored_pair((row, column))

    def then(self, further: Pose) -> Pose:
        """The pose that does the same as this one and `further` after it."""
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
"""The poses that undo a turn by 0, 90, 180 and 270 degrees, without a mirror."""
MIRRORED = Pose(columns_reversed=True)
ALL_POSES = tuple(turn.then(mirror) for mirror in (UPRIGHT, MIRRORED) for turn in QUARTER_TURNS)
