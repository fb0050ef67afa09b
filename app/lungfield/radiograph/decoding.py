"""Stored values from the PixelData of a DICOM data set, in every transfer syntax of radiographs."""

from __future__ import annotations

from collections.abc import Callable
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

from lungfield.errors import LungfieldError, Reason, UnreadableError
from lungfield.radiograph.codestream import JPEG_START, parse_codestream
from lungfield.radiograph.limits import Limits
from lungfield.radiograph.stderr import call_and_listen, pass_on
from lungfield.radiograph.wraparound import has_too_few_bits, has_wrong_sign

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
        raise UnreadableError(
            "Rows (0028,0010) or Columns (0028,0011) is missing or damaged", reason=Reason.DAMAGED
        ) from error
    limits.check_shape(rows, columns, number_of_frames(header))


def number_of_frames(header: Dataset) -> int:
    """NumberOfFrames, 1 where it is absent or empty."""
    try:
        return max(int(header.get("NumberOfFrames") or 1), 1)
    except (TypeError, ValueError) as error:
        raise UnreadableError("NumberOfFrames (0028,0008) is damaged", reason=Reason.DAMAGED) from error


def decode(dataset: Dataset, *, limits: Limits) -> tuple[NDArray[Any], tuple[str, ...]]:
    """Return the stored values of a data set of one frame, unused bits cleared, and remarks for the user.

    Args:
        dataset: with PixelData and `file_meta.TransferSyntaxUID`, its size checked by `check_size`.
        limits: on the compressed size.

    Returns:
        (H, W) of the stored integer type, in the machine's byte order and perhaps read-only, or (H, W, 3)
        of red, green and blue.

    Raises:
        UnreadableError: the data are damaged or cut off, or nothing here can decode their transfer syntax.
        MemoryError: there is not enough of it.
    """
    if not dataset.get("PixelData"):
        raise UnreadableError("there is no PixelData (7FE0,0010)", reason=Reason.DAMAGED)
    syntax = dataset.file_meta.TransferSyntaxUID
    try:
        if dataset["PixelData"].is_undefined_length and not syntax.is_encapsulated:
            raise UnreadableError(
                f"PixelData is compressed, but the transfer syntax is '{_name(syntax)}'",
                reason=Reason.DAMAGED,
            )
        if syntax.is_encapsulated:
            _check_frame(dataset, syntax, limits)
        values = _DECODERS.get(syntax, _decode)(dataset)
        values = values.astype(values.dtype.newbyteorder("="), copy=False)
        return _clear_unused_bits(values, int(dataset.BitsStored)) if values.ndim == 2 else (values, ())
    except (LungfieldError, MemoryError):
        raise
    except NotImplementedError as error:
        raise UnreadableError(
            f"the transfer syntax '{_name(syntax)}' cannot be decoded; convert the file first",
            reason=Reason.UNSUPPORTED,
        ) from error
    except Exception as error:  # native decoders raise anything
        # A library's message may quote the header: only one that names a missing attribute is passed on.
        cause = str(error) if isinstance(error, AttributeError) else type(error).__name__
        raise UnreadableError(
            f"PixelData ({_name(syntax)}) cannot be decoded ({cause}); is the file complete?",
            reason=Reason.DAMAGED,
        ) from error


def _decode(dataset: Dataset) -> NDArray[Any]:
    syntax = dataset.file_meta.TransferSyntaxUID
    values, _ = get_decoder(syntax).as_array(
        dataset,
        index=0,
        decoding_plugin=PLUGINS.get(syntax, ""),
        # No copy of what is not compressed: values are looked at, and changed only where they have to be.
        view_only=not syntax.is_encapsulated,
        correct_unused_bits=False,
    )
    return np.asarray(values)


def _decode_lossless(dataset: Dataset) -> NDArray[Any]:
    """JPEG Lossless through gdcm, which goes on after most errors, and prints that to standard error only."""
    values, printed = call_and_listen(lambda: _decode(dataset))
    pass_on([line for line in printed if b"JPEG" not in line])
    if any(b"JPEG" in line for line in printed):
        raise UnreadableError("the compressed image is damaged", reason=Reason.DAMAGED)
    return values


def _decode_extended(dataset: Dataset) -> NDArray[Any]:
    values = imagecodecs.jpeg8_decode(_first_frame(dataset))
    dtype = np.uint16 if dataset.BitsAllocated > 8 else np.uint8
    return np.asarray(values).astype(dtype, copy=False)


_DECODERS: dict[UID, Callable[[Dataset], NDArray[Any]]] = {
    JPEGExtended12Bit: _decode_extended,
    JPEGLossless: _decode_lossless,
    JPEGLosslessSV1: _decode_lossless,
}
"""For the syntaxes that need more than pydicom with the plugin of `PLUGINS`."""


def _name(syntax: UID) -> str:
    """The name of a transfer syntax that has one: the UID itself may be damaged, and hold anything."""
    return "unknown" if syntax.name == syntax else str(syntax.name)


def _clear_unused_bits(raw: NDArray[Any], bits: int) -> tuple[NDArray[Any], tuple[str, ...]]:
    """Clear what lies above BitsStored, or fill it with the sign (DICOM PS3.5, 8.1.1), and doubt the result.

    Args:
        raw: (H, W) integers.
        bits: BitsStored.
    """
    unused = 8 * raw.dtype.itemsize - bits
    if not 0 <= unused < 8 * raw.dtype.itemsize:
        raise ValueError("BitsStored is not within BitsAllocated")
    lowest = -(1 << (bits - 1)) if raw.dtype.kind == "i" else 0
    fits = raw.min() >= lowest and raw.max() < lowest + (1 << bits)
    stored = raw if fits else (raw << unused) >> unused
    if has_wrong_sign(stored, bits):
        return stored, ("PixelRepresentation (0028,0103) seems to be wrong: the picture wraps around.",)
    if not fits and has_too_few_bits(raw, stored, bits):
        return stored, ("BitsStored (0028,0101) seems to be wrong: the values need more bits than that.",)
    return stored, ()


def _first_frame(dataset: Dataset) -> bytes:
    return get_frame(dataset.PixelData, 0, number_of_frames=1)


def _check_frame(dataset: Dataset, syntax: UID, limits: Limits) -> None:
    """Compare what the header and the compressed image say, since decoders believe one or the other."""
    frame = _first_frame(dataset)
    limits.check_compressed_bytes(dataset.Rows * dataset.Columns, len(frame))
    if syntax == RLELossless:
        return
    if syntax not in PLUGINS and syntax != JPEGExtended12Bit:
        raise NotImplementedError(_name(syntax))
    codestream = parse_codestream(frame)
    if (codestream.rows, codestream.columns) != (dataset.Rows, dataset.Columns):
        raise UnreadableError(
            f"the compressed image has {codestream.rows} x {codestream.columns} pixels, "
            f"but Rows and Columns say {dataset.Rows} x {dataset.Columns}",
            reason=Reason.DAMAGED,
        )
    wide_jpeg = frame.startswith(JPEG_START) and dataset.BitsAllocated not in (8, 16)  # gdcm aborts on these
    if (
        codestream.components != dataset.SamplesPerPixel
        or codestream.precision > dataset.BitsAllocated
        or wide_jpeg  # DICOM PS3.5, 8.2.1
    ):
        raise UnreadableError(
            f"the compressed image has {codestream.components} components of {codestream.precision} bits, "
            f"but the header says {dataset.SamplesPerPixel} of {dataset.BitsAllocated}",
            reason=Reason.DAMAGED,
        )
