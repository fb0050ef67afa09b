"""Thumbnails for the page, made from a radiograph's results.

They also show text that is burnt into the radiograph. It is seldom readable at this size; the setting
`http_thumbnails` switches them off.
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
    """The thumbnail of an instance.

    Args:
        results: of the instance.
        folder: of the results.

    Returns:
        A WebP file of at most 160 pixels on the longer side; None if no result with a picture has a file.
    """
    paths = {one.format: folder / one.path for one in results}
    for name in PICTURES:
        if name in paths:
            try:
                return _reduced(paths[name], paths[name].stat().st_mtime_ns)
            except (OSError, ValueError, KeyError, AttributeError, SyntaxError, InvalidDicomError):
                continue  # another result may still have a file
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
