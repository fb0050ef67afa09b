from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lungfield.mask import agreement, split_lungs

JSRT = Path(__file__).parents[2] / "../shared/data/jsrt/masks"


def label_map(right, left):
    return (1 * right + 2 * left).astype(np.uint8)


def test_right_lung_lies_on_the_left_of_the_image(image_left_lung, image_right_lung):
    result = split_lungs(image_left_lung | image_right_lung)
    assert result.dtype == np.uint8
    np.testing.assert_array_equal(result, label_map(image_left_lung, image_right_lung))


def test_one_lung(image_left_lung, image_right_lung):
    np.testing.assert_array_equal(split_lungs(image_left_lung), image_left_lung)
    np.testing.assert_array_equal(split_lungs(image_right_lung), 2 * image_right_lung)


@pytest.mark.parametrize(("column", "side"), [(4, 1), (5, 2)])
def test_the_midline_lies_between_the_two_middle_columns(column, side):
    lung = np.zeros((30, 10), dtype=bool)
    lung[5:25, 4:6] = True
    lung[25:28, column] = True  # the centroid is 0.03 columns from the midline
    np.testing.assert_array_equal(split_lungs(lung), side * lung)


def test_a_lung_in_two_pieces_above_each_other_is_one_lung(image_right_lung):
    broken = image_right_lung.copy()
    broken[90:105] = False
    np.testing.assert_array_equal(split_lungs(broken), 2 * broken)


@pytest.mark.parametrize(
    ("largest", "piece"),
    [(np.s_[60:180, 40:100], np.s_[5:55, 85:105]), (np.s_[60:180, 81:101], np.s_[10:30, 41:96])],
)
def test_a_piece_that_shares_most_columns_of_the_narrower_one_is_no_other_lung(largest, piece):
    """A piece on the other side of the midline; narrower, then wider than the largest component."""
    broken = np.zeros((200, 160), dtype=bool)
    broken[largest] = broken[piece] = True
    assert len(np.unique(split_lungs(broken)[broken])) == 1


def test_a_lung_broken_lengthwise_is_one_lung(image_left_lung):
    broken = image_left_lung.copy()
    broken[:, 58:62] = False
    np.testing.assert_array_equal(split_lungs(broken), 1 * broken)


def test_a_broken_lung_and_a_whole_one(image_left_lung, image_right_lung):
    broken = image_right_lung.copy()
    broken[120:130] = False
    result = split_lungs(image_left_lung | broken)
    np.testing.assert_array_equal(result, label_map(image_left_lung, broken))


def test_lungs_merged_by_a_bridge_are_parted_in_it(image_left_lung, image_right_lung):
    bridge = np.zeros_like(image_left_lung)
    bridge[85:105, 90:150] = True
    merged = image_left_lung | image_right_lung | bridge
    result = split_lungs(merged)
    np.testing.assert_array_equal(result > 0, merged)
    assert (result[image_left_lung & ~bridge] == 1).all()
    assert (result[image_right_lung & ~bridge] == 2).all()


def test_overlapping_lungs_are_parted_at_their_waist(ellipse):
    first, second = ellipse(100, 85, 80, 42), ellipse(100, 160, 70, 40)
    result = split_lungs(first | second)
    assert agreement(result == 1, first, spacing=None).dice > 0.97
    assert agreement(result == 2, second, spacing=None).dice > 0.97


def test_merged_lungs_and_a_piece_below_one_of_them(image_left_lung, image_right_lung, ellipse):
    bridge = np.zeros_like(image_left_lung)
    bridge[95:105, 90:150] = True
    piece = ellipse(190, 180, 8, 20)
    result = split_lungs(image_left_lung | image_right_lung | bridge | piece)
    assert (result[piece] == 2).all()
    assert (result[image_left_lung & ~bridge] == 1).all()


def test_specks_follow_the_lungs(image_left_lung, image_right_lung):
    lungs = image_left_lung | image_right_lung
    specks = np.zeros_like(lungs)
    specks[5, 5] = specks[190, 230] = True
    result = split_lungs(lungs | specks)
    assert (result[5, 5], result[190, 230]) == (1, 2)
    np.testing.assert_array_equal(np.where(lungs, result, 0), label_map(image_left_lung, image_right_lung))
    assert (split_lungs(image_right_lung | specks)[image_right_lung] == 2).all()


def test_a_broad_object_without_a_waist_is_cut_near_the_midline():
    slab = np.zeros((100, 200), dtype=bool)
    slab[30:80, 30:180] = True
    result = split_lungs(slab)
    cut = int(np.flatnonzero(result[50] == 2)[0])
    assert abs(cut - 99.5) <= 150 / 8 + 1
    assert (result[30:80, 30:cut] == 1).all()
    assert (result[30:80, cut:180] == 2).all()


def test_wide_and_tall_are_meant_in_the_unit_of_the_pixels(ellipse):
    slab = np.zeros((100, 200), dtype=bool)
    slab[30:80, 70:130] = True
    assert set(np.unique(split_lungs(slab))) == {0, 1, 2}
    assert np.unique(split_lungs(slab, pixel_size=(0.2, 0.1))).size == 2
    # Lobes that lie beside each other on broad pixels lie above each other on tall ones.
    lobes = ellipse(80, 95, 30, 30) | ellipse(118, 133, 30, 30)
    assert set(np.unique(split_lungs(lobes, pixel_size=(1, 1.5)))) == {0, 1, 2}
    assert np.unique(split_lungs(lobes, pixel_size=(3, 1))).size == 2


def test_one_lung_that_crosses_the_midline_is_not_cut(ellipse):
    lung = ellipse(100, 110, 85, 45)
    np.testing.assert_array_equal(split_lungs(lung), 1 * lung)


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (3, 3)])
def test_tiny_and_full_masks(shape):
    result = split_lungs(np.ones(shape, dtype=bool))
    assert result.shape == shape
    assert set(np.unique(result)) <= {1, 2}


def test_empty():
    np.testing.assert_array_equal(split_lungs(np.zeros((5, 4), dtype=bool)), np.zeros((5, 4)))


@pytest.mark.skipif(not JSRT.is_dir(), reason="the JSRT masks are not on this machine")
def test_real_lungs_are_told_apart():
    names = sorted(path.name for path in (JSRT / "right_lung").iterdir())[::6]
    assert names
    for name in names:
        right, left = (np.asarray(Image.open(JSRT / side / name)) > 0 for side in ("right_lung", "left_lung"))
        left &= ~right
        np.testing.assert_array_equal(split_lungs(right | left), label_map(right, left), err_msg=name)
        # Each lung alone, and both as if they had grown together at the hila.
        np.testing.assert_array_equal(split_lungs(right), 1 * right, err_msg=name)
        np.testing.assert_array_equal(split_lungs(left), 2 * left, err_msg=name)
        merged = right | left
        merged[440:520, 300:724] = True
        result = split_lungs(merged)
        outside = np.r_[0:440, 520:1024]
        assert agreement(result[outside] == 1, right[outside], spacing=None).dice > 0.99, name
