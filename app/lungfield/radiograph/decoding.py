"""Decode the PixelData of a DICOM data set, in every transfer syntax of radiographs."""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Callable
from typing import Any, TypeVar

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from pydicom import uid
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate, get_frame
from pydicom.pixels import get_decoder

from lungfield.errors import LungfieldError, Reason, UnreadableError
from lungfield.radiograph.bits import stored_values
from lungfield.radiograph.codestream import (
    END_MARKER,
    JPEG_START,
    Codestream,
    has_end,
    parse_codestream,
    without_tail,
)
from lungfield.radiograph.limits import Limits

NATIVE = (uid.ImplicitVRLittleEndian, uid.ExplicitVRLittleEndian, uid.ExplicitVRBigEndian)
"""The transfer syntaxes of uncompressed pixels."""

PLUGINS: dict[uid.UID, str] = {
    # One decoder each: pydicom would try gdcm first, which damaged baseline JPEG data can crash.
    uid.JPEGBaseline8Bit: "pillow",
    uid.JPEGLossless: "gdcm",
    uid.JPEGLosslessSV1: "gdcm",
    uid.JPEGLSLossless: "pyjpegls",
    uid.JPEGLSNearLossless: "pyjpegls",
    uid.JPEG2000Lossless: "pylibjpeg",
    uid.JPEG2000: "pylibjpeg",
    uid.HTJ2KLossless: "pylibjpeg",
    uid.HTJ2KLosslessRPCL: "pylibjpeg",
    uid.HTJ2K: "pylibjpeg",
    uid.RLELossless: "pydicom",  # pylibjpeg-rle panics, past any `except Exception`, on damaged data
}
"""The pydicom plugin for each compressed transfer syntax, except JPEG Extended, as none decodes 12 bits."""

STDERR = 2
_LOCK = threading.Lock()
_Result = TypeVar("_Result")

FLOATS = {"FloatPixelData": "f4", "DoubleFloatPixelData": "f8"}


def _floats(dataset: Dataset, keyword: str, dtype: str) -> NDArray[Any]:
    """Float Pixel Data or Double Float Pixel Data (DICOM PS3.3, C.7.6.24 and C.7.6.25)."""
    order = "<" if dataset.file_meta.TransferSyntaxUID.is_little_endian else ">"
    rows, columns = int(dataset.Rows), int(dataset.Columns)
    values = np.frombuffer(dataset[keyword].value, dtype=order + dtype)
    if values.size < rows * columns:
        raise UnreadableError(f"{keyword} is cut off", reason=Reason.DAMAGED)
    return values[: rows * columns].reshape(rows, columns).astype(dtype)


def decode(dataset: Dataset, *, limits: Limits) -> tuple[NDArray[Any], tuple[str, ...]]:
    """Return the stored values of a single-frame data set with unused bits cleared, and remarks.

    Args:
        dataset: with PixelData and `file_meta.TransferSyntaxUID`; `check_size` has accepted its size.
        limits: on the compressed size.

    Returns:
        (H, W) of the stored integer type, in native byte order and perhaps read-only, or (H, W, 3) with red,
        green and blue.

    Raises:
        UnreadableError: the data are damaged or cut off, or their transfer syntax cannot be decoded.
        MemoryError: the memory is not sufficient.
    """
    syntax = dataset.file_meta.TransferSyntaxUID
    for keyword, dtype in FLOATS.items():
        if dataset.get(keyword):
            return _floats(dataset, keyword, dtype), ()
    if not dataset.get("PixelData"):
        raise UnreadableError("there is no PixelData (7FE0,0010)", reason=Reason.DAMAGED)
    try:
        if syntax not in NATIVE and syntax not in PLUGINS and syntax != uid.JPEGExtended12Bit:
            raise NotImplementedError(_name(syntax))
        if dataset["PixelData"].is_undefined_length and not syntax.is_encapsulated:
            raise UnreadableError(
                f"PixelData is compressed, but the transfer syntax is '{_name(syntax)}'",
                reason=Reason.DAMAGED,
            )
        remarks: tuple[str, ...] = ()
        if syntax.is_encapsulated:
            frame, remarks = _checked_frame(dataset, syntax, limits)
            values = _decoded(dataset, syntax, frame)
        else:
            values = _decode(dataset)
        values = values.astype(values.dtype.newbyteorder("="), copy=False)
        if values.ndim == 2:
            values, more = stored_values(
                values, dataset, compressed=syntax.is_encapsulated and syntax != uid.RLELossless
            )
            remarks += more
        return values, remarks
    except (LungfieldError, MemoryError):
        raise
    except NotImplementedError as error:
        raise UnreadableError(
            f"the transfer syntax '{_name(syntax)}' cannot be decoded; convert the file first",
            reason=Reason.UNSUPPORTED,
        ) from error
    except Exception as error:  # native decoders raise anything
        # A library's message may quote the header; only a message about a missing attribute is shown.
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
        # Uncompressed values are not copied; they are only changed if necessary.
        view_only=not syntax.is_encapsulated,
        correct_unused_bits=False,
    )
    return np.asarray(values)


def call_capturing_stderr(call: Callable[[], _Result]) -> tuple[_Result, list[bytes]]:
    """Return the result of a call, and the lines printed to standard error during the call.

    Standard error belongs to the whole process, so the lines may include those of other threads: print
    unrelated lines with `print_to_stderr`. Only one thread at a time can be in this function.
    """
    with _LOCK, tempfile.TemporaryFile() as printed:
        try:
            terminal = os.dup(STDERR)
        except OSError:  # standard error is closed, as in some services
            return call(), []
        os.dup2(printed.fileno(), STDERR)
        try:
            result = call()
        finally:
            os.dup2(terminal, STDERR)
            os.close(terminal)
        printed.seek(0)
        return result, printed.readlines()


def print_to_stderr(lines: list[bytes]) -> None:
    """Print captured lines to standard error."""
    if lines:
        os.write(STDERR, b"".join(lines))


def _decode_lossless(dataset: Dataset) -> NDArray[Any]:
    """Decode JPEG Lossless with gdcm, which reports most errors on standard error only, and continues."""
    values, printed = call_capturing_stderr(lambda: _decode(dataset))
    print_to_stderr([line for line in printed if b"JPEG" not in line])
    if any(b"JPEG" in line for line in printed):
        raise UnreadableError("the compressed image is damaged", reason=Reason.DAMAGED)
    return values


def _decode_extended(dataset: Dataset) -> NDArray[Any]:
    values = imagecodecs.jpeg8_decode(get_frame(dataset.PixelData, 0, number_of_frames=1))
    dtype = np.uint16 if dataset.BitsAllocated > 8 else np.uint8
    return np.asarray(values).astype(dtype, copy=False)


_DECODERS: dict[uid.UID, Callable[[Dataset], NDArray[Any]]] = {
    uid.JPEGExtended12Bit: _decode_extended,
    uid.JPEGLossless: _decode_lossless,
    uid.JPEGLosslessSV1: _decode_lossless,
}
"""Decoders of the syntaxes that need more than a plugin of `PLUGINS`."""

_SILENT_ON_MISSING_ROWS = (uid.JPEGBaseline8Bit, uid.JPEGExtended12Bit)
"""libjpeg silently fills missing rows with grey."""


def _name(syntax: uid.UID) -> str:
    """The name of a known transfer syntax, for messages; an unknown UID could contain any text."""
    return "unknown" if syntax.name == syntax else str(syntax.name)


def _checked_frame(dataset: Dataset, syntax: uid.UID, limits: Limits) -> tuple[bytes, tuple[str, ...]]:
    """The compressed image without bytes behind it, and remarks; the header is corrected to match the image.

    Some decoders use the header and others the image, so both must agree.
    """
    frame = get_frame(dataset.PixelData, 0, number_of_frames=1)
    limits.check_compressed_bytes(dataset.Rows * dataset.Columns, len(frame))
    if syntax == uid.RLELossless:
        return frame, ()
    codestream = parse_codestream(frame)
    if (codestream.rows, codestream.columns) != (dataset.Rows, dataset.Columns):
        raise UnreadableError(
            f"the compressed image has {codestream.rows} x {codestream.columns} pixels, "
            f"but Rows and Columns are {dataset.Rows} x {dataset.Columns}",
            reason=Reason.DAMAGED,
        )
    wide_jpeg = frame.startswith(JPEG_START) and dataset.BitsAllocated not in (8, 16)  # gdcm aborts on these
    if codestream.precision > 16 or wide_jpeg:  # DICOM PS3.5, 8.2.1
        raise UnreadableError(
            f"the compressed image has {codestream.precision} bits a sample, "
            f"but the header says {dataset.BitsAllocated}",
            reason=Reason.DAMAGED,
        )
    remarks = _reconciled(dataset, syntax, codestream)
    ended = without_tail(frame)
    if ended is not frame:
        _with_frame(dataset, ended)
    if not has_end(frame):
        remarks += ("The compressed image lacks a valid end marker, but all of its rows are present.",)
    return ended, remarks


def _reconciled(dataset: Dataset, syntax: uid.UID, codestream: Codestream) -> tuple[str, ...]:
    """Set samples and bits in the header to those of the compressed image, and return remarks."""
    remarks: tuple[str, ...] = ()
    samples = codestream.components
    if samples != dataset.SamplesPerPixel:
        if samples not in (1, 3):
            raise UnreadableError(
                f"the compressed image has {samples} samples per pixel; a radiograph has one",
                reason=Reason.UNSUPPORTED,
            )
        dataset.SamplesPerPixel = samples
        colour = "YBR_FULL_422" if syntax == uid.JPEGBaseline8Bit else "RGB"
        dataset.PhotometricInterpretation = colour if samples == 3 else "MONOCHROME2"
        dataset.PlanarConfiguration = 0
        remarks += ("SamplesPerPixel (0028,0002) differs from the compressed image, whose value is used.",)
    bits = codestream.precision
    eight = syntax in _SILENT_ON_MISSING_ROWS and bits == 8  # their decoder returns bytes
    if bits > dataset.BitsAllocated or (eight and (dataset.BitsAllocated, dataset.BitsStored) != (8, 8)):
        dataset.BitsAllocated = 8 if bits <= 8 else 16
        dataset.BitsStored, dataset.HighBit = bits, bits - 1
        remarks += (f"BitsStored (0028,0101) is not that of the compressed image, which has {bits} bits.",)
    return remarks


def _decoded(dataset: Dataset, syntax: uid.UID, frame: bytes) -> NDArray[Any]:
    """Decode a compressed image; raise `UnreadableError` if rows are missing."""
    decoder = _DECODERS.get(syntax, _decode)
    if syntax in _SILENT_ON_MISSING_ROWS:
        values = None if END_MARKER not in frame else decoder(dataset)
        if values is None or _ends_in_mid_grey(values, int(dataset.BitsStored)):
            values = _decoded_to_its_end(dataset, decoder, frame)
        return values
    try:
        return decoder(dataset)
    except (RuntimeError, UnreadableError):
        # Some writers pad before the end marker or omit it, which decoders report as damage.
        end = frame.rfind(END_MARKER)
        content = frame if end < 0 else frame[:end]
        trimmed = content.rstrip(b"\0\xff")
        if not frame.startswith(JPEG_START) or (end >= 0 and len(trimmed) == len(content)):
            raise
        return decoder(_with_frame(dataset, trimmed + END_MARKER))


def _decoded_to_its_end(
    dataset: Dataset, decoder: Callable[[Dataset], NDArray[Any]], frame: bytes
) -> NDArray[Any]:
    """Decode a JPEG, and raise `UnreadableError` if rows are missing.

    Bytes are appended to the image: the decoder ignores them behind a complete image, but decodes them as
    missing rows.
    """
    end = frame.rfind(END_MARKER)
    content = (frame if end < 0 else frame[:end]).rstrip(b"\xff")
    fillers = (b"\0" * 2048, b"\x55" * 2048)
    values, others = (decoder(_with_frame(dataset, content + one + END_MARKER)) for one in fillers)
    if not np.array_equal(values, others):
        raise UnreadableError("the compressed image is cut off", reason=Reason.DAMAGED)
    return values


def _ends_in_mid_grey(values: NDArray[Any], bits: int) -> bool:
    """Whether the last block of a JPEG has the mid grey that its decoder writes for a missing block."""
    block = values[-8:, -8:]
    return bool((np.abs(block.astype(np.int32) - (1 << (bits - 1))) <= 1).all())


def _with_frame(dataset: Dataset, frame: bytes) -> Dataset:
    """A copy of the data set with another compressed image."""
    dataset.PixelData = encapsulate([frame])
    dataset["PixelData"].is_undefined_length = True
    return dataset
