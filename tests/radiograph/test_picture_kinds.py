"""Kinds of picture files that few programs write, and parts of them that are missing."""

from __future__ import annotations

import struct
from io import BytesIO
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image

from lungfield.errors import Reason, UnreadableError
from lungfield.radiograph import images, read_radiograph
from lungfield.radiograph.limits import DEFAULT_LIMITS

WHITE_IS_ZERO, BLACK_IS_ZERO = 0, 1


@pytest.fixture
def grey(picture: NDArray[np.uint16]) -> NDArray[np.uint8]:
    return (picture >> 4).astype(np.uint8)


def stretched(values: NDArray[Any]) -> NDArray[Any]:
    low, high = np.percentile(values.astype(float), (0.1, 99.9))
    return np.clip((values.astype(float) - low) / (high - low), 0, 1)


def packed(values: NDArray[np.uint8], bits: int) -> bytes:
    """Values of 1, 2 or 4 bits, the first in the highest bits of a byte."""
    parts = [values[:, first :: 8 // bits] << (8 - bits - first * bits) for first in range(8 // bits)]
    return np.bitwise_or.reduce(parts).astype(np.uint8).tobytes()


def write_tiff(path: Path, data: bytes, *, bits: int, photometric: int, shape: tuple[int, int]) -> Path:
    """An uncompressed TIFF of one strip, tag by tag: no library here writes 2 and 4 bits."""
    rows, columns = shape
    tags = [
        (256, 4, 1, columns),
        (257, 4, 1, rows),
        (258, 3, 1, bits),
        (259, 3, 1, 1),
        (262, 3, 1, photometric),
        (273, 4, 1, 8),
        (277, 3, 1, 1),
        (278, 4, 1, rows),
        (279, 4, 1, len(data)),
    ]
    directory = struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", *tag) for tag in tags)
    path.write_bytes(b"II*\0" + struct.pack("<I", 8 + len(data)) + data + directory + bytes(4))
    return path


@pytest.mark.parametrize("photometric", [WHITE_IS_ZERO, BLACK_IS_ZERO])
@pytest.mark.parametrize("bits", [1, 2, 4])  # of 1 and 2 bits it is a label map, but its values are read
def test_tiff_of_few_bits_fills_the_range(
    bits: int, photometric: int, grey: NDArray[np.uint8], tmp_path: Path
) -> None:
    levels, top = grey >> (8 - bits), 2**bits - 1
    stored = levels if photometric == BLACK_IS_ZERO else top - levels
    path = write_tiff(
        tmp_path / "a.tif", packed(stored, bits), bits=bits, photometric=photometric, shape=grey.shape
    )
    values, _ = images._read_tiff(path, DEFAULT_LIMITS)
    np.testing.assert_allclose(values / 255, levels / top, atol=1e-6)


def test_tiff_of_ycbcr_without_jpeg(grey: NDArray[np.uint8], tmp_path: Path) -> None:
    Image.fromarray(np.stack([grey] * 3, axis=-1)).convert("YCbCr").save(tmp_path / "a.tif")
    np.testing.assert_allclose(read_radiograph(tmp_path / "a.tif").pixels, grey / 255, atol=0.01)


def test_tiff_of_ycbcr_in_jpeg(grey: NDArray[np.uint8], tmp_path: Path) -> None:
    image = Image.fromarray(np.stack([grey] * 3, axis=-1)).convert("YCbCr")
    image.save(tmp_path / "a.tif", compression="jpeg", quality=98)
    np.testing.assert_allclose(read_radiograph(tmp_path / "a.tif").pixels, grey / 255, atol=0.02)


def test_tiff_of_which_strips_are_missing(picture: NDArray[np.uint16], tmp_path: Path) -> None:
    buffer = BytesIO()
    tifffile.imwrite(buffer, picture, metadata=None, compression="zlib", rowsperstrip=8)
    content = bytearray(buffer.getvalue())
    with tifffile.TiffFile(BytesIO(buffer.getvalue())) as file:
        counts = file.pages[0].tags["StripByteCounts"]
    content[counts.valueoffset : counts.valueoffset + 6] = bytes(6)
    (tmp_path / "a.tif").write_bytes(content)
    with pytest.raises(UnreadableError, match="missing from the file") as error:
        read_radiograph(tmp_path / "a.tif")
    assert error.value.reason is Reason.DAMAGED


def test_small_differences_of_large_values(picture: NDArray[np.uint16], tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", picture.astype(np.uint32) + 4_000_000_000)
    pixels = read_radiograph(tmp_path / "a.tif").pixels
    np.testing.assert_allclose(pixels, stretched(picture), atol=1e-4)


def test_a_photograph_with_a_preview_in_its_file(grey: NDArray[np.uint8], tmp_path: Path) -> None:
    """As telephones write JPEG (CIPA DC-007, MPO)."""
    preview = Image.fromarray(np.ascontiguousarray(255 - grey[::4, ::4]))
    Image.fromarray(grey).save(
        tmp_path / "a.jpg", format="MPO", save_all=True, append_images=[preview], quality=100
    )
    radiograph = read_radiograph(tmp_path / "a.jpg")
    np.testing.assert_allclose(radiograph.pixels, grey / 255, atol=0.03)
    assert radiograph.file_format == "JPEG"


@pytest.mark.parametrize("large", [False, True])
def test_jp2_with_much_before_its_code_stream(
    large: bool, picture: NDArray[np.uint16], tmp_path: Path
) -> None:
    content = imagecodecs.jpeg2k_encode(picture, codecformat="jp2", level=0, reversible=True)
    start = content.index(b"jp2c") - 4
    # A uuid box whose content looks like the start of a code stream; its length in 4 or in 8 bytes.
    filling = b"\xff\x4f\xff\x51" * 3000
    header = (
        struct.pack(">I4sQ", 1, b"uuid", 16 + len(filling))
        if large
        else struct.pack(">I4s", 8 + len(filling), b"uuid")
    )
    (tmp_path / "a.jp2").write_bytes(content[:start] + header + filling + content[start:])
    np.testing.assert_allclose(read_radiograph(tmp_path / "a.jp2").pixels, stretched(picture), atol=1e-3)


def test_jpeg_2000_of_few_bits_fills_the_range(grey: NDArray[np.uint8], tmp_path: Path) -> None:
    levels = grey >> 4
    content = imagecodecs.jpeg2k_encode(levels, codecformat="j2k", level=0, reversible=True, bitspersample=4)
    (tmp_path / "a.j2k").write_bytes(content)
    np.testing.assert_allclose(read_radiograph(tmp_path / "a.j2k").pixels, levels / 15, atol=1e-6)
