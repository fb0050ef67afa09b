"""Find the invalid pixels of a DICOM image: pixel padding and display shutters."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

MIN_VALID_FRACTION = 0.1


def valid_pixels(stored: NDArray[Any], header: Any) -> tuple[NDArray[np.bool_] | None, tuple[str, ...]]:
    """Return the mask of valid pixels, (H, W) bool or None if all are valid, and remarks for the user.

    A shutter or padding that cannot be read, or that leaves less than a tenth of the pixels, is ignored.

    Args:
        stored: (H, W) stored values.
        header: the `pydicom.Dataset`.
    """
    valid = None
    remarks = []
    for name, find in (("pixel padding", _not_padding), ("display shutter", _inside_shutter)):
        try:
            part = find(stored, header)
        except (TypeError, ValueError, AttributeError, IndexError, OverflowError):
            remarks.append(f"The {name} cannot be read and is ignored.")
            continue
        if part is None or part.all():
            continue
        together = part if valid is None else valid & part
        if together.mean() < MIN_VALID_FRACTION:
            remarks.append(f"The {name} would cover (almost) the whole image and is ignored.")
            continue
        valid = together
    return valid, tuple(remarks)


def _not_padding(stored: NDArray[Any], header: Any) -> NDArray[np.bool_] | None:
    """PixelPaddingValue, or the range up to PixelPaddingRangeLimit (DICOM PS3.3, C.7.5.1.1.2).

    Only regions that are connected to the edge of the image: the same value within a lung is a black pixel.
    """
    if header.get("PixelPaddingValue") is None or stored.dtype.kind == "f":
        return None
    limits = [_stored_value(header["PixelPaddingValue"].value, stored.dtype)]
    if header.get("PixelPaddingRangeLimit") is not None:
        limits.append(_stored_value(header["PixelPaddingRangeLimit"].value, stored.dtype))

    def is_padding(values: NDArray[Any]) -> NDArray[np.bool_]:
        return np.asarray((values >= min(limits)) & (values <= max(limits)))

    if not is_padding(_edges(stored)).any():
        return None
    count, parts = cv2.connectedComponents(is_padding(stored).view(np.uint8), connectivity=4)
    inner = np.ones(count, dtype=bool)
    inner[_edges(parts)] = False
    inner[0] = True  # component 0: pixels without the padding value
    return np.asarray(inner[parts])


def _edges(image: NDArray[Any]) -> NDArray[Any]:
    return np.concatenate([image[0], image[-1], image[:, 0], image[:, -1]])


def _stored_value(value: Any, dtype: np.dtype[Any]) -> int:
    """An integer in the range of the stored type: some writers store negative values as unsigned."""
    bits = 8 * dtype.itemsize
    number = int.from_bytes(value[:2], "little") if isinstance(value, bytes) else int(value)
    number %= 1 << bits
    return number - (1 << bits) if dtype.kind == "i" and number >= 1 << (bits - 1) else number


def _inside_shutter(stored: NDArray[Any], header: Any) -> NDArray[np.bool_] | None:
    """The pixels inside of all shutters (DICOM PS3.3, C.7.6.11), whose rows and columns count from 1."""
    value = header.get("ShutterShape") or ()
    shapes = {value} if isinstance(value, str) else set(value)
    openings = [_OPENINGS[shape](stored.shape, header) for shape in sorted(shapes & _OPENINGS.keys())]
    return np.logical_and.reduce(openings) if openings else None


def _rectangular(shape: tuple[int, ...], header: Any) -> NDArray[np.bool_]:
    inside = np.zeros(shape, dtype=bool)
    top, bottom = int(header.ShutterUpperHorizontalEdge), int(header.ShutterLowerHorizontalEdge)
    left, right = int(header.ShutterLeftVerticalEdge), int(header.ShutterRightVerticalEdge)
    inside[max(top - 1, 0) : max(bottom, 0), max(left - 1, 0) : max(right, 0)] = True
    return inside


def _circular(shape: tuple[int, ...], header: Any) -> NDArray[np.bool_]:
    row, column = (int(value) for value in header.CenterOfCircularShutter)
    rows, columns = np.ogrid[1 : shape[0] + 1, 1 : shape[1] + 1]
    inside: NDArray[np.bool_] = (rows - row) ** 2 + (columns - column) ** 2 <= (
        int(header.RadiusOfCircularShutter) ** 2
    )
    return inside


def _polygonal(shape: tuple[int, ...], header: Any) -> NDArray[np.bool_]:
    vertices = np.array(header.VerticesOfThePolygonalShutter, dtype=float).reshape(-1, 2) - 1
    # Imported on use: few radiographs have a polygonal shutter.
    from skimage.draw import polygon2mask

    inside: NDArray[np.bool_] = polygon2mask(shape, vertices)
    return inside


_OPENINGS = {"RECTANGULAR": _rectangular, "CIRCULAR": _circular, "POLYGONAL": _polygonal}
