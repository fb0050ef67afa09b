"""PNG, JPEG and TIFF files, read as they are stored: no EXIF orientation, no colour management."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lungfield.errors import NotFrontalChestError, Reason, UnreadableError
from lungfield.radiograph.colour import luminance
from lungfield.radiograph.contrast import to_unit
from lungfield.radiograph.limits import Limits
from lungfield.records import Radiograph

GREY_MODES = ("L", "F", "I", "I;16", "I;16L", "I;16B", "I;16N")
INVERTED_BY_PILLOW = ("1", "L")
PHOTOMETRIC_INTERPRETATION = 262
WHITE_IS_ZERO = 0
"""TIFF 6.0, section 4: high values are dark. Pillow turns only some of these round."""


def read_image(path: Path, *, file_format: str, limits: Limits) -> Radiograph:
    """Return the radiograph in a file of format 'PNG', 'JPEG' or 'TIFF'.

    Grey of 1 to 32 bits or floating point, a palette, and colour that is grey, with or without an alpha
    channel, which is ignored. The picture has to be one with dark lungs: these formats cannot say.
    Their resolution in dots per inch is the printer's, so there is no spacing.

    Raises:
        NotFrontalChestError: a picture in colour, or several pages.
        UnreadableError: damaged, over a limit, or (nearly) uniform.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the limits decide what is too large
        with _opened(path, file_format) as image:
            limits.check_shape(image.height, image.width)
            limits.check_compressed_bytes(image.height * image.width, path.stat().st_size)
            if file_format == "TIFF" and getattr(image, "n_frames", 1) > 1:
                raise NotFrontalChestError(
                    "a TIFF file of several pages; save the radiograph alone", reason=Reason.SEVERAL_FRAMES
                )
            values = _grey_values(image)
    pixels, valid = to_unit(values)
    return Radiograph(path=path, pixels=pixels, valid=valid, file_format=file_format)


def _opened(path: Path, file_format: str) -> Image.Image:
    try:
        return Image.open(path, formats=(file_format,))
    except Image.DecompressionBombError as error:  # beyond Pillow's own limit, before ours is asked
        raise UnreadableError("more pixels than the limit", reason=Reason.OVER_LIMIT) from error


def _grey_values(image: Image.Image) -> NDArray[Any]:
    if image.mode in GREY_MODES:
        values = np.asarray(image)
        return _reversed(values) if _is_white_zero(image) else values
    if image.mode in ("1", "LA"):
        return np.asarray(image.convert("L"))
    return luminance(np.asarray(image.convert("RGB")))


def _is_white_zero(image: Image.Image) -> bool:
    tags = getattr(image, "tag_v2", {})
    return image.mode not in INVERTED_BY_PILLOW and tags.get(PHOTOMETRIC_INTERPRETATION) == WHITE_IS_ZERO


def _reversed(values: NDArray[Any]) -> NDArray[Any]:
    top = 0 if values.dtype.kind == "f" else np.iinfo(values.dtype).max
    return np.asarray(top - values)
