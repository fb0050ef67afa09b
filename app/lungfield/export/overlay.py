"""Draw overlays: the radiograph with the contours of lungs, heart and clavicles."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache, lru_cache
from pathlib import Path
from statistics import NormalDist
from typing import NamedTuple

import cv2
import imagecodecs
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from lungfield.atomic import write_whole
from lungfield.errors import OutputError
from lungfield.export.derived import require_its_shape
from lungfield.labels import CLAVICLES, HEART, LUNGS, Label
from lungfield.mask.heart import HeartMeasurements
from lungfield.mask.regions import UNKNOWN_LUNG, Region, Regions
from lungfield.records import Radiograph

LONGEST_SIDE_PX = 768
"""About how large pictures are: enough to judge a contour."""

_COLOURS = {label.name: label.colour_rgb for label in LUNGS} | {UNKNOWN_LUNG: (0, 200, 120)}
_COLOURS |= {label.name: label.colour_rgb for label in (HEART, *CLAVICLES)}
_THORAX_RGB = (240, 240, 240)
_FILL_OPACITY = 0.1
_CONTOUR_WIDTH_PX = 2.0
# A binomial filter, near to a Gaussian one with this standard deviation.
_BLUR = np.array([1, 4, 6, 4, 1], dtype=np.float32) / 16
_BLUR_SIGMA_PX = 1.0
_MARGIN_PX = math.ceil(_CONTOUR_WIDTH_PX) + _BLUR.size - 1
_OPACITY_STEPS = 4096
_JPEG_QUALITY = 90
_PNG_LEVEL = 3
_TEXT_SIZE = (768, 224)
_TEXT_FONT_PX = 34


def save_overlay(
    radiograph: Radiograph,
    regions: Regions,
    path: Path,
    *,
    longest_side: int = LONGEST_SIDE_PX,
    caption: str | None = None,
    heart: HeartMeasurements | None = None,
    reduced: Reduced | None = None,
) -> None:
    """Write the picture of `render_overlay` as PNG or JPEG.

    Args:
        radiograph: the radiograph.
        regions: of the masks on the pixels as the file stores them.
        path: the file to write: .png, .jpg or .jpeg.
        longest_side: as for `render_overlay`, and likewise the other arguments.
        caption: a line of text below the picture, or None.
        heart: the measurements of heart and chest.
        reduced: the result of `reduced_picture` for this radiograph and `longest_side`, if it is known.

    Raises:
        OutputError: `path` has another suffix, the shapes differ, or the file could not be written.
    """
    encode = _ENCODERS.get(path.suffix.lower())
    if encode is None:
        raise OutputError(f"{path}: an overlay is saved as {', '.join(_ENCODERS)}.")
    require_its_shape(radiograph, regions.shape, path)
    picture = render_overlay(
        radiograph,
        regions,
        longest_side=longest_side,
        caption=caption,
        heart=heart,
        reduced=reduced,
    )
    write_whole(path, encode(np.asarray(picture)))


def _to_jpeg(picture: NDArray[np.uint8]) -> bytes:
    # No chroma subsampling, as a contour is only two pixels wide.
    return bytes(imagecodecs.jpeg8_encode(picture, level=_JPEG_QUALITY, subsampling="444"))


def _to_png(picture: NDArray[np.uint8]) -> bytes:
    return bytes(imagecodecs.png_encode(picture, level=_PNG_LEVEL))


_ENCODERS: dict[str, Callable[[NDArray[np.uint8]], bytes]] = {
    ".png": _to_png,
    ".jpg": _to_jpeg,
    ".jpeg": _to_jpeg,
}
"""By the suffix of the file."""


def render_overlay(
    radiograph: Radiograph,
    regions: Regions,
    *,
    longest_side: int = LONGEST_SIDE_PX,
    caption: str | None = None,
    heart: HeartMeasurements | None = None,
    reduced: Reduced | None = None,
) -> Image.Image:
    """Draw each lung's contour, a light fill and the letter R or L on a radiograph, and further structures.

    These are the contours of heart and clavicles and, if it was measured, the cardiothoracic ratio with the
    lines along which it is measured: the greatest width of the chest, and the distances of the heart's
    borders from the midline.

    The picture holds nothing from the file's header; only `caption` may hold information on the patient.

    Args:
        radiograph: the radiograph.
        regions: of the masks on the pixels as the file stores them: the lungs, and any further structures.
        longest_side: approximate length in pixels. A larger radiograph is reduced by the integer factor that
            comes nearest to this.
        caption: a line of text below the picture, or None; text that does not fit is cut off.
        heart: the measurements on the upright picture; None without a heart.
        reduced: the result of `reduced_picture` for this radiograph and `longest_side`, if it is known.

    Returns:
        An RGB picture with 8 bits per channel.
    """
    factor, grey = reduced or reduced_picture(radiograph, longest_side)
    drawn = {
        name: _draw(region, regions.shape, factor)
        for name in _COLOURS
        if (region := regions[name]) is not None
    }
    # Pillow blends three single bands in a third of the time of an RGB picture.
    bands = [grey.copy() for _ in "RGB"]
    for name, found in drawn.items():
        opacity = Image.fromarray(_opacity(found.coverage))
        for band, level in zip(bands, _COLOURS[name], strict=True):
            band.paste(level, found.corner, opacity)
    picture = Image.merge("RGB", bands)
    if heart is not None:
        _draw_ratio(picture, heart, radiograph, factor)
    for label in LUNGS:
        if label.name in drawn:
            _draw_letter(picture, drawn[label.name], label)
    return _with_caption(picture, caption) if caption else picture


class Reduced(NamedTuple):
    """A radiograph as its file stores it, reduced by an integer factor.

    Attributes:
        factor: width and height of a pixel of the picture in pixels of the file.
        picture: in 256 greys.
    """

    factor: int
    picture: Image.Image


def reduced_picture(radiograph: Radiograph, longest_side: int = LONGEST_SIDE_PX) -> Reduced:
    """A radiograph reduced by the whole number that brings its longest side nearest to `longest_side`."""
    factor = max(1, round(max(radiograph.shape) / longest_side))
    means = _reduced(radiograph.pose.stored(radiograph.pixels), factor)
    return Reduced(factor, Image.fromarray(cv2.convertScaleAbs(means, alpha=255)))


def _reduced(values: NDArray[np.float32] | NDArray[np.uint8], factor: int) -> NDArray[np.float32]:
    """Average (H, W) values over squares of `factor` x `factor` pixels, smaller at the right and bottom edge.

    A scale that is not an integer needs a filter, which blurs and takes longer. Sums of rows first, then
    of columns, are faster than OpenCV's and Pillow's reduction.
    """
    height, width = values.shape
    rows = np.zeros((-(-height // factor), width + -width % factor), dtype=np.float32)
    for first in range(factor):
        added = values[first::factor]
        cv2.accumulate(added, rows[: len(added), :width])
    means: NDArray[np.float32] = rows.reshape(len(rows), -1, factor) @ np.full(
        factor, 1 / factor**2, dtype=np.float32
    )
    means[-1] *= factor / ((height - 1) % factor + 1)
    means[:, -1] *= factor / ((width - 1) % factor + 1)
    return means


def render_text(title: str, line: str, *, caption: str) -> Image.Image:
    """Render a title, a line and a smaller caption on black, 768 pixels wide; longer text is cut off."""
    picture = Image.new("RGB", _TEXT_SIZE, (0, 0, 0))
    draw = ImageDraw.Draw(picture)
    left, height = _TEXT_FONT_PX, picture.height
    draw.text((left, 0.35 * height), title, fill=(255, 255, 255), font=_font(_TEXT_FONT_PX), anchor="lm")
    draw.text((left, 0.6 * height), line, fill=(255, 208, 112), font=_font(_TEXT_FONT_PX), anchor="lm")
    return _with_caption(picture, caption)


class _Drawn(NamedTuple):
    """One structure in the picture.

    Attributes:
        corner: (x, y) of the coverage's first pixel in the picture.
        coverage: (h, w) float32 in [0, 1], the covered share of each pixel; cropped to the structure and a
            margin.
    """

    corner: tuple[int, int]
    coverage: NDArray[np.float32]


def _draw(region: Region, shape: tuple[int, int], factor: int) -> _Drawn:
    """Reduce a region of a picture of `shape` by an integer factor."""
    (top, above, below), (left, before, after) = (
        _margins(side, length, factor) for side, length in zip(region.box, shape, strict=True)
    )
    mask = cv2.copyMakeBorder(region.mask.view(np.uint8), above, below, before, after, cv2.BORDER_CONSTANT)
    return _Drawn((left, top), _reduced(mask, factor))


def _margins(side: slice, length: int, factor: int) -> tuple[int, int, int]:
    """The first pixel of the picture to draw, and the margins of `side` in pixels of the file."""
    first = max(0, side.start // factor - _MARGIN_PX)
    stop = min(length, factor * (-(-side.stop // factor) + _MARGIN_PX))
    return first, side.start - factor * first, stop - side.stop


def _opacity(coverage: NDArray[np.float32]) -> NDArray[np.uint8]:
    """The opacity of a lung's colour, (h, w) uint8, from its coverage, (h, w) float32 in [0, 1]."""
    # No contour along the edge of the picture, as the structure may continue beyond it.
    blurred = cv2.sepFilter2D(
        coverage, cv2.CV_32F, _BLUR, _BLUR * _OPACITY_STEPS, delta=0.5, borderType=cv2.BORDER_REPLICATE
    )
    return _opacities().take(blurred.astype(np.uint16))


@cache
def _opacities() -> NDArray[np.uint8]:
    """The opacity for each step of a blurred coverage: the larger of the contour's and the fill's.

    Across its edge, a blurred mask follows the normal distribution function. Its inverse gives the distance
    of a pixel from the edge, and so a smooth contour of the same width at any angle.
    """
    share = np.linspace(0, 1, _OPACITY_STEPS + 1)
    inverse = NormalDist().inv_cdf
    distance_px = _BLUR_SIGMA_PX * np.abs([inverse(one) for one in np.clip(share, 1e-4, 1 - 1e-4)])
    contour = np.clip(_CONTOUR_WIDTH_PX / 2 + 0.5 - distance_px, 0, 1)
    return np.rint(255 * np.maximum(contour, _FILL_OPACITY * share)).astype(np.uint8)


def _draw_letter(picture: Image.Image, lung: _Drawn, label: Label) -> None:
    """Write the lung's letter beside its upper outer edge."""
    inside = lung.coverage >= 0.5
    rows = np.flatnonzero(inside.any(axis=1))
    if rows.size == 0:
        return
    y = int(rows[0] + 0.2 * (rows[-1] - rows[0]))
    columns = np.flatnonzero(inside[y] if inside[y].any() else inside[rows[0]]) + lung.corner[0]
    y += lung.corner[1]
    # Outward is away from the middle of the picture, for either lung.
    outward = -1 if columns.mean() < picture.width / 2 else 1
    font_px = _letter_px(picture)
    x = columns[0 if outward < 0 else -1] + outward * font_px
    place = (
        int(np.clip(x, font_px, picture.width - font_px)),
        int(np.clip(y, font_px, picture.height - font_px)),
    )
    _write(picture, place, label.title[0], label.colour_rgb, anchor="mm")


def _draw_ratio(picture: Image.Image, heart: HeartMeasurements, radiograph: Radiograph, factor: int) -> None:
    """Draw the cardiothoracic ratio, and its lines with marks at their ends."""
    thorax, right, left = heart.thorax, heart.heart_right, heart.heart_left
    if heart.cardiothoracic_ratio is None or thorax is None or right is None or left is None:
        return

    def place(row: int, column: int) -> tuple[float, float]:
        stored = radiograph.pose.stored_point((row, column), radiograph.shape)
        return (stored[1] + 0.5) / factor, (stored[0] + 0.5) / factor

    draw = ImageDraw.Draw(picture)
    font_px = _letter_px(picture)
    mark, width = factor * font_px // 3, max(2, font_px // 12)
    for line, colour in ((thorax, _THORAX_RGB), (right, HEART.colour_rgb), (left, HEART.colour_rgb)):
        ends = (line.first_column, line.last_column)
        draw.line([place(line.row, column) for column in ends], fill=colour, width=width)
        for column in ends:
            between = [place(line.row + offset, column) for offset in (-mark, mark)]
            draw.line(between, fill=colour, width=width)
    # The midline joins the two halves of the heart's width.
    joint = [
        place(line.row, column) for line, column in ((right, right.last_column), (left, left.first_column))
    ]
    draw.line(joint, fill=HEART.colour_rgb, width=width)
    text = f"CTR {heart.cardiothoracic_ratio:.2f}"
    _write(picture, (font_px, picture.height - font_px), text, _THORAX_RGB, anchor="lm")


def _write(
    picture: Image.Image, place: tuple[int, int], text: str, colour_rgb: tuple[int, int, int], *, anchor: str
) -> None:
    """Write a text in a colour with a black stroke around it; `anchor` is Pillow's, and at (x, y) `place`."""
    (left, top), around, letters = _lettering(text, _letter_px(picture), anchor)
    corner = (place[0] + left, place[1] + top)
    picture.paste((0, 0, 0), corner, around)
    picture.paste(colour_rgb, corner, letters)


@lru_cache(maxsize=256)
def _lettering(text: str, font_px: int, anchor: str) -> tuple[tuple[int, int], Image.Image, Image.Image]:
    """A text's upper left corner, seen from its anchor, and its masks with and without the stroke.

    They are kept, as most pictures have the same texts.
    """
    font, stroke_px = _font(font_px), max(1, font_px // 16)
    left, top, right, bottom = map(round, font.getbbox(text, anchor=anchor, stroke_width=stroke_px))
    masks = []
    for width in (stroke_px, 0):
        mask = Image.new("L", (right - left, bottom - top))
        ImageDraw.Draw(mask).text((-left, -top), text, fill=255, font=font, anchor=anchor, stroke_width=width)
        masks.append(mask)
    return (left, top), masks[0], masks[1]


def _letter_px(picture: Image.Image) -> int:
    """The height of letters on a picture, in pixels."""
    return max(12, round(max(picture.size) / 30))


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
