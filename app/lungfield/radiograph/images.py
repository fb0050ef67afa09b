"""Read pictures with all of their bits: PNG, JPEG, TIFF, JPEG 2000, WebP, BMP and GIF."""

from __future__ import annotations

import struct
import warnings
from functools import partial
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lungfield.errors import NotFrontalChestError, Reason, UnreadableError
from lungfield.pose import UPRIGHT, Pose
from lungfield.radiograph.codestream import parse_codestream, without_tail
from lungfield.radiograph.content import File, path_of
from lungfield.radiograph.contrast import luminance, refuse_mask_in_jpeg, to_unit
from lungfield.radiograph.limits import Limits
from lungfield.records import Radiograph
from lungfield.tiff import BLACK_IS_ZERO, CMYK, PALETTE, RGB, YCBCR, read_tiff

GREY_MODES = ("L", "F", "I", "I;16", "I;16L", "I;16B", "I;16N")
PNG_DEPTH_AND_COLOUR = slice(24, 26)
PNG_DEEP_COLOUR = {bytes((16, kind)) for kind in (2, 4, 6)}
"""16 bits per sample with colour or alpha (PNG, 11.2.1), of which Pillow reads only the upper 8 bits."""
JP2_START = b"\0\0\0\x0cjP  \r\n\x87\n"
JP2_CODESTREAM = b"jp2c"
ONE_PICTURE = ("JPEG",)
"""Formats whose further pictures are previews or depth maps of the first one, as phones write them (MPO)."""


def read_image(file: File, *, file_format: str, limits: Limits) -> Radiograph:
    """Read the radiograph in a picture file of a format of `lungfield.radiograph.reading`.

    Supported are grey values of up to 32 bits or floating point, palettes, and RGB pictures that are grey; an
    alpha channel is ignored. The lungs must be dark, as these formats do not store the polarity. The
    orientation comes from EXIF or TIFF. There is no spacing, as dots per inch describe the printed size.

    Raises:
        NotFrontalChestError: the picture is in colour, has several pages, or is a label map.
        UnreadableError: the file is damaged, over a limit, or (nearly) uniform.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # our limits replace Pillow's warning about large pictures
        values, pose = _READERS.get(file_format, partial(_read_pillow, file_format=file_format))(file, limits)
    if file_format == "JPEG":
        refuse_mask_in_jpeg(values)
    return radiograph_of(path_of(file), values, pose, file_format)


def radiograph_of(path: Path, values: NDArray[Any], pose: Pose | None, file_format: str) -> Radiograph:
    """Make a radiograph from grey values, upright and without a spacing.

    Args:
        path: its name in messages.
        values: (H, W) grey values as stored.
        pose: of the stored values; None if the source does not give it.
        file_format: format of the source.

    Raises:
        UnreadableError: the values are (nearly) uniform.
    """
    upright = pose or UPRIGHT
    pixels, valid = to_unit(np.ascontiguousarray(upright.upright(values)))
    return Radiograph(
        path=path,
        pixels=pixels,
        valid=valid,
        pose=upright,
        pose_is_known=pose is not None,
        file_format=file_format,
    )


def _read_pillow(file: File, limits: Limits, *, file_format: str) -> tuple[NDArray[Any], Pose | None]:
    """Grey values (H, W) as stored, and the pose in the file."""
    with file.open("rb") as stream:
        deep = file_format == "PNG" and stream.read(26)[PNG_DEPTH_AND_COLOUR] in PNG_DEEP_COLOUR
        stream.seek(0)
        try:
            image = Image.open(stream, formats=(file_format,))
        except Image.DecompressionBombError as error:  # Pillow checks its own limit before ours is checked
            raise UnreadableError("more pixels than the limit", reason=Reason.OVER_LIMIT) from error
        pictures = 1 if file_format in ONE_PICTURE else getattr(image, "n_frames", 1)
        _check(file, limits, image.height, image.width, pictures)
        pose = Pose.of_picture(image)
        values = of_samples(imagecodecs.png_decode(file.read_bytes())) if deep else grey_values(image)
    return values, pose


def _read_jpeg_2000(file: File, limits: Limits) -> tuple[NDArray[Any], Pose | None]:
    content = _codestream(file.read_bytes())
    header = parse_codestream(content)
    _check(file, limits, header.rows, header.columns, 1)
    values = np.asarray(imagecodecs.jpeg2k_decode(without_tail(content)))
    return of_samples(_eight_bits(values, header.precision)), None


def _codestream(content: bytes) -> bytes:
    """The code stream in a JP2 file, behind any number of boxes (ITU-T T.800, annex I.4); else all bytes."""
    position = 0 if content.startswith(JP2_START) else len(content)
    while position + 8 <= len(content):
        length, kind = struct.unpack_from(">I4s", content, position)
        start = position + 8
        if length == 1 and start + 8 <= len(content):
            (length,) = struct.unpack_from(">Q", content, start)
            start += 8
        end = position + length if length else len(content)
        if kind == JP2_CODESTREAM:
            return content[start:end]
        if end < start:
            break
        position = end
    return content


def _check(file: File, limits: Limits, rows: int, columns: int, pictures: int) -> None:
    limits.check_shape(rows, columns)
    limits.check_compressed_bytes(rows * columns, file.stat().st_size)
    if pictures > 1:
        raise NotFrontalChestError(
            f"a file of {pictures} pictures; save the radiograph alone", reason=Reason.SEVERAL_FRAMES
        )


def grey_values(image: Image.Image) -> NDArray[Any]:
    """The grey values (H, W) of a Pillow image in its own type; an RGB picture must be grey."""
    if image.mode in GREY_MODES:
        return np.asarray(image)
    if image.mode in ("1", "LA"):
        return np.asarray(image.convert("L"))
    return luminance(np.asarray(image.convert("RGB")))


def _read_tiff(file: File, limits: Limits) -> tuple[NDArray[Any], Pose | None]:
    with file.open("rb") as stream:
        tiff = read_tiff(stream, partial(_check, file, limits))
    values, photometric = tiff.values, tiff.photometric
    mode, samples = {CMYK: ("CMYK", 4), YCBCR: ("YCbCr", 3)}.get(photometric, ("", 0))
    if photometric == PALETTE and tiff.colours is not None:
        grey = luminance(tiff.colours[values])
    elif values.dtype == np.uint8 and values.shape[2:] == (samples,):
        grey = luminance(np.asarray(Image.fromarray(values, mode).convert("RGB")))
    elif photometric not in (BLACK_IS_ZERO, RGB):
        raise UnreadableError(
            "the colours of this TIFF cannot be read; save it in grey", reason=Reason.UNSUPPORTED
        )
    else:
        grey = of_samples(_eight_bits(values, tiff.bits))
    return grey, Pose.of_exif(tiff.orientation)


_READERS = {"TIFF": _read_tiff, "JPEG 2000": _read_jpeg_2000}


def _eight_bits(values: NDArray[Any], bits: int) -> NDArray[Any]:
    """Scale values of fewer than 8 bits to 8 bits, and convert half precision to single precision."""
    if values.dtype == np.float16:
        return values.astype(np.float32)
    if bits >= 8 or values.dtype.kind not in "bu":
        return values
    return np.rint(values * np.float32(255 / (2**bits - 1))).astype(np.uint8)


def of_samples(values: NDArray[Any]) -> NDArray[Any]:
    """Grey values (H, W) from (H, W) or (H, W, S) samples; samples after grey or RGB are ignored."""
    if values.ndim == 2:
        return values
    return luminance(values[..., :3]) if values.shape[-1] >= 3 else np.ascontiguousarray(values[..., 0])
