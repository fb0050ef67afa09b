"""Valid radiographs in every format, and ways to damage them.

A seed and the number of a case give the same file again.
"""

from __future__ import annotations

import gzip
import runpy
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nibabel
import numpy as np
import pydicom
from numpy.typing import NDArray
from PIL import Image
from pydicom import uid
from pydicom.dataset import Dataset

Mutation = Callable[[bytes, np.random.Generator], bytes]

TESTS = Path(__file__).parents[1] / "tests"
SHAPE = (128, 112)
UIDS = {
    "SOPInstanceUID": "1.2.826.0.1.3680043.8.498.1",
    "StudyInstanceUID": "1.2.826.0.1.3680043.8.498.2",
    "SeriesInstanceUID": "1.2.826.0.1.3680043.8.498.3",
}
"""Fixed: a random one has another length, which would move the elements behind it."""
EXTREMES = (0, 1, 2, 7, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x10000, 0x7FFFFFFF, 0xFFFFFFFE, 0xFFFFFFFF)
EXTREME_VALUES: dict[str, tuple[Any, ...]] = {
    **dict.fromkeys(("Rows", "Columns"), (0, 1, 63, 64, 127, 9_999, 65_535)),
    "BitsAllocated": (0, 1, 8, 12, 16, 32, 64, 65_535),
    "BitsStored": (0, 1, 8, 11, 16, 17, 65_535),
    "HighBit": (0, 15, 65_535),
    "PixelRepresentation": (0, 1, 2, 65_535),
    "SamplesPerPixel": (0, 2, 3, 4, 65_535),
    "PlanarConfiguration": (0, 1, 9),
    "NumberOfFrames": ("0", "-1", "2", "2147483647", ""),
    "PhotometricInterpretation": (
        "MONOCHROME1",
        "RGB",
        "YBR_FULL",
        "YBR_FULL_422",
        "PALETTE COLOR",
        "XYZ",
        "",
    ),
    **dict.fromkeys(
        ("WindowCenter", "WindowWidth", "RescaleSlope", "RescaleIntercept"),
        ("0", "-1", "1e308", "-1e308", "nan", "inf", "1e-308", ""),
    ),
    "VOILUTFunction": ("SIGMOID", "LINEAR_EXACT", "CUBIC"),
    **dict.fromkeys(
        ("PixelSpacing", "ImagerPixelSpacing"), (["0", "0"], ["nan", "1"], ["1e308", "1"], ["1"])
    ),
    **dict.fromkeys(("PixelPaddingValue", "PixelPaddingRangeLimit"), (0, 1, 4_095, 65_535)),
    "ShutterShape": ("RECTANGULAR", "CIRCULAR", "POLYGONAL", ["CIRCULAR", "POLYGONAL"], "ROUND"),
    "VerticesOfThePolygonalShutter": (["1"], ["1", "1", "2147483647", "-2147483648", "5", "5"]),
    "CenterOfCircularShutter": (["1"], ["2147483647", "-2147483648"]),
    "RadiusOfCircularShutter": ("-1", "0", "2147483647"),
    "PixelData": (b"", b"\0\0", b"\xff" * 20_000),
}
"""Values of elements: the ends of their ranges, and invalid ones."""


@dataclass(frozen=True)
class Case:
    """A damaged file, with the names of the valid file (`base`) and of the damage (`mutation`)."""

    number: int
    base: str
    mutation: str
    content: bytes


def make_case(bases: dict[str, bytes], *, seed: int, number: int) -> Case:
    """Case `number` of a seed: the bases in turn, each with a random kind of damage."""
    generator = np.random.default_rng([seed, number])
    base = list(bases)[number % len(bases)]
    content = bases[base]
    names = [name for name in MUTATIONS if name != "values" or _is_dicom(content)]
    mutation = names[generator.integers(len(names))]
    damaged = MUTATIONS[mutation](content, generator)
    if content.startswith(b"\x89PNG") and generator.random() < 0.7:
        damaged = _with_right_checksums(damaged)  # otherwise the decoder stops at the checksum
    return Case(number, base, mutation, damaged)


def make_bases(folder: Path) -> dict[str, bytes]:
    """The bytes of a valid file of each transfer syntax and format; `folder` is for temporary files."""
    # By path, since there are several modules called conftest.
    files = SimpleNamespace(**runpy.run_path(str(TESTS / "conftest.py")))
    pixels = picture()
    grey = (pixels >> 4).astype(np.uint8)

    def dicom(stored: NDArray[Any], **options: Any) -> bytes:
        return files.write_dicom(folder / "base", stored, **UIDS, **options).read_bytes()

    syntaxes = (*files.NATIVE, *files.ENCODERS, uid.RLELossless, uid.JPEG2000Lossless, uid.JPEGLSLossless)
    return {
        **{
            syntax.name: dicom(grey if syntax == uid.JPEGBaseline8Bit else pixels, transfer_syntax=syntax)
            for syntax in syntaxes
        },
        "DICOM, full header": dicom(pixels >> 4, **_full_header()),
        "DICOM, no preamble": dicom(pixels, preamble=False, transfer_syntax=uid.ImplicitVRLittleEndian),
        "DICOM, RGB": dicom(np.stack([grey] * 3, axis=-1)),
        **_pictures(pixels),
    }


def picture() -> NDArray[np.uint16]:
    """(128, 112) uint16 of 12 bits: smooth with some noise, as radiographs are."""
    rows, columns = np.mgrid[0 : SHAPE[0], 0 : SHAPE[1]]
    smooth = 1900 + 1200 * np.sin(rows / 30) * np.cos(columns / 25)
    noise = np.random.default_rng(0).normal(0, 25, SHAPE)
    return np.clip(smooth + noise, 0, 4095).astype(np.uint16)


def _pictures(pixels: NDArray[np.uint16]) -> dict[str, bytes]:
    grey = Image.fromarray((pixels >> 4).astype(np.uint8))
    nifti = nibabel.Nifti1Image(pixels.T, np.diag([0.2, 0.3, 1, 1])).to_bytes()
    return {
        "PNG, 8 bit": _saved(grey, "PNG"),
        "PNG, 16 bit": _saved(Image.fromarray(pixels), "PNG"),
        "PNG, palette": _saved(grey.convert("P"), "PNG"),
        "JPEG": _saved(grey, "JPEG", quality=95),
        "JPEG, progressive": _saved(grey, "JPEG", quality=95, progressive=True),
        "TIFF": _saved(Image.fromarray(pixels), "TIFF"),
        "TIFF, deflate": _saved(grey, "TIFF", compression="tiff_adobe_deflate"),
        "TIFF, LZW": _saved(grey, "TIFF", compression="tiff_lzw"),
        "NIfTI": nifti,
        "NIfTI, gzip": gzip.compress(nifti, mtime=0),
    }


def _saved(image: Image.Image, file_format: str, **options: Any) -> bytes:
    image.save(buffer := BytesIO(), format=file_format, **options)
    return buffer.getvalue()


def _full_header() -> dict[str, Any]:
    """Attributes that the reader uses, so that header damage affects all of its code."""
    modality, voi = Dataset(), Dataset()
    modality.add_new("LUTDescriptor", "US", [256, 0, 16])
    modality.add_new("LUTData", "US", list(range(256)))
    modality.ModalityLUTType = "US"
    voi.add_new("LUTDescriptor", "US", [256, 0, 8])
    voi.add_new("LUTData", "OW", np.arange(256, dtype="<u2").tobytes())
    return {
        "ModalityLUTSequence": [modality],
        "VOILUTSequence": [voi],
        "PhotometricInterpretation": "MONOCHROME1",
        "PixelPaddingValue": 0,
        "ImagerPixelSpacing": [0.2, 0.2],
        "EstimatedRadiographicMagnificationFactor": 1.1,
        "ShutterShape": ["RECTANGULAR", "CIRCULAR", "POLYGONAL"],
        "ShutterUpperHorizontalEdge": 3,
        "ShutterLowerHorizontalEdge": 120,
        "ShutterLeftVerticalEdge": 3,
        "ShutterRightVerticalEdge": 110,
        "CenterOfCircularShutter": [64, 56],
        "RadiusOfCircularShutter": 70,
        "VerticesOfThePolygonalShutter": [2, 2, 2, 110, 120, 110, 120, 2],
    }


# Ways to damage a file.


def _flip_header(content: bytes, generator: np.random.Generator) -> bytes:
    """Other bytes at one to eight places of the header."""
    return _overwrite(content, generator, *_header(content))


def _flip_stream(content: bytes, generator: np.random.Generator) -> bytes:
    """Other bytes at one to eight places behind the header: in the pixels, compressed or not."""
    return _overwrite(content, generator, _header(content)[1], len(content))


def _overwrite(content: bytes, generator: np.random.Generator, start: int, end: int) -> bytes:
    damaged = bytearray(content)
    for place in generator.integers(start, max(end, start + 1), generator.integers(1, 9)):
        damaged[min(place, len(damaged) - 1)] ^= int(generator.integers(1, 256))
    return bytes(damaged)


def _alter_length(content: bytes, generator: np.random.Generator) -> bytes:
    """Replace a number by an extreme one: the length of an element, or any position of the header."""
    places = _length_fields(content)
    if places:
        place, size, order = places[generator.integers(len(places))]
    else:
        start, end = _header(content)
        place = int(generator.integers(start, max(end - 4, start + 1)))
        size, order = int(generator.choice([2, 4])), str(generator.choice(["<", ">"]))
    number = int(generator.choice(EXTREMES)) % (1 << (8 * size))
    packed = struct.pack(order + ("H" if size == 2 else "I"), number)
    return content[:place] + packed + content[place + size :]


def _truncate(content: bytes, generator: np.random.Generator) -> bytes:
    return content[: generator.integers(0, len(content))]


def _drop(content: bytes, generator: np.random.Generator) -> bytes:
    start, end = _chunk(content, generator)
    return content[:start] + content[end:]


def _duplicate(content: bytes, generator: np.random.Generator) -> bytes:
    start, end = _chunk(content, generator)
    return content[:end] + content[start:end] + content[end:]


def _zero(content: bytes, generator: np.random.Generator) -> bytes:
    """A run of zeros, as a lost block of a disk is."""
    start, end = _chunk(content, generator)
    return content[:start] + bytes(end - start) + content[end:]


def _set_values(content: bytes, generator: np.random.Generator) -> bytes:
    """One to three DICOM elements with values at the ends of their ranges or beyond."""
    dataset = pydicom.dcmread(BytesIO(content), force=True)
    buffer = BytesIO()
    with pydicom.config.disable_value_validation():
        for keyword in generator.choice(list(EXTREME_VALUES), generator.integers(1, 4)).tolist():
            values = EXTREME_VALUES[keyword]
            setattr(dataset, keyword, values[generator.integers(len(values))])
        if "PixelData" in dataset and dataset.file_meta.get("TransferSyntaxUID"):
            dataset["PixelData"].is_undefined_length = dataset.file_meta.TransferSyntaxUID.is_encapsulated
        try:
            dataset.save_as(buffer, enforce_file_format=False)
        except Exception:  # pydicom cannot write these values
            return content
    return buffer.getvalue()


def _chunk(content: bytes, generator: np.random.Generator) -> tuple[int, int]:
    start = int(generator.integers(0, len(content)))
    return start, min(len(content), start + int(2 ** generator.uniform(0, 11)))


def _header(content: bytes) -> tuple[int, int]:
    """Where a header starts and ends: in DICOM up to the length of PixelData, else 400 bytes."""
    start = 132 if content[128:132] == b"DICM" else 0
    fields = _length_fields(content)
    return start, fields[-1][0] if fields else min(start + 400, len(content) - 1)


def _is_dicom(content: bytes) -> bool:
    return content[128:132] == b"DICM" or content.startswith(b"\x08\0")


def _length_fields(content: bytes) -> list[tuple[int, int, str]]:
    """Place, size and byte order of the length of each element of a DICOM file that is not deflated."""
    if not _is_dicom(content):
        return []
    dataset = pydicom.dcmread(BytesIO(content), force=True)
    if dataset.buffer is not None and dataset.file_meta.get("TransferSyntaxUID", "").endswith("1.2.1.99"):
        return []
    implicit, little = dataset.original_encoding
    fields = []
    for tag in sorted(dataset.keys()):
        element = dataset.get_item(tag)
        wide = implicit or element.VR in pydicom.valuerep.EXPLICIT_VR_LENGTH_32
        fields.append((element.value_tell - (4 if wide else 2), 4 if wide else 2, "<" if little else ">"))
    return fields


def _with_right_checksums(content: bytes) -> bytes:
    """A PNG file with a corrected checksum of each chunk (PNG specification, 5.3)."""
    damaged = bytearray(content)
    place = 8
    while place + 12 <= len(damaged):
        end = place + 8 + struct.unpack_from(">I", damaged, place)[0]
        if end + 4 > len(damaged):
            break
        struct.pack_into(">I", damaged, end, zlib.crc32(damaged[place + 4 : end]))
        place = end + 4
    return bytes(damaged)


MUTATIONS: dict[str, Mutation] = {
    "header": _flip_header,
    "stream": _flip_stream,
    "length": _alter_length,
    "truncated": _truncate,
    "dropped": _drop,
    "duplicated": _duplicate,
    "zeroed": _zero,
    "values": _set_values,
}
