import numpy as np
import pytest

from lungfield.mask import Regions
from lungfield.mask.regions import UNKNOWN_LUNG, Region, joined


@pytest.fixture
def label_map():
    label_map = np.zeros((12, 16), np.uint8)
    label_map[2:8, 1:5] = 1
    label_map[3:10, 9:14] = 2
    label_map[2, 1] = 0
    return label_map


def test_boxes_and_pixels_are_those_of_the_masks(label_map):
    heart = np.zeros((12, 16), bool)
    heart[6:9, 4:11] = True
    regions = Regions(label_map, {"heart": heart, "left_clavicle": np.zeros_like(heart)})
    assert regions.shape == (12, 16)
    for name, mask in (("right_lung", label_map == 1), ("left_lung", label_map == 2), ("heart", heart)):
        region = regions[name]
        whole = np.zeros((12, 16), bool)
        whole[region.box] = region.mask
        np.testing.assert_array_equal(whole, mask)
        assert region.mask.any(axis=0).all()
        assert region.mask.any(axis=1).all()
        assert region.area_px == mask.sum()
        assert region.rows.tolist() == np.flatnonzero(mask.any(axis=1)).tolist()
    assert regions["right_lung"].box == (slice(2, 8), slice(1, 5))
    assert regions["left_clavicle"] is regions["right_clavicle"] is regions[UNKNOWN_LUNG] is None
    lungs = regions.lungs
    assert lungs.box == (slice(2, 10), slice(1, 14))
    np.testing.assert_array_equal(lungs.mask, label_map[lungs.box] > 0)


def test_lung_of_unknown_side_and_no_lung(label_map):
    unknown = Regions(np.where(label_map > 0, 255, 0).astype(np.uint8))
    assert unknown["right_lung"] is unknown["left_lung"] is None
    assert unknown[UNKNOWN_LUNG].area_px == unknown.lungs.area_px == (label_map > 0).sum()
    nothing = Regions(np.zeros_like(label_map))
    assert nothing.lungs is nothing["right_lung"] is None


def test_a_union_may_overlap():
    mask = np.zeros((6, 6), bool)
    mask[1:4, 1:4] = True
    one, other = Region.of(mask), Region.of(np.roll(mask, (1, 2), axis=(0, 1)))
    both = joined(one, None, other)
    assert both.box == (slice(1, 5), slice(1, 6))
    assert both.area_px == 9 + 9 - 2
    assert joined(None, one) is one
    assert joined() is None
