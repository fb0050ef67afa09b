"""The pixels of each structure, cropped to their bounding box, found once for all that measure and draw."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from lungfield.labels import BACKGROUND, LUNG_SIDE_UNKNOWN, LUNGS
from lungfield.mask.components import Projection, bounding_box, dilated

Mask = NDArray[np.bool_]
UNKNOWN_LUNG = "lung"
"""The name of the region of `LUNG_SIDE_UNKNOWN`."""


@dataclass(frozen=True)
class Region:
    """A structure with at least one pixel.

    Attributes:
        mask: (h, w) bool, the pixels within the box, contiguous.
        projection: of its pixels, in the picture.
    """

    mask: Mask
    projection: Projection

    @classmethod
    def of(cls, mask: Mask, within: tuple[slice, slice] | None = None) -> Region | None:
        """The region of a (H, W) bool mask; None if it is empty.

        `within` gives the rows and columns of `mask` in a larger picture.
        """
        found = Projection.of(mask)
        if found is None:
            return None
        cropped = np.ascontiguousarray(mask[found.box])
        return cls(cropped, found.moved(within[0].start, within[1].start) if within else found)

    @property
    def box(self) -> tuple[slice, slice]:
        """The rows and columns of its bounding box."""
        return self.projection.box

    @cached_property
    def area_px(self) -> int:
        """The number of its pixels."""
        return int(self.projection.row_counts.sum())

    @property
    def rows(self) -> NDArray[np.intp]:
        """(n,) rows of the picture in which it has pixels, ascending."""
        return np.flatnonzero(self.projection.row_counts) + self.box[0].start

    @property
    def height_px(self) -> int:
        """The number of rows of the box."""
        return self.mask.shape[0]

    @property
    def width_px(self) -> int:
        """The number of columns of the box."""
        return self.mask.shape[1]

    def touches_edge(self, shape: tuple[int, int], valid: Mask | None = None) -> bool:
        """Whether it touches the edge of a picture of `shape`, or a pixel that is not `valid` (bool)."""
        if any(side.start == 0 or side.stop == length for side, length in zip(self.box, shape, strict=True)):
            return True
        if valid is None:
            return False
        around = tuple(slice(side.start - 1, side.stop + 1) for side in self.box)
        return bool((dilated(np.pad(self.mask, 1)) & ~valid[around]).any())


class Regions:
    """The regions of a label map and of the structures besides the lungs.

    Args:
        label_map: (H, W) uint8 with the values of `lungfield.labels`.
        structures: (H, W) bool masks besides the lungs, by the names of `lungfield.labels`; they may overlap.

    Attributes:
        shape: (H, W).
    """

    def __init__(self, label_map: NDArray[np.uint8], structures: Mapping[str, Mask] | None = None) -> None:
        self.shape: tuple[int, int] = label_map.shape
        self._found = _lungs(label_map) | {name: Region.of(mask) for name, mask in (structures or {}).items()}

    def __getitem__(self, name: str) -> Region | None:
        """The region of a structure by its name; None if it is empty, or was not looked for."""
        return self._found.get(name)

    @cached_property
    def lungs(self) -> Region | None:
        """Both lungs together, including lung of unknown side."""
        return joined(*(self[name] for name in _LUNG_NAMES.values()))


_LUNG_NAMES = {label.value: label.name for label in LUNGS} | {LUNG_SIDE_UNKNOWN: UNKNOWN_LUNG}


def _lungs(label_map: NDArray[np.uint8]) -> dict[str, Region | None]:
    box = bounding_box(label_map != BACKGROUND)
    if box is None:
        return dict.fromkeys(_LUNG_NAMES.values())
    cropped = np.ascontiguousarray(label_map[box])
    highest = cropped.max()
    return {
        name: Region.of(cropped == value, box) if value <= highest else None
        for value, name in _LUNG_NAMES.items()
    }


def joined(*regions: Region | None) -> Region | None:
    """The union of regions, without those that are None; None if all are."""
    found = [region for region in regions if region is not None]
    if len(found) < 2:
        return found[0] if found else None
    rows, columns = (
        slice(min(one.box[axis].start for one in found), max(one.box[axis].stop for one in found))
        for axis in (0, 1)
    )
    mask = np.zeros((rows.stop - rows.start, columns.stop - columns.start), dtype=bool)
    for region in found:
        top, left = region.box[0].start - rows.start, region.box[1].start - columns.start
        part = mask[top : top + region.height_px, left : left + region.width_px]
        part |= region.mask
    return Region.of(mask, (rows, columns))
