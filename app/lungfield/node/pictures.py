"""Small pictures for the page, made of what a radiograph's results show.

They show the radiograph, and so text that is burnt into it. At this size it is seldom readable; where it must
not be shown at all, the page is told to show no pictures (`http_thumbnails`).
"""

from __future__ import annotations

import io
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

from PIL import Image
from pydicom import dcmread
from pydicom.encaps import generate_frames
from pydicom.errors import InvalidDicomError

from lungfield.node.records import Result
from lungfield.node.status import PICTURES

MEDIA_TYPE = "image/webp"

_LONGEST_SIDE_PX = 160
_QUALITY = 60
_KEPT = 256


def thumbnail(results: Iterable[Result], folder: Path) -> bytes | None:
    """A small picture of an instance.

    Args:
        results: what was made of it.
        folder: of the results.

    Returns:
        A WebP file, at most 160 pixels long; None where there is no picture, or no longer.
    """
    paths = {one.format: folder / one.path for one in results}
    for name in PICTURES:
        if name in paths:
            try:
                return _reduced(paths[name], paths[name].stat().st_mtime_ns)
            except (OSError, ValueError, KeyError, AttributeError, SyntaxError, InvalidDicomError):
                continue  # the other may still be there
    return None


@lru_cache(_KEPT)
def _reduced(path: Path, _: int) -> bytes:
    # A capture is a baseline JPEG (`lungfield.export.secondary_capture`): its frame is a file of its own.
    source = io.BytesIO(_frame(path)) if path.suffix == ".dcm" else path
    buffer = io.BytesIO()
    with Image.open(source, formats=("JPEG",)) as picture:
        picture.thumbnail((_LONGEST_SIDE_PX, _LONGEST_SIDE_PX), reducing_gap=2.0)
        picture.convert("RGB").save(buffer, format="WEBP", quality=_QUALITY)
    return buffer.getvalue()


def _frame(path: Path) -> bytes:
    pixels: bytes = dcmread(path, specific_tags=["PixelData"]).PixelData
    return next(generate_frames(pixels, number_of_frames=1))
