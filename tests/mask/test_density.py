from pathlib import Path

import numpy as np
import pytest

from lungfield.mask.density import Density, GreyLevel, mean_density
from lungfield.mask.regions import Regions
from lungfield.records import Radiograph


def radiograph_of(pixels):
    return Radiograph(Path("a.png"), np.asarray(pixels, dtype=np.float32))


def test_by_hand():
    pixels = [[0.0, 0.2, 0.4, 1.0], [0.5, 0.6, 0.8, 1.0], [0.9, 0.9, 0.9, 0.9]]
    labels = np.array([[0, 1, 1, 0], [2, 1, 1, 0], [0, 0, 0, 2]], dtype=np.uint8)
    density = mean_density(radiograph_of(pixels), Regions(labels))
    assert density.right_lung.mean == pytest.approx(0.5)
    assert density.right_lung.sd == pytest.approx(np.sqrt(0.05))
    assert density.left_lung.mean == pytest.approx(0.7)
    assert density.left_lung.sd == pytest.approx(0.2)
    assert density.total.mean == pytest.approx((0.2 + 0.4 + 0.6 + 0.8 + 0.5 + 0.9) / 6)
    assert density.total.sd == pytest.approx(np.std([0.2, 0.4, 0.6, 0.8, 0.5, 0.9]))


def test_agrees_with_all_pixels_of_each_lung(ellipse):
    rng = np.random.default_rng(4)
    labels = (ellipse(100, 65, 80, 35) + 2 * ellipse(105, 175, 70, 35)).astype(np.uint8)
    pixels = rng.random(labels.shape, dtype=np.float32) ** (1 + labels)
    density = mean_density(radiograph_of(pixels), Regions(labels))
    for level, values in (
        (density.right_lung, pixels[labels == 1]),
        (density.left_lung, pixels[labels == 2]),
        (density.total, pixels[labels > 0]),
    ):
        assert level.mean == pytest.approx(values.mean(dtype=np.float64), abs=1e-12)
        assert level.sd == pytest.approx(values.std(dtype=np.float64), abs=1e-12)


@pytest.mark.parametrize(("present", "name"), [(1, "right_lung"), (2, "left_lung")])
def test_one_lung(present, name):
    labels = np.zeros((4, 5), dtype=np.uint8)
    labels[1:3, 2:4] = present
    density = mean_density(radiograph_of(np.full((4, 5), 0.25)), Regions(labels))
    absent = ({"right_lung", "left_lung"} - {name}).pop()
    assert getattr(density, name) == density.total == GreyLevel(0.25, 0.0)
    assert getattr(density, absent) is None


def test_no_lung_and_lung_of_unknown_side():
    nothing = Density(None, None, None)
    assert mean_density(radiograph_of(np.ones((3, 3))), Regions(np.zeros((3, 3), np.uint8))) == nothing
    assert mean_density(radiograph_of(np.ones((3, 3))), Regions(np.full((3, 3), 255, np.uint8))) == nothing
    assert set(nothing.to_row().values()) == {None}


def test_row_has_always_the_same_columns():
    names = list(Density(GreyLevel(0.5, 0.1), None, GreyLevel(0.5, 0.1)).to_row())
    assert names == [
        *("right_lung_mean_density", "right_lung_sd_density"),
        *("left_lung_mean_density", "left_lung_sd_density"),
        *("total_mean_density", "total_sd_density"),
    ]
    assert names == list(Density(None, None, None).to_row())
    assert Density(GreyLevel(0.5, 0.1), None, None).to_row()["right_lung_mean_density"] == 0.5
