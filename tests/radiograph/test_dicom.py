"""DICOM in every transfer syntax: the pixels lie where they are stored, and the header comes along."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom.uid import (
    HTJ2K,
    UID,
    ComputedRadiographyImageStorage,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    HTJ2KLossless,
    HTJ2KLosslessRPCL,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
    SecondaryCaptureImageStorage,
)

from lungfield.radiograph import read_radiograph

LOSSLESS = (
    ImplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    DeflatedExplicitVRLittleEndian,
    RLELossless,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEG2000Lossless,
    HTJ2K,
    HTJ2KLossless,
    HTJ2KLosslessRPCL,
)
WINDOW = {"WindowCenter": 2047.5, "WindowWidth": 4095, "VOILUTFunction": "LINEAR_EXACT"}
"""The whole range of 12 bits: a stored value v becomes v / 4095."""


@pytest.mark.parametrize("syntax", LOSSLESS, ids=lambda syntax: syntax.name)
def test_lossless_syntaxes_give_the_stored_pixels(
    syntax: UID, picture: NDArray[np.uint16], make_dicom: Any, tmp_path: Path
) -> None:
    path = make_dicom(tmp_path / "a.dcm", picture, transfer_syntax=syntax, **WINDOW)
    radiograph = read_radiograph(path)
    assert radiograph.pixels.dtype == np.float32
    assert radiograph.pixels.flags.c_contiguous
    np.testing.assert_allclose(radiograph.pixels, picture / 4095, atol=1e-6)
    assert (radiograph.file_format, radiograph.view, radiograph.valid) == ("DICOM", "PA", None)
    assert radiograph.warnings == ()


@pytest.mark.parametrize("syntax", [JPEGBaseline8Bit, JPEGExtended12Bit], ids=lambda syntax: syntax.name)
def test_lossy_syntaxes_give_nearly_the_stored_pixels(
    syntax: UID, picture: NDArray[np.uint16], make_dicom: Any, tmp_path: Path
) -> None:
    bits = 8 if syntax == JPEGBaseline8Bit else 12
    stored = (picture >> (12 - bits)).astype(np.uint8 if bits == 8 else np.uint16)
    top = 2**bits - 1
    path = make_dicom(
        tmp_path / "a.dcm",
        stored,
        transfer_syntax=syntax,
        WindowCenter=top / 2,
        WindowWidth=top,
        VOILUTFunction="LINEAR_EXACT",
    )
    difference = np.abs(read_radiograph(path).pixels - stored / top)
    assert difference.max() < 0.03


def test_eight_bits_in_every_lossless_syntax_that_takes_them(
    picture: NDArray[np.uint16], make_dicom: Any, tmp_path: Path
) -> None:
    stored = (picture >> 4).astype(np.uint8)
    for syntax in (
        ExplicitVRLittleEndian,
        ExplicitVRBigEndian,
        RLELossless,
        JPEGLSLossless,
        JPEG2000Lossless,
    ):
        path = make_dicom(
            tmp_path / "a.dcm",
            stored,
            transfer_syntax=syntax,
            WindowCenter=127.5,
            WindowWidth=255,
            VOILUTFunction="LINEAR_EXACT",
        )
        np.testing.assert_allclose(read_radiograph(path).pixels, stored / 255, atol=1e-6)


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, RLELossless, JPEG2000Lossless, JPEGLSLossless])
def test_signed_pixels(syntax: UID, picture: NDArray[np.uint16], make_dicom: Any, tmp_path: Path) -> None:
    stored = (picture.astype(np.int32) - 2048).astype(np.int16)
    path = make_dicom(
        tmp_path / "a.dcm",
        stored,
        transfer_syntax=syntax,
        WindowCenter=-0.5,
        WindowWidth=4095,
        VOILUTFunction="LINEAR_EXACT",
    )
    np.testing.assert_allclose(read_radiograph(path).pixels, (stored + 2048) / 4095, atol=1e-6)


def test_thirty_two_bits(picture: NDArray[np.uint16], make_dicom: Any, tmp_path: Path) -> None:
    path = make_dicom(tmp_path / "a.dcm", picture.astype(np.uint32) * 1000, BitsStored=32)
    expected = _stretched(picture.astype(float) * 1000)
    np.testing.assert_allclose(read_radiograph(path).pixels, expected, atol=1e-4)


def test_bits_above_the_stored_ones_are_no_part_of_a_value(
    picture: NDArray[np.uint16], make_dicom: Any, tmp_path: Path
) -> None:
    path = make_dicom(tmp_path / "a.dcm", picture | 0x8000, BitsStored=12, **WINDOW)
    np.testing.assert_allclose(read_radiograph(path).pixels, picture / 4095, atol=1e-6)


def test_without_preamble_and_without_a_suffix(
    picture: NDArray[np.uint16], make_dicom: Any, tmp_path: Path
) -> None:
    for syntax in (ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian):
        path = make_dicom(tmp_path / "IM0001", picture, transfer_syntax=syntax, preamble=False, **WINDOW)
        radiograph = read_radiograph(path)
        assert radiograph.header.file_meta.TransferSyntaxUID == syntax
        np.testing.assert_allclose(radiograph.pixels, picture / 4095, atol=1e-6)


def test_agrees_with_itk(picture: NDArray[np.uint16], make_dicom: Any, tmp_path: Path) -> None:
    itk = pytest.importorskip("itk")
    for syntax in (ExplicitVRLittleEndian, JPEGLosslessSV1, RLELossless, JPEG2000Lossless):
        path = make_dicom(tmp_path / "a.dcm", picture, transfer_syntax=syntax, **WINDOW)
        stored = itk.array_from_image(itk.imread(str(path))).squeeze()
        np.testing.assert_allclose(read_radiograph(path).pixels, stored / 4095, atol=1e-6)


def test_computed_radiography_and_secondary_capture(
    picture: NDArray[np.uint16], make_dicom: Any, tmp_path: Path
) -> None:
    for sop_class, modality in (
        (ComputedRadiographyImageStorage, "CR"),
        (SecondaryCaptureImageStorage, "OT"),
    ):
        path = make_dicom(tmp_path / "a.dcm", picture, SOPClassUID=sop_class, Modality=modality)
        assert read_radiograph(path).view == "PA"


def test_grey_in_colour_is_read_as_grey(picture: NDArray[np.uint16], make_dicom: Any, tmp_path: Path) -> None:
    grey = (picture >> 4).astype(np.uint8)
    path = make_dicom(
        tmp_path / "a.dcm",
        np.stack([grey] * 3, axis=-1),
        SOPClassUID=SecondaryCaptureImageStorage,
        Modality="OT",
    )
    np.testing.assert_allclose(read_radiograph(path).pixels, grey / 255, atol=1e-6)


def test_grey_palette(picture: NDArray[np.uint16], make_dicom: Any, tmp_path: Path) -> None:
    index = (picture >> 4).astype(np.uint8)
    palette = np.arange(255, -1, -1, dtype=np.uint16)  # the reverse of the indices
    channels = {}
    for name in ("Red", "Green", "Blue"):
        channels[f"{name}PaletteColorLookupTableDescriptor"] = [256, 0, 16]
        channels[f"{name}PaletteColorLookupTableData"] = (palette * 257).astype("<u2").tobytes()
    path = make_dicom(
        tmp_path / "a.dcm",
        index,
        SOPClassUID=SecondaryCaptureImageStorage,
        Modality="OT",
        PhotometricInterpretation="PALETTE COLOR",
        **channels,
    )
    np.testing.assert_allclose(read_radiograph(path).pixels, _stretched(255.0 - index), atol=1e-4)


def test_header_comes_without_pixels_and_overlays(
    picture: NDArray[np.uint16], make_dicom: Any, tmp_path: Path
) -> None:
    path = make_dicom(tmp_path / "plain.dcm", picture, transfer_syntax=DeflatedExplicitVRLittleEndian)
    header = read_radiograph(path).header
    assert "PixelData" not in header
    assert header.buffer is None
    assert header.PatientID == "secret-4711"
    assert len(pickle.dumps(header)) < 20_000  # it travels between processes


def test_overlays_are_ignored(picture: NDArray[np.uint16], make_dicom: Any, tmp_path: Path) -> None:
    plain = read_radiograph(make_dicom(tmp_path / "plain.dcm", picture))
    path = tmp_path / "overlay.dcm"
    import pydicom

    dataset = pydicom.dcmread(make_dicom(path, picture))
    dataset.add_new(0x60000010, "US", 96)
    dataset.add_new(0x60000011, "US", 80)
    dataset.add_new(0x60003000, "OW", b"\xff" * (96 * 80 // 8))
    dataset.save_as(path)
    radiograph = read_radiograph(path)
    np.testing.assert_array_equal(radiograph.pixels, plain.pixels)
    assert not any(tag.group == 0x6000 for tag in radiograph.header.keys())  # noqa: SIM118


def test_a_missing_instance_uid_is_a_remark(
    picture: NDArray[np.uint16], make_dicom: Any, tmp_path: Path
) -> None:
    path = make_dicom(tmp_path / "a.dcm", picture, SOPInstanceUID=None)
    assert any("SOPInstanceUID" in remark for remark in read_radiograph(path).warnings)


def test_raw_contrast_is_a_remark(picture: NDArray[np.uint16], make_dicom: Any, tmp_path: Path) -> None:
    path = make_dicom(tmp_path / "a.dcm", picture, PresentationIntentType="FOR PROCESSING")
    assert any("raw" in remark for remark in read_radiograph(path).warnings)


def _stretched(values: NDArray[Any]) -> NDArray[Any]:
    low, high = np.percentile(values, (0.1, 99.9))
    return np.clip((values - low) / (high - low), 0, 1)
