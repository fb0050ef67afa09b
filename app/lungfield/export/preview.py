"""Write previews for the report: an SVG with the radiograph and the contours in separate layers."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import cv2
import imagecodecs
import numpy as np
from numpy.typing import NDArray

from lungfield.atomic import write_whole
from lungfield.export.overlay import Reduced, reduced_picture
from lungfield.labels import STRUCTURES
from lungfield.mask.regions import Region, Regions
from lungfield.records import Radiograph

_JPEG_QUALITY = 85
# How far a contour may be from the mask's, in pixels of the picture.
_TOLERANCE_PX = 0.4
_REFERENCE_RGB = (255, 255, 255)
_LABELS = [label for labels in STRUCTURES.values() for label in labels]
# Without a fragment, all layers show; with the name of a layer after '#', only that layer.
_STYLE = (
    "svg:has(.layer:target) .layer:not(:target){display:none}"
    "path{fill:none;stroke-width:2px;stroke-linejoin:round;vector-effect:non-scaling-stroke}"
    "#reference path{stroke-dasharray:6 4}"
)


def save_preview(
    radiograph: Radiograph,
    regions: Regions,
    path: Path,
    *,
    reference: NDArray[np.generic] | None = None,
    reduced: Reduced | None = None,
) -> None:
    """Write a radiograph and its contours as SVG with the layers 'picture', 'prediction' and 'reference'.

    A browser shows a single layer if its name is the URL's fragment, as in `a.svg#prediction`. The picture is
    an embedded JPEG, and holds nothing from the file's header.

    Args:
        radiograph: the radiograph.
        regions: of the masks on the pixels as the file stores them.
        path: the file to write.
        reference: a reference mask, (H, W), likewise, non-zero on lung; None without one.
        reduced: the result of `reduced_picture` for this radiograph, if it is known.

    Raises:
        OutputError: the file could not be written.
    """
    factor, picture = reduced or reduced_picture(radiograph)
    grey = np.asarray(picture)
    jpeg = base64.b64encode(imagecodecs.jpeg8_encode(grey, level=_JPEG_QUALITY)).decode("ascii")
    height, width = grey.shape
    drawn = "".join(_path(regions[label.name], factor, label.colour_rgb, label.name) for label in _LABELS)
    expected = None if reference is None else Region.of(reference != 0)
    against = _path(expected, factor, _REFERENCE_RGB, "reference_lungs")
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}"><style>{_STYLE}</style>'
        f'<image class="layer" id="picture" width="{width}" height="{height}" '
        f'href="data:image/jpeg;base64,{jpeg}"/>'
        f'<g class="layer" id="prediction">{drawn}</g><g class="layer" id="reference">{against}</g></svg>\n'
    )
    write_whole(path, svg.encode("ascii"))


def _path(region: Region | None, factor: int, colour_rgb: tuple[int, int, int], name: str) -> str:
    """The contours of a region as an SVG path, in pixels of a picture that is reduced by a factor."""
    if region is None:
        return ""
    lines = "".join(_lines(region, factor))
    return f'<path data-structure="{name}" stroke="rgb{colour_rgb}" d="{lines}"/>'


def _lines(region: Region, factor: int) -> Iterator[str]:
    contours, _ = cv2.findContours(region.mask.view(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    corner = np.array([region.box[1].start, region.box[0].start])
    for contour in contours:
        # In tenths of a pixel, each point relative to the one before.
        simple = cv2.approxPolyDP(contour, _TOLERANCE_PX * factor, closed=True)[:, 0]
        points = np.rint(10 * (simple + corner + 0.5) / factor).astype(int)
        start, ways = (
            " ".join(map(_tenths, numbers.ravel().tolist()))
            for numbers in (points[0], np.diff(points, axis=0))
        )
        yield f"M{start}l{ways}z"


@cache
def _tenths(number: int) -> str:
    """A number of tenths; most occur many times."""
    return f"{number / 10:g}"
