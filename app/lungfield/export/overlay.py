"""Draw overlays: the radiograph with the contours of lungs, heart and clavicles."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from pathlib import Path
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
# Pairs of neighbours are added this often along each axis: a binomial filter, near to a Gaussian one with a
# variance of a quarter of it, in px².
_BLUR_STEPS = 4
_MARGIN_PX = math.ceil(_CONTOUR_WIDTH_PX) + _BLUR_STEPS
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
    return Reduced(factor, _reduced(_to_grey(radiograph.pose.stored(radiograph.pixels)), factor))


def _to_grey(pixels: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Grey values in [0, 1] as the 256 steps of 8 bits."""
    grey: NDArray[np.uint8] = cv2.convertScaleAbs(pixels, alpha=255)
    return grey


def _reduced(values: NDArray[np.uint8], factor: int) -> Image.Image:
    """Average (H, W) values over squares of `factor` x `factor` pixels, smaller at the right and bottom edge.

    A scale that is not an integer needs a filter, which blurs and takes three times as long.
    """
    return Image.fromarray(values).reduce(factor)


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
        coverage: (h, w) uint8, the covered share of each pixel, 255 for all of it; cropped to the structure
            and a margin.
    """

    corner: tuple[int, int]
    coverage: NDArray[np.uint8]


def _draw(region: Region, shape: tuple[int, int], factor: int) -> _Drawn:
    """Reduce a region of a picture of `shape` by an integer factor."""
    (top, bottom), (left, right) = (
        (
            max(0, side.start // factor - _MARGIN_PX),
            min(-(-length // factor), -(-side.stop // factor) + _MARGIN_PX),
        )
        for side, length in zip(region.box, shape, strict=True)
    )
    rows, columns = (min(factor * stop, length) for stop, length in zip((bottom, right), shape, strict=True))
    values = np.zeros((rows - factor * top, columns - factor * left), dtype=np.uint8)
    row, column = region.box[0].start - factor * top, region.box[1].start - factor * left
    np.multiply(
        region.mask.view(np.uint8),
        np.uint8(255),
        out=values[row : row + region.height_px, column : column + region.width_px],
    )
    return _Drawn((left, top), np.asarray(_reduced(values, factor)))


def _opacity(coverage: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The opacity of a lung's colour, (h, w) uint8, from its coverage, (h, w) uint8."""
    # No contour along the edge of the picture, as the structure may continue beyond it.
    blurred = np.pad(coverage, _BLUR_STEPS // 2, mode="edge").astype(np.uint16)
    for _ in range(_BLUR_STEPS):
        blurred = blurred[1:] + blurred[:-1]
    for _ in range(_BLUR_STEPS):
        blurred = blurred[:, 1:] + blurred[:, :-1]
    return _opacities().take(blurred)


@cache
def _opacities() -> NDArray[np.uint8]:
    """The opacity for each value of a blurred coverage: the larger of the contour's and the fill's.

    Across its edge, a blurred mask follows the normal distribution function. Its inverse gives the distance
    of a pixel from the edge, and so a smooth contour of the same width at any angle.
    """
    # Imported on use: the main process of a run draws nothing, and the import takes a tenth of a second.
    from scipy.special import ndtri

    highest = 255 * 4**_BLUR_STEPS
    share = np.arange(highest + 1) / highest
    distance_px = math.sqrt(_BLUR_STEPS) / 2 * np.abs(ndtri(np.clip(share, 1e-4, 1 - 1e-4)))
    contour = np.clip(_CONTOUR_WIDTH_PX / 2 + 0.5 - distance_px, 0, 1)
    return np.rint(255 * np.maximum(contour, _FILL_OPACITY * share)).astype(np.uint8)


def _draw_letter(picture: Image.Image, lung: _Drawn, label: Label) -> None:
    """Write the lung's letter beside its upper outer edge."""
    inside = lung.coverage > 127
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
    draw.text(
        (font_px, picture.height - font_px),
        f"CTR {heart.cardiothoracic_ratio:.2f}",
        fill=_THORAX_RGB,
        font=_font(font_px),
        anchor="lm",
        stroke_width=max(1, font_px // 16),
        stroke_fill=(0, 0, 0),
    )


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
