"""Stored values from the PixelData of a DICOM data set, in every transfer syntax of radiographs."""

from __future__ import annotations

from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.encaps import get_frame
from pydicom.pixels import get_decoder
from pydicom.uid import (
    HTJ2K,
    JPEG2000,
    UID,
    HTJ2KLossless,
    HTJ2KLosslessRPCL,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)

from lungfield.errors import UnreadableError
from lungfield.radiograph.codestream import parse_codestream
from lungfield.radiograph.limits import Limits

PLUGINS: dict[UID, str] = {
    # One decoder each: pydicom would try gdcm first, which damaged baseline JPEG can crash.
    JPEGBaseline8Bit: "pillow",
    JPEGLossless: "gdcm",
    JPEGLosslessSV1: "gdcm",
    JPEGLSLossless: "pyjpegls",
    JPEGLSNearLossless: "pyjpegls",
    JPEG2000Lossless: "pylibjpeg",
    JPEG2000: "pylibjpeg",
    HTJ2KLossless: "pylibjpeg",
    HTJ2KLosslessRPCL: "pylibjpeg",
    HTJ2K: "pylibjpeg",
    RLELossless: "pydicom",  # pylibjpeg-rle panics, past any `except Exception`, on damaged data
}
"""The pydicom plugin for each compressed transfer syntax but JPEG Extended, which has none for 12 bits."""


def check_size(header: Dataset, limits: Limits) -> None:
    """Check rows, columns and frames of a header before its pixels are read.

    Raises:
        UnreadableError: they are missing or damaged, or over a limit.
    """
    try:
        rows, columns = int(header.Rows), int(header.Columns)
    except (AttributeError, TypeError, ValueError) as error:
        raise UnreadableError("Rows (0028,0010) or Columns (0028,0011) is missing or damaged") from error
    limits.check_shape(rows, columns, number_of_frames(header))


def number_of_frames(header: Dataset) -> int:
    """NumberOfFrames, 1 where it is absent or empty."""
    try:
        return max(int(header.get("NumberOfFrames") or 1), 1)
    except (TypeError, ValueError) as error:
        raise UnreadableError("NumberOfFrames (0028,0008) is damaged") from error


def decode(dataset: Dataset, *, limits: Limits) -> NDArray[Any]:
    """Return the stored values of a data set of one frame, the unused bits of each cleared.

    Args:
        dataset: with PixelData and `file_meta.TransferSyntaxUID`, its size checked by `check_size`.
        limits: on the compressed size.

    Returns:
        (H, W) of the stored integer type, in the machine's byte order, or (H, W, 3) of red, green and
        blue.

    Raises:
        UnreadableError: the data are damaged or cut off, or nothing here can decode their transfer syntax.
    """
    if not dataset.get("PixelData"):
        raise UnreadableError("there is no PixelData (7FE0,0010)")
    syntax = dataset.file_meta.TransferSyntaxUID
    try:
        if dataset["PixelData"].is_undefined_length and not syntax.is_encapsulated:
            raise UnreadableError(f"PixelData is compressed, but the transfer syntax is '{syntax.name}'")
        if syntax.is_encapsulated:
            _check_frame(dataset, syntax, limits)
        values = _decode_extended(dataset) if syntax == JPEGExtended12Bit else _decode(dataset, syntax)
    except UnreadableError:
        raise
    except NotImplementedError as error:
        raise UnreadableError(
            f"the transfer syntax '{syntax.name}' cannot be decoded; convert the file first"
        ) from error
    except Exception as error:  # native decoders raise anything
        # A library's message may quote the header: only one that names a missing attribute is passed on.
        cause = str(error) if isinstance(error, AttributeError) else type(error).__name__
        raise UnreadableError(
            f"PixelData ({syntax.name}) cannot be decoded ({cause}); is the file complete?"
        ) from error
    return values.astype(values.dtype.newbyteorder("="), copy=False)


def _decode(dataset: Dataset, syntax: UID) -> NDArray[Any]:
    values, _ = get_decoder(syntax).as_array(dataset, index=0, decoding_plugin=PLUGINS.get(syntax, ""))
    return np.asarray(values)


def _decode_extended(dataset: Dataset) -> NDArray[Any]:
    values = imagecodecs.jpeg8_decode(_first_frame(dataset))
    dtype = np.uint16 if dataset.BitsAllocated > 8 else np.uint8
    return np.asarray(values).astype(dtype, copy=False)


def _first_frame(dataset: Dataset) -> bytes:
    return get_frame(dataset.PixelData, 0, number_of_frames=1)


def _check_frame(dataset: Dataset, syntax: UID, limits: Limits) -> None:
    """Compare what the header and the compressed image say, since decoders believe one or the other."""
    frame = _first_frame(dataset)
    limits.check_compressed_bytes(dataset.Rows * dataset.Columns, len(frame))
    if syntax == RLELossless:
        return
    if syntax not in PLUGINS and syntax != JPEGExtended12Bit:
        raise NotImplementedError(syntax.name)
    codestream = parse_codestream(frame)
    if (codestream.rows, codestream.columns) != (dataset.Rows, dataset.Columns):
        raise UnreadableError(
            f"the compressed image has {codestream.rows} x {codestream.columns} pixels, "
            f"but Rows and Columns say {dataset.Rows} x {dataset.Columns}"
        )
    if codestream.components != dataset.SamplesPerPixel or codestream.precision > dataset.BitsAllocated:
        raise UnreadableError(
            f"the compressed image has {codestream.components} components of {codestream.precision} bits, "
            f"but the header says {dataset.SamplesPerPixel} of {dataset.BitsAllocated}"
        )
