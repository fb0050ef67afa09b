"""A picture to look at: the radiograph with the lungs' contours on it."""

from __future__ import annotations

import io
import math
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage
from scipy.special import ndtri

from lungfield.atomic import write_whole
from lungfield.errors import OutputError
from lungfield.labels import LUNG_SIDE_UNKNOWN, LUNGS, Label
from lungfield.records import Radiograph

_COLOURS = {label.value: label.colour_rgb for label in LUNGS} | {LUNG_SIDE_UNKNOWN: (0, 200, 120)}
_FILL_OPACITY = 0.1
_CONTOUR_WIDTH_PX = 2.0
_CONTOUR_BLUR_PX = 1.0
_JPEG_QUALITY = 90


def save_overlay(
    radiograph: Radiograph,
    label_map: NDArray[np.uint8],
    path: Path,
    *,
    longest_side: int = 1024,
    caption: str | None = None,
) -> None:
    """Write the radiograph as a JPEG with each lung's contour, a light fill and the letter R or L.

    The picture holds nothing from the file's header: what it may say of the patient is up to `caption`.

    Args:
        radiograph: the radiograph.
        label_map: (H, W) uint8 of the same shape, with the values of `lungfield.labels`.
        path: the file to write.
        longest_side: a larger radiograph is reduced to this many pixels; a smaller one keeps its size.
        caption: a line of text below the picture, or None; what does not fit is cut off.

    Raises:
        OutputError: the shapes differ, or the file could not be written.
    """
    if label_map.shape != radiograph.shape:
        raise OutputError(
            f"{path}: the label map has (rows, columns) {label_map.shape} and the radiograph "
            f"{radiograph.shape}; give the label map of this radiograph."
        )
    size = _reduced_size(radiograph.shape, longest_side)
    grey = _resized((np.clip(radiograph.pixels, 0, 1) * 255 + 0.5).astype(np.uint8), size)
    canvas = np.repeat(grey.astype(np.float32)[..., None], 3, axis=2)
    masks = {value: _resized((label_map == value).view(np.uint8) * 255, size) for value in _COLOURS}
    for value, colour in _COLOURS.items():
        _paint(canvas, masks[value], colour)
    picture = Image.fromarray(np.rint(canvas).astype(np.uint8))
    for label in LUNGS:
        _draw_letter(picture, masks[label.value], label)
    if caption:
        picture = _with_caption(picture, caption)
    buffer = io.BytesIO()
    picture.save(buffer, format="JPEG", quality=_JPEG_QUALITY, subsampling=0)
    write_whole(path, buffer.getvalue())


def _reduced_size(shape: tuple[int, int], longest_side: int) -> tuple[int, int]:
    """(width, height) of the picture, as Pillow orders them."""
    scale = min(1.0, longest_side / max(shape))
    return max(1, round(shape[1] * scale)), max(1, round(shape[0] * scale))


def _resized(values: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    image = Image.fromarray(values)
    return np.asarray(image.resize(size, Image.Resampling.BOX) if image.size != size else image)


def _paint(canvas: NDArray[np.float32], mask: NDArray[np.uint8], colour: tuple[int, int, int]) -> None:
    """Blend the fill and the contour of one (h, w) mask into the (h, w, 3) canvas, both in [0, 255].

    The blurred mask rises from 0 to 1 across its edge as the normal distribution does, so that its inverse
    gives each pixel's distance from the edge, and with that a contour that is smooth at any size.
    """
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if rows.size == 0:
        return
    margin = math.ceil(_CONTOUR_WIDTH_PX + 4 * _CONTOUR_BLUR_PX)
    box = (
        slice(max(0, rows[0] - margin), rows[-1] + margin),
        slice(max(0, columns[0] - margin), columns[-1] + margin),
    )
    coverage = mask[box].astype(np.float32) / 255
    blurred = ndimage.gaussian_filter(coverage, _CONTOUR_BLUR_PX, mode="nearest")
    distance_px = np.abs(_CONTOUR_BLUR_PX * ndtri(np.clip(blurred, 1e-4, 1 - 1e-4)))
    contour = np.clip(_CONTOUR_WIDTH_PX / 2 + 0.5 - distance_px, 0, 1)
    opacity = np.maximum(contour, _FILL_OPACITY * coverage)[..., None]
    canvas[box] += opacity * (np.asarray(colour, dtype=np.float32) - canvas[box])


def _draw_letter(picture: Image.Image, mask: NDArray[np.uint8], label: Label) -> None:
    """Write the lung's letter beside its upper outer edge; `mask` is (h, w), in [0, 255]."""
    inside = mask > 127
    rows = np.flatnonzero(inside.any(axis=1))
    if rows.size == 0:
        return
    y = int(rows[0] + 0.2 * (rows[-1] - rows[0]))
    columns = np.flatnonzero(inside[y] if inside[y].any() else inside[rows[0]])
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
        font=ImageFont.load_default(font_px),
        anchor="mm",
        stroke_width=max(1, font_px // 16),
        stroke_fill=(0, 0, 0),
    )


def _with_caption(picture: Image.Image, caption: str) -> Image.Image:
    """The picture with a dark strip below that holds one line of text."""
    font_px = max(10, round(picture.width / 48))
    font = ImageFont.load_default(font_px)
    line = " ".join(caption.split())
    room = picture.width - 2 * font_px
    while line and font.getlength(line) > room:
        line = line[:-2].rstrip() + "…" if len(line) > 2 else ""
    captioned = Image.new("RGB", (picture.width, picture.height + 2 * font_px), (16, 16, 16))
    captioned.paste(picture, (0, 0))
    draw = ImageDraw.Draw(captioned)
    draw.text((font_px, picture.height + font_px), line, fill=(224, 224, 224), font=font, anchor="lm")
    return captioned
