"""Read the values of mask pictures, with any sample format and palette."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lungfield.errors import DataError
from lungfield.labels import LEFT_LUNG
from lungfield.pose import Pose
from lungfield.tiff import PALETTE, read_tiff

MAX_LABEL = 32
"""If a picture has more than two levels, integers up to this value are labels, not grey values."""


def read_picture(path: Path) -> tuple[NDArray[Any], bool, Pose | None]:
    """Return a picture's values (H, W) as stored, whether it is a JPEG, and the pose in the file or None.

    For a palette of greys, the values are the colours; for a palette that only distinguishes classes, they
    are the indices.

    Raises:
        DataError: the file is damaged, holds several pictures, or is in colour.
    """
    try:
        with Image.open(path) as file:
            if file.format == "TIFF":
                values, alpha, pose = _of_tiff(path)
                is_jpeg = False
            else:
                is_jpeg = file.format in ("JPEG", "MPO")  # the further pictures of an MPO are previews
                if not is_jpeg:
                    _require_one(path, getattr(file, "n_frames", 1))
                values, alpha, pose = _of_pillow(file)
    except DataError:
        raise
    except Exception as error:  # damaged files make libraries raise anything
        raise DataError(
            f"{path}: cannot be read as a mask; give PNG, GIF, TIFF, JPEG, BMP, NIfTI or DICOM SEG."
        ) from error
    return _one_sample(values, path, alpha=alpha), is_jpeg, pose


def _require_one(path: Path, pictures: int) -> None:
    if pictures > 1:
        raise DataError(f"{path}: has several frames; a mask has one.")


def _of_tiff(path: Path) -> tuple[NDArray[Any], bool, Pose | None]:
    """The values of a TIFF, whether the last sample is opacity, and the pose in the file."""
    tiff = read_tiff(path, lambda _rows, _columns, pictures: _require_one(path, pictures))
    values = tiff.values
    if tiff.photometric == PALETTE and tiff.colours is not None:
        values = _of_palette(values, tiff.colours)
    return values, values.shape[2:] in ((2,), (4,)), Pose.of_exif(tiff.orientation)


def _of_pillow(image: Image.Image) -> tuple[NDArray[Any], bool, Pose | None]:
    """The same of any other picture."""
    values = np.asarray(image)
    if image.mode == "P":
        values = _of_palette(values, np.asarray(image.getpalette("RGB")).reshape(-1, 3))
    return values, image.getbands()[-1] == "A", Pose.of_picture(image)


def _of_palette(values: NDArray[Any], colours: NDArray[Any]) -> NDArray[Any]:
    """The colours of indices (H, W) into a palette (N, 3), or the indices themselves if they are labels.

    They are labels if the largest is that of the left lung, or if the colours only distinguish a few classes.
    """
    used = np.unique(values)
    shown = colours[used]
    classes = len(used) == 2 or used[-1] <= MAX_LABEL
    in_colour = bool((shown != shown[:, :1]).any())
    if used[-1] == LEFT_LUNG.value or (in_colour and classes):
        return values
    return colours.astype(np.uint8)[values]


def _one_sample(values: NDArray[Any], path: Path, *, alpha: bool) -> NDArray[Any]:
    """Values (H, W) of a picture (H, W) or (H, W, S), whose last sample may be its opacity."""
    if values.ndim == 2:
        return values
    samples = values[..., :-1] if alpha else values
    if not (samples == samples[..., :1]).all():
        raise DataError(f"{path}: is a colour picture; a mask is grey, with one value a pixel.")
    return samples[..., 0]
