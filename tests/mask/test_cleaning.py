import numpy as np
import pytest
from scipy import ndimage

from lungfield.mask import clean_mask


def test_keeps_the_two_largest_and_drops_the_rest(image_left_lung, image_right_lung, ellipse):
    third = ellipse(20, 120, 15, 12)
    lungs = image_left_lung | image_right_lung
    np.testing.assert_array_equal(clean_mask(lungs | third, min_fraction=0), lungs)
    np.testing.assert_array_equal(clean_mask(lungs | third, components=3, min_fraction=0), lungs | third)


def test_drops_a_speck_beside_a_single_lung(image_left_lung, ellipse):
    speck = ellipse(60, 180, 4, 4)
    np.testing.assert_array_equal(clean_mask(image_left_lung | speck), image_left_lung)
    np.testing.assert_array_equal(
        clean_mask(image_left_lung | speck, min_fraction=0), image_left_lung | speck
    )


def test_fills_holes_but_not_bays_or_what_lies_between_the_lungs(image_left_lung, image_right_lung):
    lungs = image_left_lung | image_right_lung
    holed = lungs.copy()
    holed[90:100, 60:70] = False
    np.testing.assert_array_equal(clean_mask(holed), lungs)
    bay = lungs.copy()
    bay[95:100, :70] = False  # open to the side
    np.testing.assert_array_equal(clean_mask(bay), bay)


def test_air_at_the_edge_does_not_take_the_place_of_a_lung(image_left_lung, image_right_lung):
    lungs = image_left_lung | image_right_lung
    air = np.zeros_like(lungs)
    air[:, :12] = True
    air &= ~ndimage.binary_dilation(lungs)
    assert air.sum() > 0.2 * image_left_lung.sum()
    larger = lungs & (ndimage.label(lungs)[0] == 1)
    for lung in (lungs, larger):
        np.testing.assert_array_equal(clean_mask(lung | air, components=1 if lung is larger else 2), lung)


@pytest.mark.parametrize("upright", [True, False])
def test_the_centre_of_a_large_image_that_is_not_square(upright):
    """Ranked on every third row and every column, or the other way round."""
    both = np.zeros((1536, 600), dtype=bool)
    both[500:1000, 230:370] = True
    lung = both.copy()
    both[100:1400, :60] = True  # larger, but at the edge
    both, lung = (both, lung) if upright else (both.T, lung.T)
    np.testing.assert_array_equal(clean_mask(both, components=1), lung)


def test_touching_the_border_is_no_hole():
    ring = np.ones((6, 7), dtype=bool)
    ring[0:3, 2] = False  # open at the top edge of the image
    ring[3, 4] = False  # enclosed
    expected = ring.copy()
    expected[3, 4] = True
    np.testing.assert_array_equal(clean_mask(ring), expected)


def test_components_across_a_corner_are_apart():
    mask = np.zeros((8, 8), dtype=bool)
    mask[0:4, 0:4] = True
    mask[4:7, 4:7] = True
    expected = mask.copy()
    expected[4:7, 4:7] = False
    np.testing.assert_array_equal(clean_mask(mask, components=1), expected)


def test_empty_stays_empty_and_full_stays_full():
    assert not clean_mask(np.zeros((5, 4), dtype=bool)).any()
    assert clean_mask(np.ones((5, 4), dtype=bool)).all()


def test_leaves_its_input_alone(image_left_lung):
    before = image_left_lung.copy()
    cleaned = clean_mask(image_left_lung)
    cleaned[:] = False
    np.testing.assert_array_equal(image_left_lung, before)


@pytest.mark.parametrize("seed", range(5))
def test_agrees_with_scipy_on_noise(seed):
    noise = np.random.default_rng(seed).random((40, 50)) > 0.42
    numbered, count = ndimage.label(noise)
    areas = ndimage.sum_labels(noise, numbered, range(1, count + 1))
    largest = numbered == areas.argmax() + 1
    # Background across corners is connected: fill only what eight neighbours enclose.
    expected = ndimage.binary_fill_holes(largest, structure=np.ones((3, 3)))
    np.testing.assert_array_equal(clean_mask(noise, components=1, prefer_centre=False), expected)
