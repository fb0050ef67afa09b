"""A picture to look at: the radiograph with the lungs' contours on it."""

from __future__ import annotations

import math
from functools import cache
from pathlib import Path
from typing import NamedTuple

import cv2
import imagecodecs
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from scipy.special import ndtri

from lungfield.atomic import write_whole
from lungfield.errors import OutputError
from lungfield.labels import LUNG_SIDE_UNKNOWN, LUNGS, Label
from lungfield.mask.components import bounding_box
from lungfield.records import Radiograph

_COLOURS = {label.value: label.colour_rgb for label in LUNGS} | {LUNG_SIDE_UNKNOWN: (0, 200, 120)}
_FILL_OPACITY = 0.1
_CONTOUR_WIDTH_PX = 2.0
# Pairs of neighbours are added this often along each axis: a binomial filter, near to a Gaussian one with a
# variance of a quarter of it, in px².
_BLUR_STEPS = 4
_MARGIN_PX = math.ceil(_CONTOUR_WIDTH_PX) + _BLUR_STEPS
_JPEG_QUALITY = 90
_TEXT_SIZE = (768, 224)
_TEXT_FONT_PX = 34


def save_overlay(
    radiograph: Radiograph,
    label_map: NDArray[np.uint8],
    path: Path,
    *,
    longest_side: int = 768,
    caption: str | None = None,
) -> None:
    """Write the radiograph as a JPEG with each lung's contour, a light fill and the letter R or L.

    Args:
        radiograph: the radiograph.
        label_map: (H, W) uint8 on the pixels as the file stores them, with the values of `lungfield.labels`.
        path: the file to write.
        longest_side: as for `render_overlay`, and likewise `caption`.
        caption: a line of text below the picture, or None.

    Raises:
        OutputError: the shapes differ, or the file could not be written.
    """
    if label_map.shape != radiograph.stored_shape:
        raise OutputError(
            f"{path}: the label map has (rows, columns) {label_map.shape} and the radiograph "
            f"{radiograph.stored_shape}; give the label map of this radiograph."
        )
    picture = render_overlay(radiograph, label_map, longest_side=longest_side, caption=caption)
    # Colour at full resolution: a contour is but two pixels wide.
    jpeg = imagecodecs.jpeg8_encode(np.asarray(picture), level=_JPEG_QUALITY, subsampling="444")
    write_whole(path, bytes(jpeg))


def render_overlay(
    radiograph: Radiograph,
    label_map: NDArray[np.uint8],
    *,
    longest_side: int = 768,
    caption: str | None = None,
) -> Image.Image:
    """Draw each lung's contour, a light fill and the letter R or L on a radiograph.

    The picture holds nothing from the file's header: what it may say of the patient is up to `caption`.

    Args:
        radiograph: the radiograph.
        label_map: (H, W) uint8 on the pixels as the file stores them, with the values of `lungfield.labels`.
        longest_side: in pixels, about. A larger radiograph is reduced by a whole number, the one that comes
            nearest to this.
        caption: a line of text below the picture, or None; what does not fit is cut off.

    Returns:
        An RGB picture, 8 bits a channel.
    """
    factor = max(1, round(max(radiograph.shape) / longest_side))
    grey = _reduced(_to_grey(radiograph.pose.stored(radiograph.pixels)), factor)
    highest = label_map.max()
    lungs = {
        value: _find_lung(label_map == value, factor) if value <= highest else None for value in _COLOURS
    }
    # Pillow blends three bands in a third of the time of one picture in colour.
    bands = [grey.copy() for _ in "RGB"]
    for value, lung in lungs.items():
        if lung is not None:
            opacity = Image.fromarray(_opacity(lung.coverage))
            for band, level in zip(bands, _COLOURS[value], strict=True):
                band.paste(level, lung.corner, opacity)
    picture = Image.merge("RGB", bands)
    for label in LUNGS:
        if (lung := lungs[label.value]) is not None:
            _draw_letter(picture, lung, label)
    return _with_caption(picture, caption) if caption else picture


def _to_grey(pixels: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Grey values in [0, 1] as the 256 steps of 8 bits."""
    grey: NDArray[np.uint8] = cv2.convertScaleAbs(pixels, alpha=255)
    return grey


def _reduced(values: NDArray[np.uint8], factor: int) -> Image.Image:
    """Average (H, W) values over squares of `factor` pixels a side, less at the right and at the bottom.

    Any scale but a whole number needs a filter, which takes three times as long, and blurs.
    """
    return Image.fromarray(values).reduce(factor)


def render_text(title: str, line: str, *, caption: str) -> Image.Image:
    """Write a title, a line and, smaller, a caption on black: 768 pixels wide, what is longer is cut off."""
    picture = Image.new("RGB", _TEXT_SIZE, (0, 0, 0))
    draw = ImageDraw.Draw(picture)
    left, height = _TEXT_FONT_PX, picture.height
    draw.text((left, 0.35 * height), title, fill=(255, 255, 255), font=_font(_TEXT_FONT_PX), anchor="lm")
    draw.text((left, 0.6 * height), line, fill=(255, 208, 112), font=_font(_TEXT_FONT_PX), anchor="lm")
    return _with_caption(picture, caption)


class _Lung(NamedTuple):
    """One lung in the picture.

    Attributes:
        corner: (x, y) of the coverage's first pixel in the picture.
        coverage: (h, w) uint8, the share of lung in each pixel, 255 for all of it; no more than the lung
            and a margin of background, where the picture has one.
    """

    corner: tuple[int, int]
    coverage: NDArray[np.uint8]


def _find_lung(mask: NDArray[np.bool_], factor: int) -> _Lung | None:
    """Reduce a (H, W) mask to the picture's size; None where it is empty."""
    box = bounding_box(mask)
    if box is None:
        return None
    (top, bottom), (left, right) = (
        (
            max(0, side.start // factor - _MARGIN_PX),
            min(-(-length // factor), -(-side.stop // factor) + _MARGIN_PX),
        )
        for side, length in zip(box, mask.shape, strict=True)
    )
    crop = mask[factor * top : factor * bottom, factor * left : factor * right]
    return _Lung((left, top), np.asarray(_reduced(crop.view(np.uint8) * np.uint8(255), factor)))


def _opacity(coverage: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """How strongly a lung's colour covers the radiograph: (h, w) uint8 of a (h, w) coverage in [0, 255]."""
    # The border of the picture is no contour: what lies there goes on beyond it.
    blurred = np.pad(coverage, _BLUR_STEPS // 2, mode="edge").astype(np.uint16)
    for _ in range(_BLUR_STEPS):
        blurred = blurred[1:] + blurred[:-1]
    for _ in range(_BLUR_STEPS):
        blurred = blurred[:, 1:] + blurred[:, :-1]
    return _opacities().take(blurred)


@cache
def _opacities() -> NDArray[np.uint8]:
    """The opacity for each value of a blurred coverage: the contour's or, where it is more, the fill's.

    A blurred mask rises across its edge as the normal distribution does. The inverse of that gives a pixel's
    distance from the edge, and so a contour that is smooth and equally wide at any angle.
    """
    highest = 255 * 4**_BLUR_STEPS
    share = np.arange(highest + 1) / highest
    distance_px = math.sqrt(_BLUR_STEPS) / 2 * np.abs(ndtri(np.clip(share, 1e-4, 1 - 1e-4)))
    contour = np.clip(_CONTOUR_WIDTH_PX / 2 + 0.5 - distance_px, 0, 1)
    return np.rint(255 * np.maximum(contour, _FILL_OPACITY * share)).astype(np.uint8)


def _draw_letter(picture: Image.Image, lung: _Lung, label: Label) -> None:
    """Write the lung's letter beside its upper outer edge."""
    inside = lung.coverage > 127
    rows = np.flatnonzero(inside.any(axis=1))
    if rows.size == 0:
        return
    y = int(rows[0] + 0.2 * (rows[-1] - rows[0]))
    columns = np.flatnonzero(inside[y] if inside[y].any() else inside[rows[0]]) + lung.corner[0]
    y += lung.corner[1]
    # Outward is away from the middle of the picture, whichever lung lies there.
    outward = -1 if columns.mean() < picture.width / 2 else 1
    font_px = max(12, round(max(picture.size) / 30))
    x = columns[0 if outward < 0 else -1] + outward * font_px
    ImageDraw.Draw(picture).text(
        (
            float(np.clip(x, font_px, picture.width - font_px)),
            float(np.clip(y, font_px, picture.height - font_px)),
        ),
        label.title[0],
        fill=label.colour_rgb,
        font=_font(font_px),
        anchor="mm",
        stroke_width=max(1, font_px // 16),
        stroke_fill=(0, 0, 0),
    )


def _with_caption(picture: Image.Image, caption: str) -> Image.Image:
    """The picture with a dark strip below that holds one line of text."""
    font_px = max(10, round(picture.width / 48))
    font = _font(font_px)
    line = " ".join(caption.split())
    room = picture.width - 2 * font_px
    while line and font.getlength(line) > room:
        line = line[:-2].rstrip() + "…" if len(line) > 2 else ""
    captioned = Image.new("RGB", (picture.width, picture.height + 2 * font_px), (16, 16, 16))
    captioned.paste(picture, (0, 0))
    draw = ImageDraw.Draw(captioned)
    draw.text((font_px, picture.height + font_px), line, fill=(224, 224, 224), font=font, anchor="lm")
    return captioned


@cache
def _font(size_px: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Pillow's own font, unpacked once for each size."""
    return ImageFont.load_default(size_px)
