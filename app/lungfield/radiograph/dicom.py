"""A DICOM file as a `Radiograph`."""

from __future__ import annotations

import os
import warnings
import zlib
from collections.abc import Iterator
from io import BufferedReader, BytesIO, FileIO
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filereader import read_dataset
from pydicom.filewriter import write_file_meta_info
from pydicom.pixels import apply_color_lut
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from lungfield.errors import NotFrontalChestError, Reason, UnreadableError
from lungfield.pose import UPRIGHT
from lungfield.radiograph import contrast, grayscale
from lungfield.radiograph.colour import luminance
from lungfield.radiograph.decoding import check_size, decode, number_of_frames
from lungfield.radiograph.limits import Limits
from lungfield.radiograph.orientation import read_pose
from lungfield.radiograph.polarity import read_polarity
from lungfield.radiograph.shutter import valid_pixels
from lungfield.radiograph.spacing import read_spacing
from lungfield.radiograph.views import Verdict, judge_header
from lungfield.records import Radiograph

PREAMBLE_BYTES = 128
MAGIC = b"DICM"
GREY = ("MONOCHROME1", "MONOCHROME2")
LARGE_READ_BYTES = 1 << 16
BLOCK_BYTES = 1 << 20
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
        with _Bounded(path) as file:
            stream = _inflated(file, limits=limits)
            dataset = _read_header(stream)
            verdict = _judge(dataset, require_frontal=require_frontal)
            check_size(dataset, limits)
            dataset.update(read_dataset(stream, *dataset.original_encoding))
        stored, remarks = decode(dataset, limits=limits)
        _drop_pixels(dataset)
        return _radiograph(path, stored, dataset, verdict, remarks)


class _Bounded(BufferedReader):
    """A file of which no more is asked than it has: Python sets memory aside for all that a length claims."""

    def __init__(self, path: Path) -> None:
        raw = FileIO(path)
        super().__init__(raw)
        self._size = os.fstat(raw.fileno()).st_size

    def read(self, size: int | None = -1) -> bytes:
        """Read up to `size` bytes, or all."""
        if size is None or size < LARGE_READ_BYTES:
            return super().read(size)
        return super().read(max(0, min(size, self._size - self.tell())))


def _inflated(file: BinaryIO, *, limits: Limits) -> BinaryIO:
    """The file at its start; a deflated one (DICOM PS3.5, A.5) inflated, as Explicit VR Little Endian."""
    file.seek(PREAMBLE_BYTES)
    meta = _read_meta(file) if file.read(len(MAGIC)) == MAGIC else FileMetaDataset()
    if meta.get("TransferSyntaxUID") != DeflatedExplicitVRLittleEndian:
        file.seek(0)
        return file
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    content = BytesIO()
    content.write(bytes(PREAMBLE_BYTES) + MAGIC)
    write_file_meta_info(content, meta, enforce_standard=False)
    for block in _inflate(file):
        content.write(block)
        if content.tell() > limits.max_inflated_bytes:
            raise UnreadableError(
                f"more than {limits.max_inflated_bytes:,} bytes after inflation", reason=Reason.OVER_LIMIT
            )
    content.seek(0)
    return content


def _inflate(file: BinaryIO) -> Iterator[bytes]:
    """Inflate what is left of a file, in blocks: who wants no more of them has no more in memory."""
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    while not inflater.eof:
        deflated = inflater.unconsumed_tail or file.read(BLOCK_BYTES)
        block = inflater.decompress(deflated, BLOCK_BYTES)
        if not deflated and not block:
            raise UnreadableError("the deflated data set is cut off", reason=Reason.DAMAGED)
        yield block


def _read_meta(file: BinaryIO) -> FileMetaDataset:
    """Read the file meta information (DICOM PS3.10, 7.1), group 0002, up to the data set behind it."""
    return FileMetaDataset(
        read_dataset(
            file, is_implicit_VR=False, is_little_endian=True, stop_when=lambda tag, *_: tag.group != 2
        )
    )


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
        raise NotFrontalChestError(verdict.reason, reason=verdict.code)
    frames = number_of_frames(header)
    if frames > 1:
        raise NotFrontalChestError(
            f"the file holds {frames} frames, not one radiograph; export the one wanted",
            reason=Reason.SEVERAL_FRAMES,
        )
    return verdict


def _drop_pixels(dataset: Any) -> None:
    dataset.buffer = None  # an inflated file would live on there
    del dataset.PixelData
    for tag in [tag for tag in dataset.keys() if tag.group in OVERLAY_GROUPS]:  # noqa: SIM118
        del dataset[tag]


def _radiograph(
    path: Path, stored: NDArray[Any], header: Dataset, verdict: Verdict, remarks: tuple[str, ...]
) -> Radiograph:
    spacing, more = read_spacing(header)
    remarks += more + _remarks(header)
    photometric = str(header.PhotometricInterpretation)
    valid = None
    pose = read_pose(header)
    upright = pose or UPRIGHT
    if photometric in GREY:
        valid, more = valid_pixels(stored, header)
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
        pose=upright,
        pose_told=pose is not None,
        polarity_told=photometric in GREY and read_polarity(header).told,
        file_format="DICOM",
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
