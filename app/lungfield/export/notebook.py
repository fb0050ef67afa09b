"""Show a segmentation in notebooks: a small picture with a table, and a plot."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from html import escape
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lungfield.errors import OutputError
from lungfield.labels import LUNGS, STRUCTURES
from lungfield.mask import HeartMeasurements, Measurements, Quality
from lungfield.records import Radiograph

LONGEST_SIDE_PX = 384
_QUALITY = 60
_LABELS = [label for labels in STRUCTURES.values() for label in labels]


def as_html(picture: Image.Image, title: str, facts: Mapping[str, str]) -> str:
    """HTML of a picture beside a table of facts; texts are escaped.

    Args:
        picture: an RGB picture, which is embedded.
        title: above the table.
        facts: the rows of the table.
    """
    buffer = BytesIO()
    picture.save(buffer, format="WEBP", quality=_QUALITY)
    source = base64.b64encode(buffer.getvalue()).decode("ascii")
    left = 'style="text-align:left"'
    rows = "".join(
        f"<tr><th {left}>{escape(name)}</th><td {left}>{escape(value)}</td></tr>"
        for name, value in facts.items()
    )
    return (
        '<div style="display:flex;flex-wrap:wrap;gap:1em;align-items:flex-start">'
        f'<img alt="{escape(title)}" src="data:image/webp;base64,{source}">'
        f"<div><strong>{escape(title)}</strong><table>{rows}</table></div></div>"
    )


def facts(
    radiograph: Radiograph,
    measurements: Measurements,
    quality: Quality,
    heart: HeartMeasurements | None = None,
) -> dict[str, str]:
    """The rows of the table: size, areas, cardiothoracic ratio, confidence, flags and warnings, as text."""
    rows, columns = radiograph.stored_shape
    table = {"Size": f"{rows} × {columns} pixels, {radiograph.file_format}"}
    for label in LUNGS:
        extent = getattr(measurements, label.name)
        table[label.title] = (
            f"{extent.area_px:,} px" if extent.area_mm2 is None else f"{extent.area_mm2:,.0f} mm²"
        )
    if heart is not None and heart.cardiothoracic_ratio is not None:
        table["Cardiothoracic ratio"] = f"{heart.cardiothoracic_ratio:.2f}"
    return table | {
        "Confidence": f"{quality.confidence:.2f}",
        "Flags": ", ".join(quality.flags) or "none",
        "Warnings": " ".join(radiograph.warnings) or "none",
    }


def plot(radiograph: Radiograph, masks: Mapping[str, NDArray[np.bool_]], axes: Any = None) -> Any:
    """Draw an upright radiograph with contours and a legend with matplotlib.

    Args:
        radiograph: the radiograph.
        masks: upright (H, W) bool by the names of `lungfield.labels`; empty masks are left out.
        axes: to draw into; None for new ones.

    Returns:
        The axes, in pixels of the upright radiograph.

    Raises:
        OutputError: matplotlib is not installed.
    """
    try:
        from matplotlib import pyplot
        from matplotlib.lines import Line2D
    except ImportError as error:
        raise OutputError("Plots need matplotlib: pip install 'lungfield[plot]'.") from error
    axes = pyplot.gca() if axes is None else axes
    axes.imshow(radiograph.pixels, cmap="gray", vmin=0, vmax=1, aspect=radiograph.pixel_aspect)
    axes.set_axis_off()
    lines = []
    for label in _LABELS:
        if label.name in masks and masks[label.name].any():
            red, green, blue = (level / 255 for level in label.colour_rgb)
            colour = (red, green, blue)
            # Padded, so that contours are closed at the edge of the picture.
            inside = np.pad(masks[label.name], 1).astype(np.float32)
            rows, columns = (np.arange(-1, length - 1) for length in inside.shape)
            axes.contour(columns, rows, inside, levels=[0.5], colors=[colour], linewidths=1.5)
            lines.append(Line2D([], [], color=colour, label=label.title))
    axes.set_xlim(-0.5, radiograph.shape[1] - 0.5)
    axes.set_ylim(radiograph.shape[0] - 0.5, -0.5)
    if lines:
        axes.legend(handles=lines, loc="lower center", ncols=2, fontsize="small")
    return axes
