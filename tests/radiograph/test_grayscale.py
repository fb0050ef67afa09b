"""Modality LUT, VOI LUT and polarity, against values worked out by hand and against pydicom."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.pixels import apply_modality_lut, apply_voi_lut
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian

from lungfield.radiograph.contrast import Histogram, finite, robust_range
from lungfield.radiograph.grayscale import to_unit

pytestmark = pytest.mark.filterwarnings("ignore:Invalid value for VR")


def header(**keywords: Any) -> Dataset:
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = keywords.pop("syntax", ExplicitVRLittleEndian)
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.PixelRepresentation = 16, 12, 0
    for keyword, value in keywords.items():
        setattr(dataset, keyword, value)
    return dataset


def lut(entries: Any, *, first: int = 0, bits: int = 8, vr: str = "US") -> Dataset:
    item = Dataset()
    item.add_new("LUTDescriptor", "SS" if first < 0 else "US", [len(entries) % 65536, first, bits])
    item.add_new("LUTData", vr, entries if vr == "US" else np.asarray(entries, "<u2").tobytes())
    return item


def ramp(*, low: int = 0, high: int = 100) -> NDArray[np.uint16]:
    """Every value from low to high - 1 in equal numbers."""
    return np.tile(np.arange(low, high, dtype=np.uint16), (100, 1))


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        # (v - (30 - 0.5)) / (21 - 1) + 0.5 and (v - 30) / 21 + 0.5: PS3.3, C.11.2.1.2.1 and C.11.2.1.3.2
        ("LINEAR", {19: 0.0, 20: 0.025, 30: 0.525, 39: 0.975, 40: 1.0}),
        ("LINEAR_EXACT", {19: 0.0, 20: 0.5 - 10 / 21, 30: 0.5, 40: 0.5 + 10 / 21, 41: 1.0}),
        ("SIGMOID", {30: 0.5, 9: 1 / (1 + np.exp(4)), 51: 1 / (1 + np.exp(-4))}),
    ],
)
def test_window_functions(function: str, expected: dict[int, float]) -> None:
    stored = ramp(high=60)
    stored[:, 0:50] = np.arange(10, 60)[None]  # most of the pixels lie within the window
    dataset = header(WindowCenter=30, WindowWidth=21, VOILUTFunction=function)
    values = np.arange(60, dtype=np.uint16).reshape(6, 10)
    pixels, remarks = to_unit(
        np.vstack([np.tile(np.arange(20, 40, dtype=np.uint16).reshape(2, 10), (9, 1)), values]), dataset
    )
    shown = dict(zip(range(60), pixels[18:].ravel(), strict=True))
    assert remarks == ()
    assert {value: shown[value] for value in expected} == pytest.approx(expected, abs=1e-6)


def test_the_first_of_several_windows() -> None:
    pixels, _ = to_unit(ramp(), header(WindowCenter=[50, 1000], WindowWidth=[100, 1]))
    one, _ = to_unit(ramp(), header(WindowCenter=50, WindowWidth=100))
    np.testing.assert_array_equal(pixels, one)


def test_rescale_comes_before_the_window() -> None:
    dataset = header(
        RescaleSlope=2, RescaleIntercept=-10, WindowCenter=90, WindowWidth=200, VOILUTFunction="LINEAR_EXACT"
    )
    pixels, _ = to_unit(ramp(), dataset)
    np.testing.assert_allclose(pixels[0], (2.0 * np.arange(100) - 10 - 90) / 200 + 0.5, atol=1e-6)


def test_negative_slope_turns_the_values_round() -> None:
    pixels, _ = to_unit(ramp(), header(RescaleSlope=-1, RescaleIntercept=99))
    assert (np.diff(pixels[0]) <= 0).all()
    assert pixels[0, 0] == 1.0


def test_voi_lut_sequence_wins_over_a_window() -> None:
    entries = [255 - 2 * value for value in range(100)]
    dataset = header(VOILUTSequence=[lut(entries)], WindowCenter=50, WindowWidth=100)
    pixels, remarks = to_unit(ramp(), dataset)
    assert remarks == ()
    np.testing.assert_allclose(pixels[0], np.array(entries) / 255, atol=1e-6)


def test_values_outside_a_lut_get_its_ends() -> None:
    dataset = header(VOILUTSequence=[lut(list(range(10, 90)), first=10, bits=8)])
    pixels, _ = to_unit(ramp(), dataset)
    np.testing.assert_allclose(pixels[0], np.clip(np.arange(100), 10, 89) / 127, atol=1e-6)


def test_lut_that_starts_at_a_negative_value() -> None:
    stored = ramp().astype(np.int16) - 50
    dataset = header(PixelRepresentation=1, VOILUTSequence=[lut(list(range(100)), first=-50)])
    pixels, _ = to_unit(stored, dataset)
    np.testing.assert_allclose(pixels[0], np.arange(100) / 127, atol=1e-6)


def test_lut_in_words_and_in_bytes() -> None:
    entries = np.arange(0, 200, 2)
    words = lut(entries, vr="OW")
    packed = lut(entries, vr="OW")
    packed.LUTData = entries.astype(np.uint8).tobytes()
    swapped = lut(entries, vr="OW")
    swapped.LUTData = entries.astype(">u2").tobytes()
    for item, syntax in (
        (words, ExplicitVRLittleEndian),
        (packed, ExplicitVRLittleEndian),
        (swapped, ExplicitVRBigEndian),
    ):
        pixels, remarks = to_unit(ramp(), header(VOILUTSequence=[item], syntax=syntax))
        assert remarks == ()
        np.testing.assert_allclose(pixels[0], entries / 255, atol=1e-6)


def test_lut_of_twelve_bit_input_and_eight_bit_output() -> None:
    entries = (np.arange(4096) // 16).tolist()
    pixels, _ = to_unit(ramp(low=0, high=4096), header(VOILUTSequence=[lut(entries, bits=8)]))
    np.testing.assert_allclose(pixels[0], np.array(entries) / 255, atol=1e-6)


def test_lut_that_promises_more_bits_than_it_uses() -> None:
    entries = list(range(0, 4000, 40))
    pixels, _ = to_unit(ramp(), header(VOILUTSequence=[lut(entries, bits=16)]))
    np.testing.assert_allclose(pixels[0], np.array(entries) / 4095, atol=1e-6)


def test_modality_lut_sequence_comes_before_the_window() -> None:
    dataset = header(
        ModalityLUTSequence=[lut(list(range(1000, 1200, 2)), bits=16)],
        WindowCenter=1100,
        WindowWidth=200,
        VOILUTFunction="LINEAR_EXACT",
    )
    pixels, _ = to_unit(ramp(), dataset)
    np.testing.assert_allclose(pixels[0], np.arange(100) / 100, atol=1e-6)


@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID"])
def test_agrees_with_pydicom(function: str) -> None:
    stored = np.random.default_rng(1).integers(0, 4096, (64, 64)).astype(np.uint16)
    dataset = header(
        RescaleSlope=1, RescaleIntercept=0, WindowCenter=2000, WindowWidth=3000, VOILUTFunction=function
    )
    expected = apply_voi_lut(apply_modality_lut(stored, dataset), dataset) / 4095
    pixels, _ = to_unit(stored, dataset)
    np.testing.assert_allclose(pixels, expected, atol=1e-6)


@pytest.mark.parametrize(
    ("photometric", "shape", "inverted"),
    [
        ("MONOCHROME2", None, False),
        ("MONOCHROME2", "IDENTITY", False),
        ("MONOCHROME2", "INVERSE", True),
        ("MONOCHROME1", None, True),
        ("MONOCHROME1", "INVERSE", True),
        ("MONOCHROME1", "IDENTITY", True),
        ("MONOCHROME1", "nonsense", True),
    ],
)
def test_polarity_is_applied_once(photometric: str, shape: str | None, inverted: bool) -> None:
    dataset = header(PhotometricInterpretation=photometric, PresentationLUTShape=shape)
    pixels, _ = to_unit(ramp(), dataset)
    assert (pixels[0, 0] > pixels[0, -1]) is np.True_ if inverted else pixels[0, 0] < pixels[0, -1]


def test_monochrome1_is_windowed_before_it_is_inverted() -> None:
    window = {"WindowCenter": 30, "WindowWidth": 60, "VOILUTFunction": "LINEAR_EXACT"}
    pixels, _ = to_unit(ramp(), header(PhotometricInterpretation="MONOCHROME1", **window))
    np.testing.assert_allclose(pixels[0], 1 - np.clip(np.arange(100) / 60, 0, 1), atol=1e-6)


@pytest.mark.parametrize(
    "keywords",
    [
        {"WindowCenter": 50_000, "WindowWidth": 10},  # clips everything
        {"WindowCenter": 50, "WindowWidth": 20},  # clips most
        {"WindowCenter": 50, "WindowWidth": 65536},  # hardly any contrast left
        {"WindowCenter": 50, "WindowWidth": 0},
        {"WindowCenter": 50, "WindowWidth": -5},
        {"WindowCenter": "nan", "WindowWidth": 100},
        {"WindowCenter": 50, "WindowWidth": "nan"},
        {"WindowCenter": 50, "WindowWidth": "inf"},
        {"WindowCenter": 50, "WindowWidth": 100, "VOILUTFunction": "CUBIC"},
        {"VOILUTSequence": [Dataset()]},
        {"VOILUTSequence": [lut([0] * 100)]},
        {"ModalityLUTSequence": [Dataset()]},
        {"RescaleSlope": 0, "RescaleIntercept": 0},
        {"RescaleSlope": "nan", "RescaleIntercept": 0},
    ],
    ids=str,
)
def test_what_is_broken_gives_way_to_the_full_range(keywords: dict[str, Any]) -> None:
    pixels, remarks = to_unit(ramp(), header(**keywords))
    plain, nothing = to_unit(ramp(), header())
    assert len(remarks) == 1
    assert nothing == ()
    np.testing.assert_array_equal(pixels, plain)


def test_lut_that_is_cut_off_gives_way_to_the_full_range() -> None:
    item = lut(list(range(100)))
    item.LUTDescriptor = [4096, 0, 8]
    _, remarks = to_unit(ramp(), header(VOILUTSequence=[item]))
    assert len(remarks) == 1


def test_outliers_do_not_squeeze_the_full_range() -> None:
    stored = np.tile(np.arange(1000, 1100, dtype=np.uint16), (100, 1))
    stored[0, :3] = 4095
    pixels, _ = to_unit(stored, header())
    assert pixels[1, 0] == 0.0
    assert pixels[1, -1] == 1.0


def test_invalid_pixels_have_no_say_in_the_range() -> None:
    stored = ramp()
    stored[:50] = 60_000
    valid = stored < 60_000
    pixels, _ = to_unit(stored, header(), histogram=Histogram.of(stored, valid))
    plain, _ = to_unit(ramp(), header())
    np.testing.assert_array_equal(pixels[50:], plain[50:])


@pytest.mark.parametrize("dtype", [np.uint16, np.int16])
def test_all_values_that_sixteen_bits_can_hold(dtype: type[np.integer[Any]]) -> None:
    stored = np.arange(1 << 16, dtype=np.uint16).view(dtype).reshape(256, 256)
    pixels, _ = to_unit(stored, header(PixelRepresentation=int(dtype is np.int16), BitsStored=16))
    unit = (stored.astype(float) - stored.min()) / 65535
    np.testing.assert_allclose(pixels, np.clip((unit - 0.001) / 0.998, 0, 1), atol=1e-4)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.int32, np.int64, np.float32])
@pytest.mark.parametrize("where", [None, "valid"])
def test_percentiles_are_those_of_numpy(dtype: type[np.generic], where: str | None) -> None:
    rng = np.random.default_rng(3)
    image = (60 + 20 * rng.standard_normal((90, 70))).astype(dtype)
    valid = None if where is None else rng.random(image.shape) < 0.3
    values = image.ravel() if valid is None else image[valid]
    histogram = Histogram.of(image, valid)
    percents = (0, 0.1, 2.5, 33, 50, 99.9, 100)
    np.testing.assert_allclose(histogram.percentiles(*percents), np.percentile(values, percents), rtol=1e-6)
    turned = histogram.mapped(lambda values: -(values.astype(np.float64) ** 2))
    expected = np.percentile(-(values.astype(np.float64) ** 2), percents)
    np.testing.assert_allclose(turned.percentiles(*percents), expected, rtol=1e-6)
    assert histogram.fraction(histogram.values > 70) == pytest.approx(np.mean(values > 70))


def lut_declared_as_ss(entries: Any, *, first: int, bits: int = 16) -> Dataset:
    """A LUT whose descriptor and data are called signed, as some writers do."""
    item = Dataset()

    def signed(values: Any) -> list[int]:
        return [int(value) for value in np.asarray(values, dtype=np.uint16).view(np.int16)]

    item.add_new("LUTDescriptor", "SS", signed([len(entries) % 65536, first % 65536, bits]))
    item.add_new("LUTData", "SS", signed(entries))
    return item


@pytest.mark.parametrize("sequence", ["ModalityLUTSequence", "VOILUTSequence"])
def test_a_lut_that_is_declared_signed_has_its_full_range(sequence: str) -> None:
    entries = np.linspace(0, 65535, 4096).astype(np.uint16)
    stored = np.tile(np.arange(4096, dtype=np.uint16), (4, 1))
    pixels, _ = to_unit(stored, header(**{sequence: [lut_declared_as_ss(entries, first=0)]}))
    np.testing.assert_allclose(pixels[0], np.arange(4096) / 4095, atol=0.002)


@pytest.mark.parametrize("sequence", ["ModalityLUTSequence", "VOILUTSequence"])
@pytest.mark.parametrize("vr", ["US", "SS"])
def test_the_first_mapped_value_is_read_as_the_input_needs(sequence: str, vr: str) -> None:
    entries = list(range(0, 60_000, 1_000))
    signed = np.tile(np.arange(-30, 30, dtype=np.int16), (4, 1))
    item = lut(entries, first=0, bits=16)
    item.add_new("LUTDescriptor", vr, [60, -30 if vr == "SS" else 65506, 16])
    pixels, _ = to_unit(signed, header(PixelRepresentation=1, **{sequence: [item]}))
    assert (np.diff(pixels[0]) > 0).all()
    # Unsigned input that reaches it: a large first value is what it says.
    stored = np.tile(np.arange(40_000, 40_060, dtype=np.uint16), (4, 1))
    item = lut_declared_as_ss(entries, first=40_000)
    pixels, _ = to_unit(stored, header(BitsStored=16, **{sequence: [item]}))
    assert (np.diff(pixels[0]) > 0).all()


@pytest.mark.parametrize("border", [0, 4095])
def test_borders_do_not_make_a_window_clip(border: int) -> None:
    rng = np.random.default_rng(0)
    body = rng.integers(1000, 3000, (100, 100)).astype(np.uint16)
    stored = np.full((100, 260), border, dtype=np.uint16)
    stored[:, 80:180] = body
    window = {"WindowCenter": 2000, "WindowWidth": 2200, "VOILUTFunction": "LINEAR_EXACT"}
    pixels, remarks = to_unit(stored, header(**window))
    assert remarks == ()
    np.testing.assert_allclose(pixels[:, 80:180], (body - 900) / 2200, atol=1e-5)


def test_the_range_of_one_value_and_of_numbers_among_others() -> None:
    assert robust_range(Histogram.of(np.full((80, 80), 7, dtype=np.int16))) == (7, 8)
    values = np.array([[np.nan, 2.0], [5.0, np.inf]])
    filled, valid = finite(values, np.array([[True, True], [False, True]]))
    assert filled.tolist() == [[2.0, 2.0], [5.0, 2.0]]
    assert valid.tolist() == [[False, True], [False, False]]
    filled, valid = finite(np.full((2, 2), np.nan))
    assert filled.tolist() == [[0, 0], [0, 0]]
    assert not valid.any()
