"""A DICOM file as a `Radiograph`."""

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
from pydicom.uid import (
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from lungfield.errors import NotFrontalChestError, Reason
from lungfield.pose import UPRIGHT
from lungfield.radiograph import contrast, grayscale
from lungfield.radiograph.colour import luminance
from lungfield.radiograph.decoding import decode
from lungfield.radiograph.header import HeaderCheck, check_header
from lungfield.radiograph.image_pixel import check_size, complete_photometric, number_of_frames
from lungfield.radiograph.limits import Limits
from lungfield.radiograph.orientation import read_pose
from lungfield.radiograph.polarity import read_polarity
from lungfield.radiograph.shutter import valid_pixels
from lungfield.radiograph.spacing import read_pixel_aspect, read_spacing
from lungfield.radiograph.streams import dicom_stream
from lungfield.records import Radiograph

GREY = ("MONOCHROME1", "MONOCHROME2")
PIXEL_GROUP = 0x7FE0
BULKY_GROUPS = {*range(0x6000, 0x6020, 2), PIXEL_GROUP}
"""Overlays and pixel data."""


def read_dicom(path: Path, *, require_frontal: bool, limits: Limits) -> Radiograph:
    """Return the radiograph in a DICOM file, with or without preamble and file meta information.

    The header is judged before any pixel is read.

    Raises:
        NotFrontalChestError: another kind of object, a cine, or a label map; with `require_frontal`, a header
            that says that the view or the body part is another one.
        UnreadableError: damaged, of a transfer syntax that cannot be decoded, over a limit, or (nearly)
            uniform.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom's remarks on odd values, which may be a patient's
        with dicom_stream(path, limits) as stream:
            dataset = _read_header(stream)
            check = _check(dataset, require_frontal=require_frontal)
            check_size(dataset, limits)
            # What lies behind the pixels may be padding without end.
            pixels = read_dataset(stream, *dataset.original_encoding, stop_when=_is_behind_pixels)
            dataset.update(pixels)
        photometric_told, remarks = complete_photometric(dataset)
        stored, more = decode(dataset, limits=limits)
        _drop_pixels(dataset)
        radiograph = _radiograph(path, stored, dataset, check, remarks + more)
        return radiograph if photometric_told else replace(radiograph, polarity_told=False)


def _is_behind_pixels(tag: Any, *_: Any) -> bool:
    return bool(tag.group != PIXEL_GROUP)


def _read_header(stream: BinaryIO) -> Any:
    """Read up to PixelData, which comes next in the stream."""
    dataset = dcmread(stream, stop_before_pixels=True, force=True)
    if not dataset.file_meta.get("TransferSyntaxUID"):
        implicit, little_endian = dataset.original_encoding
        explicit = ExplicitVRLittleEndian if little_endian else ExplicitVRBigEndian
        dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else explicit
    return dataset


def _check(header: Dataset, *, require_frontal: bool) -> HeaderCheck:
    check = check_header(header)
    if not check.radiograph or (require_frontal and not check.frontal_chest):
        raise NotFrontalChestError(check.reason, reason=check.code)
    if "Modality" in header and not any(one in header for one in ("SOPClassUID", "Rows", "Columns")):
        raise NotFrontalChestError("the object has neither SOPClassUID nor Rows and Columns: no image")
    frames = number_of_frames(header)
    if frames > 1:
        raise NotFrontalChestError(
            f"the file holds {frames} frames, not one radiograph; export the one wanted",
            reason=Reason.SEVERAL_FRAMES,
        )
    return check


def _drop_pixels(dataset: Any) -> None:
    dataset.buffer = None  # an inflated file would live on there
    for tag in [tag for tag in dataset.keys() if tag.group in BULKY_GROUPS]:  # noqa: SIM118
        del dataset[tag]


def _radiograph(
    path: Path, stored: NDArray[Any], header: Dataset, check: HeaderCheck, remarks: tuple[str, ...]
) -> Radiograph:
    spacing, more = read_spacing(header)
    remarks += more + _remarks(header)
    photometric = str(header.PhotometricInterpretation)
    valid = None
    pose = read_pose(header)
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
        pixels, _ = contrast.to_unit(upright.upright(luminance(rgb)))
    if valid is not None:
        pixels[~valid] = 0
    return Radiograph(
        path=path,
        pixels=np.ascontiguousarray(pixels),
        valid=valid,
        spacing=spacing.transposed() if spacing and upright.transposed else spacing,
        stored_aspect=read_pixel_aspect(header),
        pose=upright,
        pose_told=pose is not None,
        polarity_told=photometric in GREY and read_polarity(header).told,
        file_format="DICOM",
        view=check.view,
        warnings=remarks,
        header=header,
    )


def _remarks(header: Dataset) -> tuple[str, ...]:
    remarks = []
    if not header.get("SOPInstanceUID"):
        remarks.append("SOPInstanceUID is missing: no DICOM object can refer to this image.")
    if str(header.get("PresentationIntentType") or "") == "FOR PROCESSING":
        remarks.append("The image is meant for processing, not for presentation: its contrast is raw.")
    return tuple(remarks)
