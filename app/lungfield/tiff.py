"""TIFF files as they are stored: all of their bits, no orientation applied, no colours converted."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

REDUCED = 1
"""Bit of NewSubfileType (TIFF 6.0, section 8): a thumbnail of another image."""


@dataclass(frozen=True)
class Tiff:
    """The image in a TIFF file.

    Attributes:
        values: (H, W), or (H, W, S) of several samples; of the type that is stored.
        photometric: PhotometricInterpretation (TIFF 6.0, section 4 and later).
        orientation: Orientation (TIFF 6.0, section 8), 1 to 8.
        colours: (3, N) uint16, of a palette; else None.
    """

    values: NDArray[Any]
    photometric: int
    orientation: int
    colours: NDArray[np.uint16] | None


def read_tiff(path: Path, check: Callable[[int, int, int], None]) -> Tiff:
    """Read the image of a TIFF file.

    Args:
        path: the file.
        check: called with rows, columns and the number of images in the file, thumbnails left out, before
            anything is decoded; it raises where these will not do.

    Raises:
        Exception: whatever tifffile or a codec raises for a damaged or unsupported file.
    """
    # Imported on use: it takes a while, and few files are TIFF.
    import tifffile

    logging.getLogger("tifffile").setLevel(logging.CRITICAL)  # its remarks quote tags
    with tifffile.TiffFile(path) as file:
        pages = [file.pages[number] for number in range(len(file.pages))]
        whole = [page for page in pages if not _is_reduced(page)] or pages[:1]
        page = whole[0].aspage()
        check(page.imagelength, page.imagewidth, len(whole))
        values = np.asarray(page.asarray(maxworkers=1))
        axes = page.axes
        orientation = page.tags.valueof("Orientation", 1)
        colours = page.colormap
        photometric = int(page.photometric)
    if values.ndim == 3 and axes.startswith("S"):  # one plane a sample
        values = np.moveaxis(values, 0, -1)
    return Tiff(values, photometric, int(orientation), colours)


def _is_reduced(page: Any) -> bool:
    return bool(int(page.aspage().subfiletype or 0) & REDUCED)
