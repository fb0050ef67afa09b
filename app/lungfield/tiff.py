"""Read TIFF files with all of their bits and without applying the orientation; low values are dark."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from lungfield.errors import Reason, UnreadableError

REDUCED = 1
"""Bit of NewSubfileType (TIFF 6.0, section 8): a thumbnail of another image."""
WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE, CMYK, YCBCR = 0, 1, 2, 3, 5, 6
"""PhotometricInterpretation (TIFF 6.0, sections 4 to 8, 16 and 21)."""
JPEG_COMPRESSIONS = (6, 7, 34892, 33007)
"""JPEG compressions: tifffile converts YCbCr to RGB only for these."""


@dataclass(frozen=True)
class Tiff:
    """The image in a TIFF file.

    Attributes:
        values: (H, W), or (H, W, S) with several samples, of the stored type. Low grey values are dark: those
            of a file with WhiteIsZero are inverted.
        bits: bits per sample of integers; unsigned values are at most 2 ** bits - 1.
        photometric: PhotometricInterpretation of `values`.
        orientation: Orientation (TIFF 6.0, section 8), 1 to 8.
        colours: (N, 3) uint8 palette, or None.
    """

    values: NDArray[Any]
    bits: int
    photometric: int
    orientation: int
    colours: NDArray[np.uint8] | None


def read_tiff(source: Path | BinaryIO, check: Callable[[int, int, int], None]) -> Tiff:
    """Read the image of a TIFF file, or of a stream at its start.

    Args:
        source: the file or stream.
        check: called with rows, columns and the number of images without thumbnails, before decoding; it
            raises an error if they are not acceptable.

    Raises:
        UnreadableError: a part of the image is missing from the file.
        Exception: any exception of tifffile or a codec for a damaged or unsupported file.
    """
    # Imported on use: the import is slow, and few files are TIFF.
    import tifffile

    logging.getLogger("tifffile").setLevel(logging.CRITICAL)  # its messages quote tags
    with tifffile.TiffFile(source) as file:
        pages = [file.pages[number] for number in range(len(file.pages))]
        whole = [page for page in pages if not int(page.aspage().subfiletype or 0) & REDUCED] or pages[:1]
        page = whole[0].aspage()
        check(page.imagelength, page.imagewidth, len(whole))
        if not all(page.databytecounts) or not all(page.dataoffsets):  # tifffile fills such parts with zeros
            raise UnreadableError("a part of the image is missing from the file", reason=Reason.DAMAGED)
        values = np.asarray(page.asarray(maxworkers=1))
        axes = page.axes
        bits = int(page.bitspersample)
        orientation = page.tags.valueof("Orientation", 1)
        palette = page.colormap
        photometric = int(page.photometric)
        is_rgb_by_now = photometric == YCBCR and int(page.compression) in JPEG_COMPRESSIONS
    colours = None
    if palette is not None:
        colours = (palette >> 8 if palette.max() > 255 else palette).T.astype(np.uint8)
    if values.ndim == 3 and axes.startswith("S"):  # one plane per sample
        values = np.moveaxis(values, 0, -1)
    if photometric == WHITE_IS_ZERO:
        values, photometric = _reversed(values, bits), BLACK_IS_ZERO
    return Tiff(values, bits, RGB if is_rgb_by_now else photometric, int(orientation), colours)


def _reversed(values: NDArray[Any], bits: int) -> NDArray[Any]:
    """The values inverted."""
    if values.dtype.kind == "f":
        return -values
    if values.dtype.kind in "bi":
        return ~values
    return np.asarray(values.dtype.type(2**bits - 1) - values)
