"""Small files that claim to be large are turned down before memory is set aside for what they claim.

Each is read in a process of its own, which tells how much memory that took.
"""

from __future__ import annotations

import gzip
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from PIL import Image
from pydicom import uid
from pydicom.encaps import encapsulate, get_frame

from fuzz import Reader
from lungfield.errors import Reason

Make = Callable[[Path, NDArray[np.uint16], Any], None]

SMALL_MIB = 40
INFLATED_MIB = 300
"""The limit on inflated bytes is 256 MiB."""


def _compressed(syntax: uid.UID, rows: int, columns: int) -> Make:
    """A few bytes of a compressed image, in a header that claims many pixels."""

    def make(path: Path, picture: NDArray[np.uint16], make_dicom: Any) -> None:
        dataset = pydicom.dcmread(make_dicom(path, picture, transfer_syntax=syntax))
        frame = bytearray(get_frame(dataset.PixelData, 0, number_of_frames=1)[:2000] + b"\xff\xd9")
        if syntax == uid.JPEG2000Lossless:
            struct.pack_into(">II", frame, frame.index(b"\xff\x4f\xff\x51") + 8, columns, rows)
        dataset.Rows, dataset.Columns = rows, columns
        dataset.PixelData = encapsulate([bytes(frame)])
        dataset.save_as(path)

    return make


def _native(path: Path, picture: NDArray[np.uint16], make_dicom: Any) -> None:
    make_dicom(path, picture, Rows=10_000, Columns=9_999)


def _deflated(path: Path, picture: NDArray[np.uint16], make_dicom: Any) -> None:
    make_dicom(path, picture, transfer_syntax=uid.DeflatedExplicitVRLittleEndian)
    start = 144 + pydicom.dcmread(path).file_meta.FileMetaInformationGroupLength
    packer = zlib.compressobj(level=9, wbits=-zlib.MAX_WBITS)
    zeros = b"".join(packer.compress(bytes(1 << 24)) for _ in range(20)) + packer.flush()
    path.write_bytes(path.read_bytes()[:start] + zeros)


def _nested(path: Path, picture: NDArray[np.uint16], make_dicom: Any) -> None:
    content, start = _file_and_start(path, picture, make_dicom)
    nested = struct.pack("<HH2sHI", 0x0008, 0x0006, b"SQ", 0, 0xFFFFFFFF)
    nested += struct.pack("<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF)
    path.write_bytes(content[:start] + nested * 20_000 + content[start:])


def _long_element(path: Path, picture: NDArray[np.uint16], make_dicom: Any) -> None:
    """An element that claims 4 GB: in the data set, and in the file meta information."""
    content, start = _file_and_start(path, picture, make_dicom)
    element = struct.pack("<HH2sHI", 0x0008, 0x0001, b"UN", 0, 0xFFFFFFF0)
    path.write_bytes(content[:start] + element + content[start:])


def _long_meta_element(path: Path, picture: NDArray[np.uint16], make_dicom: Any) -> None:
    content, start = _file_and_start(path, picture, make_dicom)
    element = struct.pack("<HH2sHI", 0x0002, 0x0102, b"OB", 0, 0xFFFFFFF0)
    path.write_bytes(content[:start] + element + content[start:])


def _file_and_start(path: Path, picture: NDArray[np.uint16], make_dicom: Any) -> tuple[bytes, int]:
    """The bytes of a DICOM file, and where its data set starts."""
    content = make_dicom(path, picture).read_bytes()
    return content, 144 + pydicom.dcmread(path).file_meta.FileMetaInformationGroupLength


def _png(path: Path, picture: NDArray[np.uint16], make_dicom: Any) -> None:
    Image.new("1", (20_000, 20_000)).save(path, format="PNG")


def _nifti(path: Path, picture: NDArray[np.uint16], make_dicom: Any) -> None:
    content = bytearray(nibabel.Nifti1Image(picture.astype(np.float64), np.eye(4)).to_bytes())
    struct.pack_into("<hhh", content, 40, 2, 9_999, 9_999)
    path.write_bytes(content)


def _gzipped_nifti(path: Path, picture: NDArray[np.uint16], make_dicom: Any) -> None:
    header = nibabel.Nifti1Image(picture, np.eye(4)).to_bytes()
    path.write_bytes(gzip.compress(header + bytes(300_000_000), compresslevel=1))


BOMBS: dict[str, tuple[Make, Reason, int]] = {
    "RLE of 60000 x 60000": (_compressed(uid.RLELossless, 60_000, 60_000), Reason.OVER_LIMIT, SMALL_MIB),
    "RLE of 9000 x 9000": (_compressed(uid.RLELossless, 9_000, 9_000), Reason.OVER_LIMIT, SMALL_MIB),
    "JPEG 2000 of 12000 x 12000": (
        _compressed(uid.JPEG2000Lossless, 12_000, 12_000),
        Reason.OVER_LIMIT,
        SMALL_MIB,
    ),
    "JPEG 2000 of 9000 x 9000": (
        _compressed(uid.JPEG2000Lossless, 9_000, 9_000),
        Reason.OVER_LIMIT,
        SMALL_MIB,
    ),
    "JPEG-LS of 9000 x 9000": (_compressed(uid.JPEGLSLossless, 9_000, 9_000), Reason.OVER_LIMIT, SMALL_MIB),
    "uncompressed of 10000 x 9999": (_native, Reason.DAMAGED, SMALL_MIB),
    "335 MB deflated": (_deflated, Reason.OVER_LIMIT, INFLATED_MIB),
    "20,000 nested sequences": (_nested, Reason.DAMAGED, 2 * SMALL_MIB),
    "an element of 4 GB": (_long_element, Reason.DAMAGED, SMALL_MIB),
    "a meta element of 4 GB": (_long_meta_element, Reason.DAMAGED, SMALL_MIB),
    "PNG of 20000 x 20000": (_png, Reason.OVER_LIMIT, SMALL_MIB),
    "NIfTI of 9999 x 9999": (_nifti, Reason.DAMAGED, SMALL_MIB),
    "300 MB gzipped": (_gzipped_nifti, Reason.OVER_LIMIT, INFLATED_MIB),
}


def test_a_header_on_which_a_native_decoder_aborts(
    reader: Reader, picture: NDArray[np.uint16], make_dicom: Any, tmp_path: Path
) -> None:
    path = make_dicom(tmp_path / "a.dcm", picture, transfer_syntax=uid.JPEGLossless, BitsAllocated=32)
    assert reader.read(path).code == Reason.DAMAGED


@pytest.mark.parametrize("name", BOMBS)
def test_bombs(
    name: str, reader: Reader, picture: NDArray[np.uint16], make_dicom: Any, tmp_path: Path
) -> None:
    make, reason, memory_mib = BOMBS[name]
    path = tmp_path / "bomb"
    make(path, picture, make_dicom)
    assert path.stat().st_size < 3_000_000
    outcome = reader.read(path)
    assert outcome.code == reason, outcome.message
    assert outcome.memory_mib < memory_mib
    assert outcome.seconds < 20
