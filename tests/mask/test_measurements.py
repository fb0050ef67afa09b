import numpy as np
import pytest

from lungfield.mask import Extent, Regions, measure
from lungfield.records import Spacing


@pytest.fixture
def label_map():
    labels = np.zeros((10, 12), dtype=np.uint8)
    labels[1:8, 1:4] = 1  # 7 x 3
    labels[1, 1] = 0
    labels[2:6, 7:9] = 2  # 4 x 2
    return labels


def test_by_hand_with_anisotropic_spacing(label_map):
    found = measure(Regions(label_map), Spacing(0.5, 2.0, "PixelSpacing", plane="detector"))
    assert found.right_lung == Extent(20, 7, 3, area_mm2=20.0, height_mm=3.5, width_mm=6.0)
    assert found.left_lung == Extent(8, 4, 2, area_mm2=8.0, height_mm=2.0, width_mm=4.0)
    assert found.total == Extent(28, 7, 8, area_mm2=28.0, height_mm=3.5, width_mm=16.0)
    assert found.spacing_plane == "detector"


def test_without_spacing_there_are_no_lengths_in_mm(label_map):
    found = measure(Regions(label_map), None)
    assert found.right_lung == Extent(20, 7, 3)
    assert found.spacing_plane is None


def test_an_absent_lung_and_a_side_not_told(label_map):
    label_map[label_map == 2] = 0
    label_map[9, 11] = 255
    found = measure(Regions(label_map), Spacing(1, 1, "PixelSpacing"))
    assert found.left_lung == Extent(0, 0, 0, 0.0, 0.0, 0.0)
    assert found.total.area_px == 21
    assert (found.total.height_px, found.total.width_px) == (9, 11)


def test_rows_always_have_the_same_columns(label_map):
    row = measure(Regions(label_map), Spacing(0.5, 2.0, "PixelSpacing")).to_row()
    assert list(row) == list(measure(Regions(np.zeros((2, 2), np.uint8)), None).to_row())
    assert row["right_lung_area_mm2"] == 20.0
    assert row["left_lung_height_px"] == 4
    assert row["total_width_mm"] == 16.0
    assert row["spacing_plane"] == "patient"
