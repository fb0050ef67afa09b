"""Draw docs/figures/heart.jpg: the measurements of heart and chest on a phantom.

python scripts/draw_heart_figure.py docs/figures/heart.jpg
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import typer
from numpy.typing import NDArray
from PIL import ImageDraw, ImageFont
from scipy import ndimage

from lungfield.export.overlay import render_overlay
from lungfield.labels import HEART, LEFT_LUNG, LUNGS, RIGHT_LUNG
from lungfield.mask import Regions, measure_heart
from lungfield.records import Radiograph, Spacing
from phantoms import make_phantom

SIDE_PX = 900
_STEP_PX = 3  # in a row: more is the diaphragm's
_INK = (255, 255, 255)


def main(output: Path = typer.Argument(help="The JPEG to write."), seed: int = 4) -> None:
    """Draw the figure."""
    phantom = make_phantom(seed, shape=(SIDE_PX, SIDE_PX))
    radiograph = Radiograph(
        Path("phantom"), phantom.pixels, spacing=Spacing(phantom.spacing_mm, phantom.spacing_mm, "phantom")
    )
    heart = heart_between(phantom.label_map)
    regions = Regions(phantom.label_map, {HEART.name: heart})
    found = measure_heart(regions, radiograph.spacing)
    picture = render_overlay(radiograph, regions, longest_side=SIDE_PX, heart=found)
    draw = ImageDraw.Draw(picture)

    def write(row: float, column: float, text: str, colour: tuple[int, int, int] = _INK) -> None:
        draw.text(
            (column, row), text, fill=colour, font=ImageFont.load_default(24), anchor="mm",
            stroke_width=3, stroke_fill=(0, 0, 0),
        )  # fmt: skip

    right, left, thorax = found.heart_right, found.heart_left, found.thorax
    if right is None or left is None or thorax is None:
        raise typer.BadParameter(f"this phantom has no ratio: {found.no_ratio}; choose another seed")
    write(right.row - 22, right.middle, "MR", HEART.colour_rgb)
    write(left.row - 22, left.middle, "ML", HEART.colour_rgb)
    write(thorax.row + 24, thorax.first_column + 60, "T")
    for lung, point in zip(LUNGS, (found.right_costophrenic, found.left_costophrenic), strict=True):
        rows = np.flatnonzero((phantom.label_map == lung.value).any(axis=1))
        if point is None:
            continue
        row, column = point
        draw.ellipse((column - 7, row - 7, column + 7, row + 7), outline=_INK, width=3)
        write(row + 26, column, "C")
        side = 40 if lung is RIGHT_LUNG else SIDE_PX - 40
        draw.line([(side, rows[0]), (side, rows[-1])], fill=lung.colour_rgb, width=2)
        for end in (rows[0], rows[-1]):
            draw.line([(side - 8, end), (side + 8, end)], fill=lung.colour_rgb, width=2)
        write((rows[0] + rows[-1]) / 2, side + (26 if lung is not LEFT_LUNG else -26), "H", lung.colour_rgb)
    picture.save(output, quality=88)


def heart_between(label_map: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """A heart for a drawing: the region between the lungs from half of their height to the diaphragm."""
    rows = np.flatnonzero((label_map > 0).any(axis=1))
    top = rows[0] + int(0.47 * (rows[-1] - rows[0]))
    heart = np.zeros(label_map.shape, dtype=bool)
    right = left = bottom = 0
    for row in range(top, rows[-1]):
        edges = [np.flatnonzero(label_map[row] == lung.value) for lung in LUNGS]
        if not (edges[0].size and edges[1].size):
            break
        inner = edges[0][-1] + 1, edges[1][0]
        if right and (right - inner[0] > _STEP_PX or inner[1] - left > _STEP_PX):
            break  # the diaphragm
        (right, left), bottom = inner, row
        heart[row, right:left] = True
    cap = (bottom - top) // 4
    for row in range(bottom, bottom + cap):
        half = (left - right) / 2 * np.sqrt(1 - ((row - bottom) / cap) ** 2)
        middle = (left + right) / 2
        heart[row, round(middle - half) : round(middle + half)] = True
    opened: NDArray[np.bool_] = ndimage.binary_opening(heart, ndimage.generate_binary_structure(2, 1), 20)
    return opened


if __name__ == "__main__":
    typer.run(main)
