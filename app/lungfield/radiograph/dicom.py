"""Read DICOM files as `Radiograph`."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset
from pydicom.pixels import apply_color_lut
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian, JPEGBaseline8Bit

from lungfield.errors import NotFrontalChestError, Reason, UnreadableError
from lungfield.pose import UPRIGHT, Pose
from lungfield.radiograph import contrast, grayscale
from lungfield.radiograph.content import File, path_of
from lungfield.radiograph.decoding import NATIVE, decode
from lungfield.radiograph.header import HeaderCheck, check_header, directions
from lungfield.radiograph.limits import DEFAULT_LIMITS, Limits
from lungfield.radiograph.polarity import read_polarity
from lungfield.radiograph.shutter import valid_pixels
from lungfield.radiograph.spacing import read_pixel_aspect, read_spacing
from lungfield.radiograph.streams import dicom_stream
from lungfield.records import Radiograph

GREY = ("MONOCHROME1", "MONOCHROME2")
PHOTOMETRIC = (*GREY, "PALETTE COLOR", "RGB")
PIXEL_GROUP = 0x7FE0
BULKY_GROUPS = {*range(0x6000, 0x6020, 2), PIXEL_GROUP}
"""Overlays and pixel data."""


def read_dicom(file: File, *, require_frontal: bool, limits: Limits) -> Radiograph:
    """Read the radiograph in a DICOM file, with or without preamble and file meta information.

    The header is checked before the pixels are read.

    Raises:
        NotFrontalChestError: the object is of another kind, a cine, or a label map; or, with
            `require_frontal`, the header names another view or body part.
        UnreadableError: the file is damaged, over a limit or (nearly) uniform, or its transfer syntax cannot
            be decoded.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom's warnings may quote a patient's values
        with dicom_stream(file, limits) as stream:
            dataset = _read_header(stream)
            check = _check(dataset, require_frontal=require_frontal)
            _read_pixels(stream, dataset, limits)
        photometric_is_given, remarks = complete_photometric(dataset)
        stored, more = decode(dataset, limits=limits)
        dataset.buffer = None  # it would keep an inflated file in memory
        for tag in [tag for tag in dataset.keys() if tag.group in BULKY_GROUPS]:  # noqa: SIM118
            del dataset[tag]
        radiograph = _radiograph(path_of(file), stored, dataset, check, remarks + more)
        return radiograph if photometric_is_given else replace(radiograph, polarity_is_known=False)


def read_stored_values(path: Path, *, limits: Limits = DEFAULT_LIMITS) -> tuple[Dataset, NDArray[Any]]:
    """Read the header and the stored values of a single-frame DICOM file of any kind.

    Returns:
        The header up to the pixels; and (H, W) of the stored integer type, or (H, W, 3) of red, green, blue.

    Raises:
        UnreadableError: the file is damaged, over a limit or has several frames, or its transfer syntax
            cannot be decoded.
    """
    header = read_header(path, limits=limits)
    if number_of_frames(header) > 1:
        raise UnreadableError(f"{path.name}: has several frames", reason=Reason.UNSUPPORTED)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with dicom_stream(path, limits) as stream:
            dataset = _read_header(stream)
            _read_pixels(stream, dataset, limits)
        complete_photometric(dataset)
        stored, _ = decode(dataset, limits=limits)
    return header, stored


def read_header(path: Path, *, limits: Limits = DEFAULT_LIMITS) -> Dataset:
    """Read the header of a DICOM file, up to its pixels.

    Raises:
        UnreadableError: the file is no DICOM file, or over a limit.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom's warnings may quote a patient's values
        try:
            with dicom_stream(path, limits) as stream:
                header: Dataset = _read_header(stream)
        except UnreadableError:
            raise
        except Exception as error:  # pydicom raises anything; its messages may quote the header
            raise UnreadableError(f"{path.name}: is no DICOM data set ({type(error).__name__})") from error
    header.buffer = None
    return header


def _read_header(stream: BinaryIO) -> Any:
    """Read up to PixelData, which comes next in the stream."""
    dataset = dcmread(stream, stop_before_pixels=True, force=True)
    if not dataset.file_meta.get("TransferSyntaxUID"):
        implicit, little_endian = dataset.original_encoding
        explicit = ExplicitVRLittleEndian if little_endian else ExplicitVRBigEndian
        dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else explicit
    return dataset


def _read_pixels(stream: BinaryIO, dataset: Dataset, limits: Limits) -> None:
    """Read the pixels, which come next in the stream."""
    check_size(dataset, limits)
    # What lies behind them may be padding without end.
    pixels = read_dataset(
        stream, *dataset.original_encoding, stop_when=lambda tag, *_: tag.group != PIXEL_GROUP
    )
    dataset.update(pixels)


def _check(header: Dataset, *, require_frontal: bool) -> HeaderCheck:
    check = check_header(header)
    if not check.radiograph or (require_frontal and not check.frontal_chest):
        raise NotFrontalChestError(check.reason, reason=check.code)
    if "Modality" in header and not any(one in header for one in ("SOPClassUID", "Rows", "Columns")):
        raise NotFrontalChestError("the object is no image: it has neither SOPClassUID nor Rows and Columns")
    frames = number_of_frames(header)
    if frames > 1:
        raise NotFrontalChestError(
            f"the file holds {frames} frames; a radiograph has one: export a single frame",
            reason=Reason.SEVERAL_FRAMES,
        )
    return check


def _radiograph(
    path: Path, stored: NDArray[Any], header: Dataset, check: HeaderCheck, remarks: tuple[str, ...]
) -> Radiograph:
    spacing, more = read_spacing(header)
    remarks += more + _remarks(header)
    photometric = str(header.PhotometricInterpretation)
    valid = None
    pose = Pose.of_directions(*directions(header))  # None if the header gives no orientation
    upright = pose or UPRIGHT
    if photometric in GREY:
        valid, more = valid_pixels(stored, header)
        if stored.dtype.kind == "f":
            stored, valid = contrast.finite(stored, valid)
        valid = None if valid is None else np.ascontiguousarray(upright.upright(valid))
        stored = upright.upright(stored)
        histogram = contrast.Histogram.of(stored, valid)
        contrast.require_contrast(histogram)
        pixels, extra = grayscale.to_unit(stored, header, histogram=histogram)
        remarks += more + extra
    else:
        rgb = apply_color_lut(stored, header) if photometric == "PALETTE COLOR" else stored
        pixels, _ = contrast.to_unit(upright.upright(contrast.luminance(rgb)))
    if valid is not None:
        pixels[~valid] = 0
    return Radiograph(
        path=path,
        pixels=np.ascontiguousarray(pixels),
        valid=valid,
        spacing=spacing.transposed() if spacing and upright.transposed else spacing,
        stored_aspect=read_pixel_aspect(header),
        pose=upright,
        pose_is_known=pose is not None,
        polarity_is_known=photometric in GREY and read_polarity(header).is_known,
        file_format="DICOM",
        view=check.view,
        frontal=check.frontal_chest,
        warnings=remarks,
        header=header,
    )


def _remarks(header: Dataset) -> tuple[str, ...]:
    remarks = []
    if not header.get("SOPInstanceUID"):
        remarks.append("SOPInstanceUID is missing: no DICOM object can refer to this image.")
    if str(header.get("PresentationIntentType") or "") == "FOR PROCESSING":
        remarks.append("The image is 'FOR PROCESSING', not 'FOR PRESENTATION': its contrast is raw.")
    return tuple(remarks)


def check_size(header: Dataset, limits: Limits) -> None:
    """Check rows, columns and frames of a header before its pixels are read.

    Raises:
        UnreadableError: they are missing, damaged, or over a limit.
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


def complete_photometric(dataset: Dataset) -> tuple[bool, tuple[str, ...]]:
    """Set PhotometricInterpretation and SamplesPerPixel if they are missing, unknown or contradictory.

    Returns:
        Whether PhotometricInterpretation was valid, and remarks for the user.
    """
    photometric = str(dataset.get("PhotometricInterpretation") or "").strip().upper()
    known = photometric in PHOTOMETRIC or photometric.startswith("YBR_")
    samples = dataset.get("SamplesPerPixel")
    if samples not in (1, 3):
        colour = known and (photometric == "RGB" or photometric.startswith("YBR_"))
        samples = dataset.SamplesPerPixel = 3 if colour else 1
    fitting = _samples_that_fit(dataset)
    if fitting and fitting != samples:
        samples = dataset.SamplesPerPixel = fitting
    grey = photometric in (*GREY, "PALETTE COLOR")
    if known and grey == (samples == 1):
        dataset.PhotometricInterpretation = photometric
        return True, ()
    if samples == 1:
        dataset.PhotometricInterpretation = "MONOCHROME2"
    else:
        lossy = dataset.file_meta.TransferSyntaxUID == JPEGBaseline8Bit
        dataset.PhotometricInterpretation = "YBR_FULL_422" if lossy else "RGB"
        if "PlanarConfiguration" not in dataset:
            dataset.PlanarConfiguration = 0
    return False, (
        "PhotometricInterpretation (0028,0004) is missing or wrong: the image is read as "
        f"{dataset.PhotometricInterpretation}.",
    )


def _samples_that_fit(dataset: Dataset) -> int:
    """The number of samples per pixel from the length of uncompressed PixelData; 0 if it is ambiguous."""
    data, syntax = dataset.get("PixelData"), dataset.file_meta.TransferSyntaxUID
    if syntax not in NATIVE or not data:
        return 0
    one = dataset.Rows * dataset.Columns * int(dataset.get("BitsAllocated") or 0) // 8
    fitting = [samples for samples in (1, 3) if one and len(data) == samples * one + (samples * one) % 2]
    return fitting[0] if fitting else 0
