"""Padding and display shutters, on masks worked out by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from lungfield.radiograph import read_radiograph
from lungfield.radiograph.shutter import valid_pixels


def header(**keywords: Any) -> Dataset:
    dataset = Dataset()
    for keyword, value in keywords.items():
        setattr(dataset, keyword, value)
    return dataset


@pytest.fixture
def stored() -> NDArray[np.uint16]:
    """(20, 30) of 100, a left border of 5 columns of 0, and one pixel of 0 amid the image."""
    values = np.full((20, 30), 100, dtype=np.uint16)
    values[:, :5] = 0
    values[10, 20] = 0
    return values


def test_nothing_said_is_all_valid(stored: NDArray[np.uint16]) -> None:
    assert valid_pixels(stored, header()) == (None, ())


def test_padding_is_what_reaches_the_edge(stored: NDArray[np.uint16]) -> None:
    valid, remarks = valid_pixels(stored, header(PixelPaddingValue=0))
    expected = np.ones((20, 30), dtype=bool)
    expected[:, :5] = False
    assert remarks == ()
    np.testing.assert_array_equal(valid, expected)


def test_padding_range(stored: NDArray[np.uint16]) -> None:
    stored[:, 2:5] = 7
    valid, _ = valid_pixels(stored, header(PixelPaddingValue=0, PixelPaddingRangeLimit=10))
    assert valid is not None
    assert (~valid).sum() == 20 * 5
    valid, _ = valid_pixels(stored, header(PixelPaddingValue=10, PixelPaddingRangeLimit=0))
    assert valid is not None
    assert (~valid).sum() == 20 * 5


def test_negative_padding_behind_an_unsigned_value_representation() -> None:
    stored = np.full((20, 30), 100, dtype=np.int16)
    stored[:2] = -2000
    dataset = Dataset()
    dataset.add_new("PixelPaddingValue", "US", 65536 - 2000)
    valid, _ = valid_pixels(stored, dataset)
    assert valid is not None
    assert (~valid).sum() == 2 * 30


def test_rectangular_shutter_counts_from_one(stored: NDArray[np.uint16]) -> None:
    valid, _ = valid_pixels(
        stored,
        header(
            ShutterShape="RECTANGULAR",
            ShutterUpperHorizontalEdge=3,
            ShutterLowerHorizontalEdge=18,
            ShutterLeftVerticalEdge=1,
            ShutterRightVerticalEdge=25,
        ),
    )
    expected = np.zeros((20, 30), dtype=bool)
    expected[2:18, 0:25] = True
    np.testing.assert_array_equal(valid, expected)


def test_circular_shutter(stored: NDArray[np.uint16]) -> None:
    valid, _ = valid_pixels(
        stored, header(ShutterShape="CIRCULAR", CenterOfCircularShutter=[10, 15], RadiusOfCircularShutter=8)
    )
    assert valid is not None
    assert valid[9, 14 - 8]
    assert valid[9, 14 + 8]
    assert not valid[9, 14 - 9]
    assert valid[9 - 8, 14]
    assert not valid[0, 0]


def test_polygonal_shutter(stored: NDArray[np.uint16]) -> None:
    valid, _ = valid_pixels(
        stored,
        header(ShutterShape="POLYGONAL", VerticesOfThePolygonalShutter=[1, 1, 1, 30, 20, 30]),
    )
    assert valid is not None
    assert valid[5, 25]
    assert not valid[15, 5]


def test_several_shutters_and_padding_hold_together(stored: NDArray[np.uint16]) -> None:
    valid, _ = valid_pixels(
        stored,
        header(
            PixelPaddingValue=0,
            ShutterShape=["RECTANGULAR", "CIRCULAR"],
            ShutterUpperHorizontalEdge=3,
            ShutterLowerHorizontalEdge=18,
            ShutterLeftVerticalEdge=1,
            ShutterRightVerticalEdge=30,
            CenterOfCircularShutter=[10, 10],
            RadiusOfCircularShutter=15,
        ),
    )
    assert valid is not None
    assert not valid[9, 4]  # padding
    assert not valid[1, 10]  # above the rectangle
    assert not valid[9, 26]  # beyond the circle
    assert valid[9, 10]


@pytest.mark.parametrize(
    "keywords",
    [
        {"ShutterShape": "RECTANGULAR"},
        {"ShutterShape": "CIRCULAR", "CenterOfCircularShutter": [1], "RadiusOfCircularShutter": 5},
        {"ShutterShape": "CIRCULAR", "CenterOfCircularShutter": [1, 1], "RadiusOfCircularShutter": 0},
        {"ShutterShape": "POLYGONAL", "VerticesOfThePolygonalShutter": [1, 2, 3]},
        {"PixelPaddingValue": 100, "PixelPaddingRangeLimit": 0},
    ],
    ids=str,
)
def test_nonsense_is_ignored_with_a_remark(stored: NDArray[np.uint16], keywords: dict[str, Any]) -> None:
    valid, remarks = valid_pixels(stored, header(**keywords))
    assert valid is None
    assert len(remarks) == 1


def test_bitmap_shutters_are_left_alone(stored: NDArray[np.uint16]) -> None:
    assert valid_pixels(stored, header(ShutterShape="BITMAP")) == (None, ())


def test_what_is_not_valid_is_black(picture: NDArray[np.uint16], make_dicom: Any, tmp_path: Path) -> None:
    picture[:, :10] = 0
    path = make_dicom(
        tmp_path / "a.dcm", picture, PixelPaddingValue=0, PhotometricInterpretation="MONOCHROME1"
    )
    radiograph = read_radiograph(path)
    assert radiograph.valid is not None
    assert not radiograph.valid[:, :10].any()
    assert radiograph.valid[:, 10:60].all()
    assert (radiograph.pixels[~radiograph.valid] == 0).all()
