"""Read radiographs from memory: arrays, tensors, Pillow images, DICOM data sets, bytes and open files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydicom import dcmwrite
from pydicom.dataset import Dataset

from lungfield.errors import DataError, NotFrontalChestError, Reason, UnreadableError
from lungfield.pose import Pose
from lungfield.radiograph.content import InMemory
from lungfield.radiograph.contrast import refuse_mask_in_jpeg
from lungfield.radiograph.images import ONE_PICTURE, grey_values, of_samples, radiograph_of
from lungfield.radiograph.limits import Limits
from lungfield.radiograph.spacing import MAX_MM, MIN_MM, is_plausible_spacing
from lungfield.records import Radiograph, Spacing

GIVEN = "given"
"""`Spacing.source` of a spacing from the caller."""
CHANNELS = (1, 3, 4)
"""Numbers of channels: grey, RGB, RGBA."""


def content_of(source: Any, limits: Limits) -> InMemory | None:
    """The content of bytes, an open file or a DICOM data set as a file in memory; None for other sources.

    An open file is read from its start if it is seekable. A data set is written and read again, so that it is
    handled like a file, and is not changed.

    Raises:
        UnreadableError: the file was opened in text mode or is too large, or the data set cannot be written.
    """
    name = _name(source)
    if isinstance(source, Dataset):
        return InMemory(_as_file(source), name or "DICOM data set")
    if isinstance(source, (bytes, bytearray, memoryview)):
        content = bytes(source)
    elif hasattr(source, "read") and not isinstance(source, Image.Image):
        if getattr(source, "seekable", lambda: False)():
            source.seek(0)
        content = source.read(limits.max_file_bytes + 1)
        if isinstance(content, str):
            raise UnreadableError("the file was opened as text; open it with 'rb'", reason=Reason.UNSUPPORTED)
    else:
        return None
    return InMemory(content, name or "bytes")


def read_in_memory(source: Any, limits: Limits) -> Radiograph:
    """Read the radiograph in a Pillow image, or in an array or tensor of grey values or grey RGB.

    Values are mapped as in files (`lungfield.radiograph.contrast.to_unit`): lungs are dark, 8-bit values are
    divided by 255, others are stretched.

    Args:
        source: a Pillow image, or an array or tensor: (H, W), (C, H, W) or (H, W, C) with 1, 3 or 4 channels.
        limits: on the size.

    Raises:
        NotFrontalChestError: the source has several pictures, is in colour, or is a label map.
        UnreadableError: the source is of another type, over a limit, or (nearly) uniform.
    """
    pose = None
    if isinstance(source, Image.Image):
        name = _name(source) or "image"
        file_format = source.format or "image"
        frames = 1 if file_format in ONE_PICTURE else getattr(source, "n_frames", 1)
        if frames > 1:
            raise NotFrontalChestError(
                f"an image of {frames} pictures; give one", reason=Reason.SEVERAL_FRAMES
            )
        limits.check_shape(source.height, source.width)
        source.load()  # here Pillow applies the orientation of a TIFF
        values, pose = grey_values(source), Pose.of_picture(source)
        if file_format == "JPEG":
            refuse_mask_in_jpeg(values)
    else:
        name = file_format = "array"
        values = _grey(_as_array(source))
        limits.check_shape(*values.shape)
    return radiograph_of(Path(name), values, pose, file_format)


def with_properties(
    radiograph: Radiograph,
    *,
    spacing_mm: float | tuple[float, float] | None = None,
    orientation: Sequence[str] | None = None,
    inverted: bool | None = None,
) -> Radiograph:
    """The radiograph with spacing, orientation and polarity from the caller; see `read_radiograph`.

    Raises:
        DataError: the spacing or the orientation is invalid.
    """
    if orientation is not None:
        radiograph = _lying(radiograph, orientation)
    if spacing_mm is not None:
        pair = spacing_mm if isinstance(spacing_mm, Sequence) else (spacing_mm, spacing_mm)
        if len(pair) != 2 or not is_plausible_spacing(*map(float, pair)):
            raise DataError(
                f"spacing_mm is {spacing_mm}: give the pixel spacing in mm, {MIN_MM} to {MAX_MM}, or a pair "
                "of the spacing between rows and between columns."
            )
        spacing = Spacing(float(pair[0]), float(pair[1]), source=GIVEN, plane="unknown")
        transposed = radiograph.pose.transposed
        radiograph = replace(radiograph, spacing=spacing.transposed() if transposed else spacing)
    if inverted is not None:
        pixels = radiograph.pixels
        if inverted:
            pixels = 1 - pixels
            if radiograph.valid is not None:
                pixels[~radiograph.valid] = 0
        radiograph = replace(radiograph, pixels=pixels, polarity_is_known=True)
    return radiograph


def _lying(radiograph: Radiograph, orientation: Sequence[str]) -> Radiograph:
    pose = Pose.of_directions(*orientation) if len(orientation) == 2 else None
    if pose is None:
        raise DataError(
            f"orientation is {orientation}: give the directions of rows and columns, as PatientOrientation: "
            "('L', 'F') for an upright picture; 'L' and 'R' are the patient's, 'H' is the head, 'F' the feet."
        )
    stored, spacing = radiograph.pose.stored, radiograph.stored_spacing
    valid = radiograph.valid
    return replace(
        radiograph,
        pixels=np.ascontiguousarray(pose.upright(stored(radiograph.pixels))),
        valid=None if valid is None else np.ascontiguousarray(pose.upright(stored(valid))),
        spacing=spacing.transposed() if spacing and pose.transposed else spacing,
        pose=pose,
        pose_is_known=True,
    )


def _name(source: Any) -> str:
    """The name of the file that a source was read from; '' if it has none."""
    names = (getattr(source, attribute, None) for attribute in ("name", "filename"))
    return next((str(name) for name in names if isinstance(name, (str, Path)) and str(name)), "")


def _as_file(dataset: Dataset) -> bytes:
    buffer = BytesIO()
    meta = getattr(dataset, "file_meta", None)
    if meta is not None and "TransferSyntaxUID" in meta:
        dcmwrite(buffer, dataset, enforce_file_format=False)
    else:
        # A data set without file meta information, as from a DICOM service.
        implicit, little_endian = dataset.original_encoding
        dcmwrite(
            buffer,
            dataset,
            implicit_vr=bool(implicit),
            little_endian=little_endian is not False,
            enforce_file_format=False,
        )
    return buffer.getvalue()


def _as_array(source: Any) -> NDArray[Any]:
    if hasattr(source, "detach"):  # a tensor of torch, which is not imported here
        source = source.detach().cpu()
        source = (source.float() if str(source.dtype) == "torch.bfloat16" else source).numpy()
    elif not hasattr(source, "__array__"):
        raise UnreadableError(
            f"a value of type {type(source).__name__} is no radiograph; give a path, an array, a tensor, a "
            "Pillow image, a DICOM data set, bytes, or an open file",
            reason=Reason.UNSUPPORTED,
        )
    values = np.asarray(source)
    if values.dtype.kind not in "buif":
        raise UnreadableError(f"values of type {values.dtype} are not grey values", reason=Reason.UNSUPPORTED)
    values = values.astype(values.dtype.newbyteorder("="), copy=False)
    return values.astype(np.float32) if values.dtype == np.float16 else values


def _grey(values: NDArray[Any]) -> NDArray[Any]:
    """Grey values (H, W) of an array with or without an axis of channels, first or last."""
    if values.ndim == 3 and values.shape[0] in CHANNELS:
        values = np.moveaxis(values, 0, -1)
    if values.ndim == 2 or (values.ndim == 3 and values.shape[-1] in CHANNELS):
        return of_samples(values.view(np.uint8) if values.dtype == bool else values)
    advice = "; of a batch, give a list of its pictures: list(batch)" if values.ndim in (3, 4) else ""
    raise UnreadableError(
        f"an array of shape {values.shape} is not one picture: give (rows, columns), with or without an axis "
        f"of 1, 3 or 4 channels{advice}",
        reason=Reason.UNSUPPORTED,
    )
