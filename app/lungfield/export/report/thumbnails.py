"""Thumbnails of the overlays, for embedding in the page."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from PIL import Image

MEDIA_TYPE = "image/webp"

_LONGEST_SIDE_PX = 240
_QUALITY = 60
_EFFORT = 2  # of 0..6: higher ones take longer and save less than a tenth
_AT_A_TIME = 64
_AROUND_BYTES = 4  # quotation marks and comma in JSON; without a picture, null


def embed(overlays: Sequence[str | None], *, room_bytes: int) -> list[str | None]:
    """Reduce overlays to thumbnails in their order, until their JSON text reaches `room_bytes`.

    Returns:
        The thumbnails as base64 text, None for a picture that is missing or cannot be read. The list may be
        shorter than `overlays`.
    """
    embedded: list[str | None] = []
    with ThreadPoolExecutor(max_workers=2) as pool:
        for start in range(0, len(overlays), _AT_A_TIME):
            for text in pool.map(_thumbnail, overlays[start : start + _AT_A_TIME]):
                room_bytes -= len(text or "") + _AROUND_BYTES
                if room_bytes < 0:
                    return embedded
                embedded.append(text)
    return embedded


def _thumbnail(path: str | None) -> str | None:
    """One picture as base64 text of a WebP file."""
    if path is None:
        return None
    buffer = io.BytesIO()
    try:
        with Image.open(path) as picture:
            # The JPEG decoder reduces the picture by a power of two, which saves most of the time.
            picture.thumbnail((_LONGEST_SIDE_PX, _LONGEST_SIDE_PX), reducing_gap=1.0)
            picture.convert("RGB").save(buffer, format="WEBP", quality=_QUALITY, method=_EFFORT)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None
    return base64.b64encode(buffer.getvalue()).decode("ascii")
