"""The spacing of pixels, case by case."""

from __future__ import annotations

from typing import Any

import pytest
from pydicom.dataset import Dataset

from lungfield.radiograph.spacing import read_pixel_aspect, read_spacing
from lungfield.records import Spacing

pytestmark = pytest.mark.filterwarnings("ignore:Invalid value for VR")


def header(**keywords: Any) -> Dataset:
    dataset = Dataset()
    for keyword, value in keywords.items():
        setattr(dataset, keyword, value)
    return dataset


@pytest.mark.parametrize(
    ("keywords", "expected"),
    [
        ({}, None),
        ({"PixelSpacing": [0.2, 0.3]}, Spacing(0.2, 0.3, "PixelSpacing", "unknown")),
        (
            {"PixelSpacing": [0.2, 0.3], "PixelSpacingCalibrationType": "GEOMETRY"},
            Spacing(0.2, 0.3, "PixelSpacing", "patient"),
        ),
        (
            {"PixelSpacing": [0.14, 0.139], "ImagerPixelSpacing": [0.1389, 0.1389]},
            Spacing(0.1389, 0.1389, "ImagerPixelSpacing", "detector"),
        ),
        (
            {"PixelSpacing": [0.14299, 0.14299], "ImagerPixelSpacing": [0.143, 0.143]},
            Spacing(0.143, 0.143, "ImagerPixelSpacing", "detector"),
        ),
        (
            {"PixelSpacing": [0.14, 0.14], "ImagerPixelSpacing": [0.15, 0.15]},
            Spacing(0.14, 0.14, "PixelSpacing", "patient"),
        ),
        (
            {"PixelSpacing": [0.15, 0.15], "ImagerPixelSpacing": [0.15, 0.15]},
            Spacing(0.15, 0.15, "ImagerPixelSpacing", "detector"),
        ),
        (
            {
                "PixelSpacing": [0.15, 0.15],
                "ImagerPixelSpacing": [0.15, 0.15],
                "PixelSpacingCalibrationType": "FIDUCIAL",
            },
            Spacing(0.15, 0.15, "PixelSpacing", "patient"),
        ),
        ({"ImagerPixelSpacing": [0.2, 0.1]}, Spacing(0.2, 0.1, "ImagerPixelSpacing", "detector")),
        (
            {"ImagerPixelSpacing": [0.25, 0.5], "EstimatedRadiographicMagnificationFactor": 1.25},
            Spacing(0.2, 0.4, "ImagerPixelSpacing", "patient"),
        ),
        (
            {"ImagerPixelSpacing": [0.2, 0.2], "EstimatedRadiographicMagnificationFactor": 1},
            Spacing(0.2, 0.2, "ImagerPixelSpacing", "detector"),
        ),
        (
            {"NominalScannedPixelSpacing": [0.175, 0.175]},
            Spacing(0.175, 0.175, "NominalScannedPixelSpacing", "detector"),
        ),
    ],
)
def test_the_source_and_the_plane(keywords: dict[str, Any], expected: Spacing | None) -> None:
    assert read_spacing(header(**keywords)) == (expected, ())


@pytest.mark.parametrize(
    "value",
    [[0, 0], [0.2, 0], ["nan", "nan"], ["inf", 0.2], [-0.2, -0.2], [200, 200], [0.0001, 0.0001], [0.1, 0.9]],
    ids=str,
)
def test_the_absurd_is_ignored_with_a_remark(value: list[Any]) -> None:
    spacing, remarks = read_spacing(header(PixelSpacing=value))
    assert spacing is None
    assert len(remarks) == 1
    assert "PixelSpacing" in remarks[0]


def test_an_absurd_first_choice_gives_way_to_the_second() -> None:
    spacing, remarks = read_spacing(header(PixelSpacing=[0, 0], ImagerPixelSpacing=[0.2, 0.2]))
    assert spacing == Spacing(0.2, 0.2, "ImagerPixelSpacing", "detector")
    assert len(remarks) == 1


@pytest.mark.parametrize("factor", [0.2, 40, "nan", -1])
def test_an_absurd_magnification_is_ignored_with_a_remark(factor: Any) -> None:
    spacing, remarks = read_spacing(
        header(ImagerPixelSpacing=[0.2, 0.2], EstimatedRadiographicMagnificationFactor=factor)
    )
    assert spacing == Spacing(0.2, 0.2, "ImagerPixelSpacing", "detector")
    assert len(remarks) == 1


def test_a_single_number_is_no_pair() -> None:
    dataset = Dataset()
    dataset.add_new("PixelSpacing", "DS", "0.2")
    assert read_spacing(dataset)[0] is None


@pytest.mark.parametrize(
    ("ratio", "aspect"), [(None, 1), ([2, 1], 2), ([100, 200], 0.5), ([0, 1], 1), ([50, 1], 1), ("1", 1)]
)
def test_the_shape_of_a_pixel(ratio: Any, aspect: float) -> None:
    assert read_pixel_aspect(header(PixelAspectRatio=ratio)) == aspect
