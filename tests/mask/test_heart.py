"""Widths and ratio of hearts that are drawn by hand, and what has none, with the reason."""

import numpy as np
import pytest
from scipy import ndimage

from lungfield.mask.chest import Line
from lungfield.mask.heart import NoRatio, measure_heart
from lungfield.mask.regions import Region, Regions
from lungfield.records import Spacing

FINE = Spacing(0.25, 0.25, "PixelSpacing")


@pytest.fixture
def label_map(image_left_lung, image_right_lung):
    """Lungs in columns 30 to 100 and 140 to 210, in rows 20 to 180."""
    return (image_left_lung * 1 + image_right_lung * 2).astype(np.uint8)


@pytest.fixture
def heart(ellipse):
    """In columns 90 to 164, in rows 92 to 160: its right border is in another row than its left one."""
    return ellipse(120, 110, 28, 20) | ellipse(130, 134, 30, 30)


@pytest.fixture
def clavicles(ellipse):
    return {
        "right_clavicle": ellipse(45, 75, 5, 35),
        "left_clavicle": ellipse(45, 165, 5, 35),
    }


def test_by_hand_with_anisotropic_spacing(label_map, heart, clavicles):
    found = measure_heart(
        Regions(label_map, {"heart": heart, **clavicles}), Spacing(0.5, 2.0, "PixelSpacing")
    )
    assert found.no_ratio is None
    assert (found.heart_width_px, found.heart_width_mm) == (75, 150.0)
    assert (found.thoracic_width_px, found.thoracic_width_mm) == (180, 360.0)
    assert found.cardiothoracic_ratio == 75 / 180
    assert found.heart_area_px == heart.sum()
    assert found.heart_area_mm2 == heart.sum()
    assert found.thorax.length_px == 180
    assert 100 <= found.thorax.row <= 105
    assert found.heart_right == Line(120, 90, 120)
    assert found.heart_left == Line(130, 120, 164)
    assert found.heart_right.length_px + found.heart_left.length_px - 1 == found.heart_width_px


def test_costophrenic_points_are_the_lowest_of_the_lateral_halves():
    label_map = np.zeros((60, 60), dtype=np.uint8)
    label_map[5:50, 5:25] = 1
    label_map[45:50, 8:15] = 0  # the lowest pixels of the lateral half are columns 5 to 7
    label_map[5:48, 35:55] = 2
    found = measure_heart(Regions(label_map), None)
    assert found.right_costophrenic == (49, 5)
    assert found.left_costophrenic == (47, 54)
    assert (
        measure_heart(Regions(np.where(label_map == 1, 1, 0).astype(np.uint8)), None).left_costophrenic
        is None
    )


def test_without_spacing_there_is_a_ratio_and_no_lengths_in_mm(label_map, heart):
    found = measure_heart(Regions(label_map, {"heart": heart}), None)
    assert found.cardiothoracic_ratio == 75 / 180
    assert found.heart_width_mm is found.thoracic_width_mm is found.heart_area_mm2 is None


def refused(label_map, structures, **options):
    """The reason; and no number beside it."""
    found = measure_heart(Regions(label_map, structures), FINE, **options)
    assert found.cardiothoracic_ratio is found.heart_width_px is found.thoracic_width_px is None
    assert found.heart_width_mm is found.thoracic_width_mm is found.thorax is found.heart_right is None
    return found.no_ratio


def test_what_is_missing(label_map, heart):
    nothing = np.zeros_like(label_map)
    assert refused(nothing, {"heart": heart}) == NoRatio.NO_LUNG
    assert refused(label_map, {"heart": nothing > 0}) == NoRatio.NO_HEART
    assert refused(label_map, {}) == NoRatio.NO_HEART
    for lung in (1, 2):
        assert refused(np.where(label_map == lung, label_map, nothing), {"heart": heart}) == NoRatio.ONE_LUNG
    label_map[(label_map == 2) & (np.arange(200) > 45)[:, np.newaxis]] = 0  # of the left, its top alone
    assert refused(label_map, {"heart": heart}) == NoRatio.ONE_LUNG


def test_another_view(label_map, heart, ellipse):
    assert refused(label_map, {"heart": heart}, frontal=False) == NoRatio.NOT_FRONTAL
    # What a lateral view shows: the lungs one over the other, the heart in front.
    lateral = (ellipse(100, 140, 80, 50) * 1).astype(np.uint8)
    assert refused(lateral, {"heart": heart}) == NoRatio.ONE_LUNG
    lateral[(lateral == 1) & (np.arange(240) > 130)] = 2
    assert refused(lateral, {"heart": heart}) in (NoRatio.NOT_FRONTAL, NoRatio.TILTED)


@pytest.mark.parametrize("degrees", [-90, -45, -20, 20, 45, 90])
def test_a_turned_picture(label_map, heart, degrees):
    turned = ndimage.rotate(label_map, degrees, order=0)
    structures = {"heart": ndimage.rotate(heart, degrees, order=0)}
    assert refused(turned, structures) in (NoRatio.TILTED, NoRatio.NOT_FRONTAL)


@pytest.mark.parametrize("degrees", [-5, 5])
def test_a_little_tilt_changes_little(label_map, heart, degrees):
    turned, structures = (ndimage.rotate(one, degrees, order=0) for one in (label_map, heart))
    found = measure_heart(Regions(turned, {"heart": structures}), FINE)
    assert found.cardiothoracic_ratio == pytest.approx(75 / 180, abs=0.02)


def test_a_turned_patient(label_map, heart, clavicles, ellipse):
    """The clavicles' medial ends leave the midline; without clavicles one lung is much narrower."""
    shifted = {name: np.roll(mask, 16, axis=1) for name, mask in clavicles.items()}
    assert refused(label_map, {"heart": heart, **shifted}) == NoRatio.ROTATED
    one = {"right_clavicle": shifted["right_clavicle"]}
    assert measure_heart(Regions(label_map, {"heart": heart, **one}), None).no_ratio is None
    narrow = (ellipse(100, 65, 80, 45) * 1 + ellipse(100, 180, 80, 20) * 2).astype(np.uint8)
    assert refused(narrow, {"heart": heart}) == NoRatio.ROTATED


def test_what_reaches_the_edge(label_map, heart):
    cut = measure_heart(Regions(label_map[:, :190], {"heart": heart[:, :190]}), None)
    assert cut.no_ratio == NoRatio.CUT_OFF
    assert refused(label_map[:159], {"heart": heart[:159]}) == NoRatio.CUT_OFF
    valid = np.ones(label_map.shape, dtype=bool)
    assert measure_heart(Regions(label_map, {"heart": heart}), None, valid=valid).no_ratio is None
    valid[:, 205:] = False  # under a shutter
    assert (
        refused(np.where(valid, label_map, 0).astype(np.uint8), {"heart": heart}, valid=valid)
        == NoRatio.CUT_OFF
    )


@pytest.mark.parametrize("shift", [(0, 60), (0, -60), (-75, 0)])
def test_a_heart_that_is_none(label_map, heart, shift):
    assert refused(label_map, {"heart": np.roll(heart, shift, axis=(0, 1))}) == NoRatio.MISPLACED


def test_touching_the_edge_of_what_is_picture():
    mask = np.zeros((10, 10), dtype=bool)
    mask[3:5, 3:5] = True
    valid = np.ones_like(mask)
    assert not Region.of(mask).touches_edge(mask.shape, valid)
    valid[:, 5:] = False
    assert Region.of(mask).touches_edge(mask.shape, valid)
    mask[0, 0] = True
    assert Region.of(mask).touches_edge(mask.shape)
