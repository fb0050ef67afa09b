"""Bad input of every kind ends in one clear error, soon, in little memory, and names no patient."""

from __future__ import annotations

import os
import resource
import struct
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from PIL import Image
from pydicom import uid
from pydicom.encaps import encapsulate, get_frame

from lungfield.errors import LungfieldError, NotFrontalChestError, UnreadableError
from lungfield.radiograph import Limits, read_radiograph
from lungfield.radiograph.decoding import call_capturing_stderr, print_to_stderr

pytestmark = pytest.mark.filterwarnings("ignore:Invalid value for VR")

SECONDS = 5.0  # one is usual; a busy machine may need more
KIBIBYTES = 700_000


@pytest.fixture(autouse=True)
def _soon_and_small() -> Iterator[None]:
    started, peak = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield
    assert time.perf_counter() - started < SECONDS
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak < KIBIBYTES


def refused(path: Path, kind: type[LungfieldError] = UnreadableError, **options: Any) -> str:
    with pytest.raises(kind) as caught:
        read_radiograph(path, **options)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "Nemo" not in message
    assert "4711" not in message
    return message


def test_what_is_no_image_at_all(tmp_path: Path) -> None:
    contents = {
        "empty.dcm": (b"", "empty"),
        "text.dcm": (b"This is no radiograph.\n" * 100, "neither DICOM"),
        "short.dcm": (b"\x08", "neither DICOM"),
        "magic.dcm": (bytes(128) + b"DICM", "damaged|Rows"),
        "noise.dcm": (
            bytes(128) + b"DICM" + np.random.default_rng(0).bytes(5000),
            "damaged|Rows|unsupported",
        ),
        "bare_noise.dcm": (b"\x08\0" + np.random.default_rng(0).bytes(5000), "damaged|Rows|unsupported"),
        "noise.png": (b"\x89PNG\r\n\x1a\n" + np.random.default_rng(0).bytes(5000), "read|damaged"),
        "noise.jpg": (b"\xff\xd8\xff" + np.random.default_rng(0).bytes(5000), "read|damaged"),
        "noise.tif": (b"II*\0" + np.random.default_rng(0).bytes(5000), "read|damaged"),
        "noise.nii.gz": (b"\x1f\x8b" + np.random.default_rng(0).bytes(5000), "read|damaged"),
        "text.gz": (zlib.compress(b"text", wbits=31), "neither DICOM"),
    }
    for name, (content, reason) in contents.items():
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(UnreadableError, match=reason):
            read_radiograph(path)


def test_what_is_no_regular_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.dcm")
    assert "not a regular file" in refused(tmp_path / "pipe.dcm")
    assert "not a regular file" in refused(tmp_path)
    assert "No such file" in refused(tmp_path / "nowhere.dcm")


def test_a_file_over_the_limit(picture: NDArray[np.uint16], make_dicom: Any, tmp_path: Path) -> None:
    path = make_dicom(tmp_path / "a.dcm", picture)
    assert "limit" in refused(path, limits=Limits(max_file_bytes=1000))


def test_short_pixel_data(picture: NDArray[np.uint16], make_dicom: Any, tmp_path: Path) -> None:
    path = make_dicom(tmp_path / "a.dcm", picture)
    content = path.read_bytes()
    path.write_bytes(content[:-5000])
    assert "PixelData" in refused(path)
    assert "PixelData" in refused(make_dicom(tmp_path / "b.dcm", picture, PixelData=b"\0" * 100))
    assert "PixelData" in refused(make_dicom(tmp_path / "c.dcm", picture, PixelData=b""))
    assert "PixelData" in refused(make_dicom(tmp_path / "d.dcm", None, Rows=96, Columns=80))


@pytest.mark.parametrize(
    "syntax",
    [
        uid.JPEGBaseline8Bit,
        uid.JPEGExtended12Bit,
        uid.JPEGLosslessSV1,
        uid.JPEGLSLossless,
        uid.JPEG2000Lossless,
        uid.HTJ2KLossless,
        uid.RLELossless,
    ],
    ids=lambda syntax: syntax.name,
)
def test_a_compressed_image_that_is_cut_off(
    syntax: uid.UID, picture: NDArray[np.uint16], make_dicom: Any, tmp_path: Path
) -> None:
    stored = (picture >> 4).astype(np.uint8) if syntax == uid.JPEGBaseline8Bit else picture
    path = make_dicom(tmp_path / "a.dcm", stored, transfer_syntax=syntax)
    dataset = pydicom.dcmread(path)
    frame = get_frame(dataset.PixelData, 0, number_of_frames=1)
    dataset.PixelData = encapsulate([frame[: len(frame) * 2 // 3]])
    dataset.save_as(path)
    assert any(word in refused(path) for word in ("cut off", "damaged", "PixelData"))
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 2 // 3])
    refused(path)


def test_truncated_png_and_jpeg(picture: NDArray[np.uint16], tmp_path: Path) -> None:
    for name in ("a.png", "a.jpg"):
        path = tmp_path / name
        Image.fromarray((picture >> 4).astype(np.uint8)).save(path)
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        refused(path)


@pytest.mark.parametrize(
    "syntax", [uid.JPEGBaseline8Bit, uid.JPEGLosslessSV1, uid.JPEG2000Lossless, uid.ExplicitVRLittleEndian]
)
def test_enormous_rows_and_columns(
    syntax: uid.UID, picture: NDArray[np.uint16], make_dicom: Any, tmp_path: Path
) -> None:
    stored = (picture >> 4).astype(np.uint8)
    path = make_dicom(tmp_path / "a.dcm", stored, transfer_syntax=uid.JPEGBaseline8Bit)
    dataset = pydicom.dcmread(path)
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.Rows = dataset.Columns = 65535
    dataset.PixelData = encapsulate([b"\xff\xd8" + b"garbage" * 100 + b"\xff\xd9"])
    dataset["PixelData"].is_undefined_length = syntax.is_encapsulated
    dataset.save_as(path)
    assert "more than the limit" in refused(path)


@pytest.mark.parametrize("syntax", [uid.JPEG2000Lossless, uid.RLELossless, uid.JPEGLSLossless])
def test_a_few_bytes_that_claim_many_pixels(
    syntax: uid.UID, picture: NDArray[np.uint16], make_dicom: Any, tmp_path: Path
) -> None:
    path = make_dicom(tmp_path / "a.dcm", picture, transfer_syntax=syntax)
    dataset = pydicom.dcmread(path)
    dataset.Rows = dataset.Columns = 9000
    dataset.PixelData = encapsulate(
        [get_frame(dataset.PixelData, 0, number_of_frames=1)[:2000] + b"\xff\xd9"]
    )
    dataset.save_as(path)
    assert "cannot hold" in refused(path)


def test_a_code_stream_that_is_larger_than_the_header_says(
    picture: NDArray[np.uint16], make_dicom: Any, tmp_path: Path
) -> None:
    path = make_dicom(tmp_path / "a.dcm", picture, transfer_syntax=uid.JPEG2000Lossless)
    dataset = pydicom.dcmread(path)
    frame = bytearray(get_frame(dataset.PixelData, 0, number_of_frames=1))
    struct.pack_into(">II", frame, frame.index(b"\xff\x4f\xff\x51") + 8, 12_000, 12_000)
    dataset.PixelData = encapsulate([bytes(frame)])
    dataset.save_as(path)
    assert "12000 x 12000" in refused(path)


@pytest.mark.parametrize("syntax", [uid.JPEGLossless, uid.JPEGLosslessSV1])
def test_damage_inside_a_lossless_jpeg_that_its_decoder_only_prints(
    syntax: uid.UID,
    picture: NDArray[np.uint16],
    make_dicom: Any,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    path = make_dicom(tmp_path / "a.dcm", picture, transfer_syntax=syntax)
    content = path.read_bytes()
    start = content.index(b"\xff\xda") + 20
    told = 0
    for place in range(start, len(content) - 20, (len(content) - start) // 20):
        path.write_bytes(content[:place] + bytes([content[place] ^ 0x55]) + content[place + 1 :])
        try:
            read_radiograph(path)
        except UnreadableError as error:
            told += "the compressed image is damaged" in str(error)
    assert told > 0
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("syntax", [uid.JPEGBaseline8Bit, uid.JPEGLSLossless, uid.RLELossless])
def test_rows_that_are_not_those_of_the_image(
    syntax: uid.UID, picture: NDArray[np.uint16], make_dicom: Any, tmp_path: Path
) -> None:
    stored = (picture >> 4).astype(np.uint8)
    path = make_dicom(tmp_path / "a.dcm", stored, transfer_syntax=syntax)
    dataset = pydicom.dcmread(path)
    dataset.Rows = 200
    dataset.save_as(path)
    refused(path)


def test_a_deflate_bomb(picture: NDArray[np.uint16], make_dicom: Any, tmp_path: Path) -> None:
    path = make_dicom(tmp_path / "a.dcm", picture, transfer_syntax=uid.DeflatedExplicitVRLittleEndian)
    start = 144 + pydicom.dcmread(path).file_meta.FileMetaInformationGroupLength
    packer = zlib.compressobj(level=9, wbits=-zlib.MAX_WBITS)
    zeros = b"".join(packer.compress(bytes(1 << 24)) for _ in range(8)) + packer.flush()
    path.write_bytes(path.read_bytes()[:start] + zeros)
    assert path.stat().st_size < 200_000
    assert "after inflation" in refused(path, limits=Limits(max_inflated_bytes=1 << 26))
    path.write_bytes(path.read_bytes()[: start + 10])
    refused(path)


def test_twenty_thousand_nested_sequences(
    picture: NDArray[np.uint16], make_dicom: Any, tmp_path: Path
) -> None:
    path = make_dicom(tmp_path / "a.dcm", picture)
    content = path.read_bytes()
    start = 144 + pydicom.dcmread(path).file_meta.FileMetaInformationGroupLength
    nested = struct.pack("<HH2sHI", 0x0008, 0x0006, b"SQ", 0, 0xFFFFFFFF)
    nested += struct.pack("<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF)
    path.write_bytes(content[:start] + nested * 20_000 + content[start:])
    assert "nested" in refused(path)


def test_constant_and_nearly_constant_images(make_dicom: Any, tmp_path: Path) -> None:
    flat = np.full((96, 80), 1000, dtype=np.uint16)
    assert "uniform" in refused(make_dicom(tmp_path / "a.dcm", flat))
    noisy = flat + np.random.default_rng(0).integers(0, 3, flat.shape).astype(np.uint16)
    assert "uniform" in refused(make_dicom(tmp_path / "b.dcm", noisy))
    Image.fromarray(flat).save(tmp_path / "c.png")
    assert "uniform" in refused(tmp_path / "c.png")
    Image.fromarray(np.full((96, 80), np.nan, dtype=np.float32)).save(tmp_path / "d.tif")
    refused(tmp_path / "d.tif")


def test_tiny_images(make_dicom: Any, tmp_path: Path) -> None:
    assert "too few" in refused(make_dicom(tmp_path / "a.dcm", np.zeros((1, 1), np.uint16)))
    Image.fromarray(np.zeros((40, 400), np.uint8)).save(tmp_path / "a.png")
    assert "too few" in refused(tmp_path / "a.png")


def test_missing_and_damaged_sizes(picture: NDArray[np.uint16], make_dicom: Any, tmp_path: Path) -> None:
    assert "Rows" in refused(make_dicom(tmp_path / "a.dcm", None))
    for keyword in ("BitsAllocated", "BitsStored", "PixelRepresentation"):
        path = make_dicom(tmp_path / "b.dcm", picture, transfer_syntax=uid.JPEGLSLossless)
        dataset = pydicom.dcmread(path)
        del dataset[keyword]
        dataset.save_as(path)
        assert keyword in refused(path).replace(" ", "")


def test_views_parts_and_objects_that_are_turned_down(
    picture: NDArray[np.uint16], make_dicom: Any, tmp_path: Path
) -> None:
    path = tmp_path / "a.dcm"
    lateral = make_dicom(path, picture, ViewPosition="LL")
    assert "lateral" in refused(lateral, NotFrontalChestError)
    assert read_radiograph(lateral, require_frontal=False).view is None
    assert "HAND" in refused(make_dicom(path, picture, BodyPartExamined="HAND"), NotFrontalChestError)
    segmentation = make_dicom(path, picture, SOPClassUID=uid.SegmentationStorage, Modality="SEG")
    assert "Segmentation" in refused(segmentation, NotFrontalChestError, require_frontal=False)
    report = make_dicom(path, None, SOPClassUID=uid.BasicTextSRStorage, Modality="SR")
    assert "SR" in refused(report, NotFrontalChestError)
    cine = make_dicom(path, np.stack([picture] * 4))
    assert "4 frames" in refused(cine, NotFrontalChestError, require_frontal=False)


def test_odd_but_harmless_headers_are_read(
    picture: NDArray[np.uint16], make_dicom: Any, tmp_path: Path
) -> None:
    odd: list[dict[str, Any]] = [
        {"PatientID": "../../etc/passwd"},
        {"SOPInstanceUID": "../../escape"},
        {"SOPInstanceUID": None},
        {"PixelSpacing": [0, 0]},
        {"PixelSpacing": ["nan", "nan"]},
        {"NumberOfFrames": 1},
    ]
    for number, keywords in enumerate(odd):
        path = make_dicom(tmp_path / f"{number}.dcm", picture, **keywords)
        radiograph = read_radiograph(path)
        assert radiograph.shape == (96, 80)
        if "PixelSpacing" in keywords:
            assert radiograph.spacing is None
            assert radiograph.warnings


@pytest.mark.parametrize(
    "keywords",
    [
        {"Modality": "NEMO^NOBODY"},
        {"Modality": "CT\\secret-4711"},
        {"SOPClassUID": "1.2.3 Nemo^Nobody"},
        {"BodyPartExamined": "HAND OF NEMO^NOBODY"},
        {"ViewPosition": "LATERAL NEMO 4711"},
        {"PatientOrientation": ["A Nemo", "F 4711"]},
        {"NumberOfFrames": None, "Rows": None},
    ],
    ids=str,
)
def test_elements_in_the_wrong_place_are_not_quoted(
    keywords: dict[str, Any], picture: NDArray[np.uint16], make_dicom: Any, tmp_path: Path
) -> None:
    path = make_dicom(tmp_path / "a.dcm", picture, **keywords)
    refused(path, LungfieldError)


def test_an_unknown_transfer_syntax_is_not_quoted(
    picture: NDArray[np.uint16], make_dicom: Any, tmp_path: Path
) -> None:
    path = make_dicom(tmp_path / "a.dcm", picture)
    content = path.read_bytes()
    syntax = uid.ExplicitVRLittleEndian.encode() + b"\0"
    path.write_bytes(content.replace(syntax, b"Nemo^Nobody secret-4"[: len(syntax)], 1))
    assert "unknown" in refused(path)


def test_standard_error_is_that_of_before(capfd: pytest.CaptureFixture[str]) -> None:
    def print_two_lines() -> int:
        os.write(2, b"Corrupt JPEG data\nanother thread\n")
        return 7

    result, lines = call_capturing_stderr(print_two_lines)
    assert (result, lines) == (7, [b"Corrupt JPEG data\n", b"another thread\n"])
    assert capfd.readouterr().err == ""
    print_to_stderr(lines[1:])
    os.write(2, b"after\n")
    assert capfd.readouterr().err == "another thread\nafter\n"


def test_syntaxes_that_are_no_images(picture: NDArray[np.uint16], make_dicom: Any, tmp_path: Path) -> None:
    path = make_dicom(
        tmp_path / "a.dcm", (picture >> 4).astype(np.uint8), transfer_syntax=uid.JPEGBaseline8Bit
    )
    dataset = pydicom.dcmread(path)
    dataset.file_meta.TransferSyntaxUID = uid.MPEG2MPML
    dataset.save_as(path)
    assert "MPEG2" in refused(path)


@pytest.mark.parametrize("syntax", [uid.RLELossless, uid.JPEGLSLossless, uid.DeflatedExplicitVRLittleEndian])
def test_mutated_pixels_never_end_in_anything_else(
    syntax: uid.UID, picture: NDArray[np.uint16], make_dicom: Any, tmp_path: Path
) -> None:
    path = make_dicom(tmp_path / "a.dcm", picture, transfer_syntax=syntax)
    original = np.frombuffer(path.read_bytes(), dtype=np.uint8)
    generator = np.random.default_rng(3)
    refusals = 0
    for _ in range(60):
        content = original.copy()
        content[generator.integers(900, len(content), 4)] = generator.integers(0, 256, 4)
        path.write_bytes(content.tobytes())
        try:
            assert read_radiograph(path).shape == picture.shape
        except LungfieldError:
            refusals += 1
    assert refusals > 0


def test_mutated_headers_never_end_in_anything_else(
    picture: NDArray[np.uint16], make_dicom: Any, tmp_path: Path
) -> None:
    path = make_dicom(tmp_path / "a.dcm", picture, WindowCenter=2000, WindowWidth=3000)
    original = np.frombuffer(path.read_bytes(), dtype=np.uint8)
    generator = np.random.default_rng(7)
    outcomes = set()
    for _ in range(150):
        content = original.copy()
        content[generator.integers(132, 900, 6)] = generator.integers(0, 256, 6)
        path.write_bytes(content.tobytes())
        try:
            read_radiograph(path)
            outcomes.add("read")
        except LungfieldError:
            outcomes.add("refused")
    assert outcomes == {"read", "refused"}
