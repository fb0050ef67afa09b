"""A DICOM file as a `Radiograph`."""

from __future__ import annotations

import warnings
import zlib
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filereader import read_dataset, read_file_meta_info
from pydicom.filewriter import write_file_meta_info
from pydicom.pixels import apply_color_lut
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from lungfield.errors import NotFrontalChestError, UnreadableError
from lungfield.radiograph import contrast, grayscale
from lungfield.radiograph.colour import luminance
from lungfield.radiograph.decoding import check_size, decode, number_of_frames
from lungfield.radiograph.limits import Limits
from lungfield.radiograph.shutter import valid_pixels
from lungfield.radiograph.spacing import read_spacing
from lungfield.radiograph.views import Verdict, is_mirrored, judge_header
from lungfield.records import Radiograph

PREAMBLE_BYTES = 128
MAGIC = b"DICM"
GROUP_LENGTH_BYTES = 12
"""The element FileMetaInformationGroupLength, which counts what follows it (DICOM PS3.10, 7.1)."""
GREY = ("MONOCHROME1", "MONOCHROME2")
OVERLAY_GROUPS = range(0x6000, 0x6020, 2)


def has_preamble(path: Path) -> bool:
    """Tell whether a file has the preamble and the prefix of DICOM (PS3.10, 7.1), and so is DICOM."""
    with path.open("rb") as stream:
        stream.seek(PREAMBLE_BYTES)
        return stream.read(len(MAGIC)) == MAGIC


def read_dicom(path: Path, *, require_frontal: bool, limits: Limits) -> Radiograph:
    """Return the radiograph in a DICOM file, with or without preamble and file meta information.

    The header is judged before any pixel is read.

    Raises:
        NotFrontalChestError: another kind of object, or a cine; with `require_frontal`, a header that
            says that the view or the body part is another one.
        UnreadableError: damaged, of a transfer syntax that cannot be decoded, over a limit, or (nearly)
            uniform.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom's remarks on odd values, which may be a patient's
        with _open(path, limits=limits) as stream:
            dataset = _read_header(stream)
            verdict = _judge(dataset, require_frontal=require_frontal)
            check_size(dataset, limits)
            dataset.update(read_dataset(stream, *dataset.original_encoding))
        stored = decode(dataset, limits=limits)
        _drop_pixels(dataset)
        return _radiograph(path, stored, dataset, verdict)


def _open(path: Path, *, limits: Limits) -> BinaryIO:
    """Open the file for reading; a deflated one comes inflated, as Explicit VR Little Endian."""
    if has_preamble(path):
        meta = read_file_meta_info(path)
        if meta.get("TransferSyntaxUID") == DeflatedExplicitVRLittleEndian:
            return _inflate(path, meta, limits=limits)
    return path.open("rb")


def _inflate(path: Path, meta: FileMetaDataset, *, limits: Limits) -> BinaryIO:
    """Inflate the data set behind the file meta information (DICOM PS3.5, A.5), up to the limit."""
    start = PREAMBLE_BYTES + len(MAGIC) + GROUP_LENGTH_BYTES + meta.FileMetaInformationGroupLength
    with path.open("rb") as stream:
        stream.seek(start)
        deflated = stream.read()
    inflated = zlib.decompressobj(-zlib.MAX_WBITS).decompress(deflated, limits.max_inflated_bytes + 1)
    if len(inflated) > limits.max_inflated_bytes:
        raise UnreadableError(f"more than {limits.max_inflated_bytes:,} bytes after inflation")
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    content = BytesIO()
    content.write(bytes(PREAMBLE_BYTES) + MAGIC)
    write_file_meta_info(content, meta, enforce_standard=False)
    content.write(inflated)
    content.seek(0)
    return content


def _read_header(stream: BinaryIO) -> Any:
    """Read up to PixelData, which comes next in the stream."""
    dataset = dcmread(stream, stop_before_pixels=True, force=True)
    if not dataset.file_meta.get("TransferSyntaxUID"):
        implicit, little_endian = dataset.original_encoding
        explicit = ExplicitVRLittleEndian if little_endian else ExplicitVRBigEndian
        dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else explicit
    return dataset


def _judge(header: Dataset, *, require_frontal: bool) -> Verdict:
    verdict = judge_header(header)
    if not verdict.radiograph or (require_frontal and not verdict.frontal_chest):
        raise NotFrontalChestError(verdict.reason)
    frames = number_of_frames(header)
    if frames > 1:
        raise NotFrontalChestError(
            f"the file holds {frames} frames, not one radiograph; export the one wanted"
        )
    return verdict


def _drop_pixels(dataset: Any) -> None:
    dataset.buffer = None  # an inflated file would live on there
    del dataset.PixelData
    for tag in [tag for tag in dataset.keys() if tag.group in OVERLAY_GROUPS]:  # noqa: SIM118
        del dataset[tag]


def _radiograph(path: Path, stored: NDArray[Any], header: Dataset, verdict: Verdict) -> Radiograph:
    spacing, remarks = read_spacing(header)
    remarks += _remarks(header)
    photometric = str(header.PhotometricInterpretation)
    valid = None
    if photometric in GREY:
        valid, more = valid_pixels(stored, header)
        contrast.require_contrast(contrast.sample(stored, valid))
        pixels, extra = grayscale.to_unit(stored, header, valid=valid)
        remarks += more + extra
    else:
        rgb = apply_color_lut(stored, header) if photometric == "PALETTE COLOR" else stored
        pixels, _ = contrast.to_unit(luminance(rgb))
    if valid is not None:
        pixels[~valid] = 0
    return Radiograph(
        path=path,
        pixels=np.ascontiguousarray(pixels),
        valid=valid,
        spacing=spacing,
        file_format="DICOM",
        mirrored=is_mirrored(header),
        view=verdict.view,
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
