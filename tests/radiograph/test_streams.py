"""Files and compressed images that are written in odd ways, and hold all that is needed."""

from __future__ import annotations

import gzip
import struct
import time
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from pydicom import uid
from pydicom.encaps import encapsulate, get_frame

from lungfield.errors import NotFrontalChestError, Reason, UnreadableError
from lungfield.radiograph import Limits, read_radiograph
from lungfield.radiograph.codestream import parse_codestream
from phantoms import make_phantom

WINDOW = {"WindowCenter": 2047.5, "WindowWidth": 4095, "VOILUTFunction": "LINEAR_EXACT"}
END = b"\xff\xd9"
CHEST = np.rint(make_phantom(3, shape=(160, 136)).pixels * 4095).astype(np.uint16)
"""(160, 136) of 12 bits."""
SYNTAXES = (
    uid.JPEGBaseline8Bit,
    uid.JPEGExtended12Bit,
    uid.JPEGLossless,
    uid.JPEGLosslessSV1,
    uid.JPEGLSLossless,
    uid.JPEG2000Lossless,
    uid.HTJ2KLossless,
)


def rewritten(
    path: Path, syntax: uid.UID, make_dicom: Any, edit: Callable[[bytes], bytes], **keywords: Any
) -> Path:
    """A file of `CHEST` whose compressed image was edited."""
    pixels = (CHEST >> 4).astype(np.uint8) if syntax == uid.JPEGBaseline8Bit else CHEST
    make_dicom(path, pixels, transfer_syntax=syntax, **keywords)
    dataset = pydicom.dcmread(path)
    frame = get_frame(dataset.PixelData, 0, number_of_frames=1).rstrip(b"\0")
    dataset.PixelData = encapsulate([edit(frame)])
    dataset.save_as(path)
    return path


ENDS = {
    "no end": lambda frame: frame.removesuffix(END),
    "padded with FF": lambda frame: frame + b"\xff" * 7,
    "padded with blanks": lambda frame: frame + b" " * 6,
    "a zero before the end": lambda frame: frame.removesuffix(END) + b"\0" + END,
    "bytes behind the end": lambda frame: frame + bytes(range(1, 60)),
}


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("syntax", SYNTAXES, ids=lambda syntax: syntax.name)
def test_an_odd_end_loses_no_row(syntax: uid.UID, end: str, make_dicom: Any, tmp_path: Path) -> None:
    plain = read_radiograph(rewritten(tmp_path / "a.dcm", syntax, make_dicom, lambda frame: frame))
    assert plain.warnings == ()
    odd = read_radiograph(rewritten(tmp_path / "b.dcm", syntax, make_dicom, ENDS[end]))
    np.testing.assert_array_equal(odd.pixels, plain.pixels)
    if end != "a zero before the end":
        assert any("lacks a valid end marker" in warning for warning in odd.warnings)


@pytest.mark.parametrize("lost", [40, 1000])
@pytest.mark.parametrize("syntax", SYNTAXES, ids=lambda syntax: syntax.name)
def test_missing_rows_are_damage(syntax: uid.UID, lost: int, make_dicom: Any, tmp_path: Path) -> None:
    path = rewritten(tmp_path / "a.dcm", syntax, make_dicom, lambda frame: frame[:-lost])
    with pytest.raises(UnreadableError) as error:
        read_radiograph(path)
    assert error.value.reason is Reason.DAMAGED


@pytest.mark.parametrize("syntax", [uid.JPEGBaseline8Bit, uid.JPEGExtended12Bit], ids=lambda one: one.name)
def test_missing_rows_of_a_jpeg_are_damage_though_its_end_is_there(
    syntax: uid.UID, make_dicom: Any, tmp_path: Path
) -> None:
    path = rewritten(tmp_path / "a.dcm", syntax, make_dicom, lambda frame: frame[: len(frame) * 2 // 3] + END)
    with pytest.raises(UnreadableError, match="cut off"):
        read_radiograph(path)


def test_a_jpeg_that_ends_in_mid_grey_is_read(make_dicom: Any, tmp_path: Path) -> None:
    grey = (CHEST >> 4).astype(np.uint8)
    grey[-24:, -24:] = 128
    radiograph = read_radiograph(make_dicom(tmp_path / "a.dcm", grey, transfer_syntax=uid.JPEGBaseline8Bit))
    np.testing.assert_allclose(radiograph.pixels, grey / 255, atol=0.03)
    assert radiograph.warnings == ()


# Header and stream disagree ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "claim",
    [
        {"BitsAllocated": 16, "BitsStored": 16, "HighBit": 15},
        {"BitsAllocated": 16, "BitsStored": 12, "HighBit": 11},
        {"BitsAllocated": 8, "BitsStored": 7, "HighBit": 6},
    ],
    ids=str,
)
def test_baseline_jpeg_has_8_bits_whatever_the_header_says(
    claim: dict[str, int], make_dicom: Any, tmp_path: Path
) -> None:
    path = make_dicom(tmp_path / "a.dcm", (CHEST >> 4).astype(np.uint8), transfer_syntax=uid.JPEGBaseline8Bit)
    plain = read_radiograph(path)
    dataset = pydicom.dcmread(path)
    dataset.update({keyword: dataset[keyword] for keyword in claim})
    for keyword, value in claim.items():
        setattr(dataset, keyword, value)
    dataset.save_as(path)
    radiograph = read_radiograph(path)
    np.testing.assert_array_equal(radiograph.pixels, plain.pixels)
    assert any("8 bits" in warning for warning in radiograph.warnings)


def test_a_jpeg_of_12_bits_in_a_header_of_8(make_dicom: Any, tmp_path: Path) -> None:
    path = make_dicom(tmp_path / "a.dcm", CHEST, transfer_syntax=uid.JPEGExtended12Bit, **WINDOW)
    plain = read_radiograph(path)
    dataset = pydicom.dcmread(path)
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 8, 8, 7
    dataset.save_as(path)
    radiograph = read_radiograph(path)
    np.testing.assert_array_equal(radiograph.pixels, plain.pixels)
    assert any("12 bits" in warning for warning in radiograph.warnings)


@pytest.mark.parametrize("photometric", [None, "", "MONOCHROME", "GRAY", "monochrome2 "])
def test_a_grey_image_without_a_valid_photometric_interpretation(
    photometric: str | None, make_dicom: Any, tmp_path: Path
) -> None:
    path = make_dicom(tmp_path / "a.dcm", CHEST, PhotometricInterpretation=photometric, **WINDOW)
    radiograph = read_radiograph(path)
    np.testing.assert_allclose(radiograph.pixels, CHEST / 4095, atol=1e-6)
    known = photometric == "monochrome2 "
    assert any("PhotometricInterpretation" in warning for warning in radiograph.warnings) is not known
    assert radiograph.polarity_is_known is known


@pytest.mark.parametrize("syntax", [uid.ExplicitVRLittleEndian, uid.RLELossless, uid.JPEGBaseline8Bit])
@pytest.mark.parametrize("photometric", ["MONOCHROME2", None])
def test_three_samples_are_colour_whatever_the_photometric_interpretation(
    syntax: uid.UID, photometric: str | None, make_dicom: Any, tmp_path: Path
) -> None:
    grey = (CHEST >> 4).astype(np.uint8)
    path = make_dicom(tmp_path / "a.dcm", np.repeat(grey[..., None], 3, axis=2), transfer_syntax=syntax)
    dataset = pydicom.dcmread(path)
    if photometric is None:
        del dataset.PhotometricInterpretation
    else:
        dataset.PhotometricInterpretation = photometric
    dataset.save_as(path)
    radiograph = read_radiograph(path)
    np.testing.assert_allclose(radiograph.pixels, grey / 255, atol=0.02)
    assert any("PhotometricInterpretation" in warning for warning in radiograph.warnings)


def test_the_compressed_image_decides_on_the_number_of_samples(make_dicom: Any, tmp_path: Path) -> None:
    grey = (CHEST >> 4).astype(np.uint8)
    path = make_dicom(tmp_path / "a.dcm", grey, transfer_syntax=uid.JPEGBaseline8Bit)
    dataset = pydicom.dcmread(path)
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 3, "YBR_FULL_422"
    dataset.PlanarConfiguration = 0
    dataset.save_as(path)
    radiograph = read_radiograph(path)
    np.testing.assert_allclose(radiograph.pixels, grey / 255, atol=0.02)
    assert any("SamplesPerPixel" in warning for warning in radiograph.warnings)


def test_uncompressed_pixels_decide_on_the_number_of_samples_by_their_length(
    make_dicom: Any, tmp_path: Path
) -> None:
    path = make_dicom(tmp_path / "a.dcm", CHEST, **WINDOW)
    dataset = pydicom.dcmread(path)
    dataset.SamplesPerPixel, dataset.PlanarConfiguration = 3, 0
    dataset.save_as(path)
    np.testing.assert_allclose(read_radiograph(path).pixels, CHEST / 4095, atol=1e-6)


# Encodings of the file --------------------------------------------------------------------------------------


@pytest.fixture
def plain(make_dicom: Any, tmp_path: Path) -> bytes:
    """The bytes of a file of `CHEST`, uncompressed."""
    return make_dicom(tmp_path / "plain.dcm", CHEST, **WINDOW).read_bytes()


def assert_is_chest(path: Path) -> None:
    radiograph = read_radiograph(path)
    assert radiograph.file_format == "DICOM"
    np.testing.assert_allclose(radiograph.pixels, CHEST / 4095, atol=1e-6)


def test_without_preamble_but_with_its_prefix(plain: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.dcm"
    path.write_bytes(plain[128:])
    assert_is_chest(path)


def test_a_preamble_may_start_like_the_prefix(plain: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.dcm"
    path.write_bytes(b"DICM" + plain[4:])
    assert_is_chest(path)


def test_padding_behind_the_pixels_is_not_parsed(plain: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.dcm"
    path.write_bytes(plain + bytes(12_000_000))
    assert_is_chest(path)


def test_gzipped(plain: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.dcm.gz"
    path.write_bytes(gzip.compress(plain))
    assert_is_chest(path)
    path.write_bytes(gzip.compress(plain[:5000]) + gzip.compress(plain[5000:]))  # as bgzip and pigz write
    assert_is_chest(path)
    with pytest.raises(UnreadableError, match="after inflation") as error:
        read_radiograph(path, limits=Limits(max_inflated_bytes=20_000))
    assert error.value.reason is Reason.OVER_LIMIT
    path.write_bytes(path.read_bytes()[:-3000])
    with pytest.raises(UnreadableError) as error:
        read_radiograph(path)
    assert error.value.reason is Reason.DAMAGED


def split_at_data_set(content: bytes) -> tuple[bytes, bytes]:
    """A file's preamble with its meta information, and its data set."""
    end = 144 + struct.unpack("<I", content[140:144])[0]
    return content[:end], content[end:]


@pytest.mark.parametrize("kind", ["zlib", "gzip", "plain"])
def test_deflated_in_other_ways(kind: str, plain: bytes, make_dicom: Any, tmp_path: Path) -> None:
    path = tmp_path / "a.dcm"
    deflated = make_dicom(path, CHEST, transfer_syntax=uid.DeflatedExplicitVRLittleEndian, **WINDOW)
    meta, _ = split_at_data_set(deflated.read_bytes())
    _, data_set = split_at_data_set(plain)
    pack = {"zlib": zlib.compress, "gzip": gzip.compress, "plain": bytes}[kind]
    path.write_bytes(meta + pack(data_set))
    assert_is_chest(path)


def test_the_private_implicit_syntax_of_ge_has_big_endian_pixels(make_dicom: Any, tmp_path: Path) -> None:
    path = make_dicom(
        tmp_path / "a.dcm",
        CHEST,
        transfer_syntax=uid.ImplicitVRLittleEndian,
        PixelData=CHEST.byteswap().tobytes(),
        **WINDOW,
    )
    own, ge = b"1.2.840.10008.1.2\0", b"1.2.840.113619.5.2"
    content = path.read_bytes()
    assert content.count(own) == 1
    path.write_bytes(content.replace(own, ge))
    assert_is_chest(path)


@pytest.mark.parametrize("syntax", [uid.ExplicitVRLittleEndian, uid.ExplicitVRBigEndian])
def test_swapped_bytes_are_found_and_remarked_on(syntax: uid.UID, make_dicom: Any, tmp_path: Path) -> None:
    swapped = CHEST.byteswap() if syntax.is_little_endian else CHEST
    path = make_dicom(
        tmp_path / "a.dcm", CHEST, transfer_syntax=syntax, PixelData=swapped.tobytes(), **WINDOW
    )
    assert_is_chest(path)
    assert any("byte order" in warning for warning in read_radiograph(path).warnings)


@pytest.mark.parametrize("keyword", ["FloatPixelData", "DoubleFloatPixelData"])
def test_float_pixel_data(keyword: str, make_dicom: Any, tmp_path: Path) -> None:
    values = (CHEST / 100 - 3).astype("<f4" if keyword == "FloatPixelData" else "<f8")
    values[:4] = np.nan
    path = make_dicom(tmp_path / "a.dcm", CHEST)
    dataset = pydicom.dcmread(path)
    del dataset.PixelData
    setattr(dataset, keyword, values.tobytes())
    dataset.save_as(path)
    radiograph = read_radiograph(path)
    low, high = np.percentile(values[4:], [0.1, 99.9])
    np.testing.assert_allclose(
        radiograph.pixels[4:], ((values[4:] - low) / (high - low)).clip(0, 1), atol=0.01
    )
    assert not radiograph.pixels[:4].any()
    assert not radiograph.valid[:4].any()
    setattr(dataset, keyword, values[:50].tobytes())
    dataset.save_as(path)
    with pytest.raises(UnreadableError, match=f"{keyword} is cut off"):
        read_radiograph(path)


# What is something else -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "syntax",
    [
        "1.2.840.10008.1.2.4.110",
        "1.2.840.10008.1.2.4.112",
        "1.3.46.670589.33.1.4.10",
        "1.2.3.4.5.6.7.8.9.10.11",
    ],
)
def test_syntaxes_that_cannot_be_decoded_are_unsupported(
    syntax: str, make_dicom: Any, tmp_path: Path
) -> None:
    path = make_dicom(tmp_path / "a.dcm", CHEST, transfer_syntax=uid.HTJ2KLossless)
    content = path.read_bytes()
    assert len(syntax) == len(uid.HTJ2KLossless)
    path.write_bytes(content.replace(uid.HTJ2KLossless.encode(), syntax.encode()))
    with pytest.raises(UnreadableError) as error:
        read_radiograph(path)
    assert error.value.reason is Reason.UNSUPPORTED


def test_a_dicomdir_is_no_damaged_image(tmp_path: Path, make_dicom: Any) -> None:
    from pydicom.fileset import FileSet

    make_dicom(tmp_path / "in" / "a.dcm", CHEST)
    files = FileSet()
    files.add(tmp_path / "in" / "a.dcm")
    files.write(tmp_path / "set")
    with pytest.raises(NotFrontalChestError, match="DICOMDIR") as error:
        read_radiograph(tmp_path / "set" / "DICOMDIR")
    assert error.value.reason is Reason.OTHER_OBJECT


def test_an_object_without_class_and_size_is_no_image(make_dicom: Any, tmp_path: Path) -> None:
    path = make_dicom(tmp_path / "a.dcm", None, SOPClassUID=None)
    with pytest.raises(NotFrontalChestError, match="no image") as error:
        read_radiograph(path)
    assert error.value.reason is Reason.OTHER_OBJECT


def test_a_zip_archive_says_what_to_do(plain: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.dcm", plain)
    for content in (path.read_bytes(), b"7z\xbc\xaf\x27\x1c" + bytes(99), bytes(257) + b"ustar" + bytes(250)):
        path.write_bytes(content)
        with pytest.raises(UnreadableError, match="unpack it") as error:
            read_radiograph(path)
        assert error.value.reason is Reason.UNSUPPORTED


@pytest.mark.parametrize("deflated", [pytest.param(True, marks=pytest.mark.slow), False])
def test_a_header_of_millions_of_elements_is_not_read_to_its_end(
    deflated: bool, plain: bytes, make_dicom: Any, tmp_path: Path
) -> None:
    syntax = uid.DeflatedExplicitVRLittleEndian if deflated else uid.ExplicitVRLittleEndian
    path = make_dicom(tmp_path / "a.dcm", CHEST, transfer_syntax=syntax)
    meta, _ = split_at_data_set(path.read_bytes())
    _, data_set = split_at_data_set(plain)
    items = b"\xfe\xff\x00\xe0\0\0\0\0" * 2_000_000
    sequence = struct.pack("<HH2sHI", 0x0008, 0x1111, b"SQ", 0, 0xFFFFFFFF) + items
    place = data_set.index(b"\x10\x00\x10\x00")
    content = data_set[:place] + sequence + b"\xfe\xff\xdd\xe0\0\0\0\0" + data_set[place:]
    deflater = zlib.compressobj(wbits=-15)
    path.write_bytes(meta + (deflater.compress(content) + deflater.flush() if deflated else content))
    start = time.process_time()
    with pytest.raises(UnreadableError, match="more elements") as error:
        read_radiograph(path)
    assert error.value.reason is Reason.OVER_LIMIT
    assert time.process_time() - start < 15  # 25 s and more without the limit


# Where values lie in their words ----------------------------------------------------------------------------


def stored_like(path: Path, make_dicom: Any, values: NDArray[Any], **keywords: Any) -> Path:
    return make_dicom(path, values, **{"BitsStored": 12, **keywords}, **WINDOW)


@pytest.mark.parametrize("syntax", [uid.ExplicitVRLittleEndian, uid.RLELossless])
def test_values_that_are_stored_to_the_left_are_shifted(
    syntax: uid.UID, make_dicom: Any, tmp_path: Path
) -> None:
    path = make_dicom(tmp_path / "a.dcm", CHEST << 4, BitsStored=16, transfer_syntax=syntax, **WINDOW)
    dataset = pydicom.dcmread(path)
    dataset.BitsStored = 12
    dataset.save_as(path)
    radiograph = read_radiograph(path)
    np.testing.assert_allclose(radiograph.pixels, CHEST / 4095, atol=1e-6)
    assert radiograph.warnings == ()
    # In between, with something else in the other bits.
    values = (CHEST << 2) | 0x8001
    radiograph = read_radiograph(stored_like(tmp_path / "b.dcm", make_dicom, values, HighBit=13))
    np.testing.assert_allclose(radiograph.pixels, CHEST / 4095, atol=1e-6)


def test_signed_values_that_are_stored_to_the_left(make_dicom: Any, tmp_path: Path) -> None:
    values = (CHEST.astype(np.int16) - 2048) << 4
    path = make_dicom(tmp_path / "a.dcm", values, BitsStored=12, HighBit=15)
    low, high = np.percentile(CHEST, [0.1, 99.9])
    np.testing.assert_allclose(
        read_radiograph(path).pixels, ((CHEST - low) / (high - low)).clip(0, 1), atol=0.01
    )


def test_a_high_bit_that_is_wrong_shifts_nothing(make_dicom: Any, tmp_path: Path) -> None:
    radiograph = read_radiograph(stored_like(tmp_path / "a.dcm", make_dicom, CHEST, HighBit=15))
    np.testing.assert_allclose(radiograph.pixels, CHEST / 4095, atol=1e-6)
    assert any("HighBit" in warning for warning in radiograph.warnings)


@pytest.mark.parametrize("syntax", [uid.ExplicitVRLittleEndian, uid.JPEG2000Lossless, uid.JPEGLSLossless])
def test_more_bits_than_are_said_to_be_stored_are_read(
    syntax: uid.UID, make_dicom: Any, tmp_path: Path
) -> None:
    path = make_dicom(tmp_path / "a.dcm", CHEST, transfer_syntax=syntax, **WINDOW)
    dataset = pydicom.dcmread(path)
    dataset.BitsStored, dataset.HighBit = 10, 9
    dataset.save_as(path)
    radiograph = read_radiograph(path)
    np.testing.assert_allclose(radiograph.pixels, CHEST / 4095, atol=1e-6)
    assert any("BitsStored" in warning for warning in radiograph.warnings)


def test_an_overlay_above_the_bits_that_are_needed_is_cleared(make_dicom: Any, tmp_path: Path) -> None:
    values = CHEST.copy()
    values[40:60, 30:70] |= 0x4000
    path = make_dicom(tmp_path / "a.dcm", values, BitsStored=16, HighBit=15, **WINDOW)
    dataset = pydicom.dcmread(path)
    dataset.BitsStored, dataset.HighBit = 10, 9
    dataset.save_as(path)
    np.testing.assert_allclose(read_radiograph(path).pixels, CHEST / 4095, atol=1e-6)


def test_an_overlay_in_the_unused_bits_is_cleared(make_dicom: Any, tmp_path: Path) -> None:
    values = CHEST.copy()
    values[40:60, 30:70] |= 0x3000
    radiograph = read_radiograph(stored_like(tmp_path / "a.dcm", make_dicom, values))
    np.testing.assert_allclose(radiograph.pixels, CHEST / 4095, atol=1e-6)
    assert radiograph.warnings == ()


@pytest.mark.parametrize("signed", [False, True])
def test_a_wrong_sign_is_put_right(signed: bool, make_dicom: Any, tmp_path: Path) -> None:
    values = CHEST.astype(np.int16) - 2048 if signed else CHEST
    path = make_dicom(tmp_path / "a.dcm", values, BitsStored=12)
    plain = read_radiograph(path)
    dataset = pydicom.dcmread(path)
    dataset.PixelRepresentation = int(not signed)
    dataset.save_as(path)
    radiograph = read_radiograph(path)
    np.testing.assert_array_equal(radiograph.pixels, plain.pixels)
    assert any("PixelRepresentation" in warning for warning in radiograph.warnings)


@pytest.mark.parametrize("bits", [8, 10, 12, 16])
def test_the_header_of_a_code_stream_tells_its_bits(bits: int) -> None:
    values = (CHEST >> max(0, 12 - bits)).astype(np.uint8 if bits == 8 else np.uint16)
    for content in (
        imagecodecs.jpeg2k_encode(values, bitspersample=bits, codecformat="j2k", level=0, reversible=True),
        imagecodecs.jpegls_encode(values),
    ):
        stream = parse_codestream(content)
        assert (stream.rows, stream.columns, stream.components) == (*values.shape, 1)
        if content.startswith(b"\xff\x4f"):
            assert stream.precision == bits
