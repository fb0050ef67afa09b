import math

import numpy as np
import pytest
from scipy import ndimage
from scipy.spatial.distance import cdist

from lungfield.errors import DataError
from lungfield.mask import METRICS, Agreement, agreement, summarise
from lungfield.records import Spacing


def box(shape, rows, columns):
    mask = np.zeros(shape, dtype=bool)
    mask[rows, columns] = True
    return mask


def test_ratios_by_hand():
    prediction = box((10, 10), slice(0, 4), slice(0, 5))  # 20 pixels
    reference = box((10, 10), slice(2, 6), slice(0, 5))  # 20, of which 10 are shared
    found = agreement(prediction, reference, spacing=None)
    assert found.dice == pytest.approx(20 / 40)
    assert found.iou == pytest.approx(10 / 30)
    assert found.mean_iou == pytest.approx((10 / 30 + 70 / 90) / 2)
    assert found.accuracy == pytest.approx(80 / 100)
    assert found.precision == pytest.approx(10 / 20)
    assert found.recall == pytest.approx(10 / 20)
    assert found.distance_unit == "px"


def test_precision_and_recall_are_not_swapped():
    whole, half = box((4, 8), slice(None), slice(0, 4)), box((4, 8), slice(None), slice(0, 2))
    found = agreement(whole, half, spacing=None)
    assert (found.precision, found.recall) == (0.5, 1.0)


@pytest.mark.parametrize(("rows", "columns", "distance"), [(3, 0, 3 * 0.5), (0, 3, 3 * 2.0)])
def test_a_shifted_pixel_with_anisotropic_spacing(rows, columns, distance):
    prediction = box((9, 9), 2, 2)
    reference = box((9, 9), 2 + rows, 2 + columns)
    found = agreement(prediction, reference, spacing=Spacing(0.5, 2.0, "PixelSpacing"))
    assert found.hd95 == pytest.approx(distance)
    assert found.assd == pytest.approx(distance)
    assert found.distance_unit == "mm"


def test_distances_of_lines_by_hand():
    # 20 pixels against 20 pixels two rows below, of which one lies four rows further down.
    prediction = box((12, 20), 1, slice(None))
    reference = box((12, 20), 3, slice(0, 19))
    reference[7, 19] = True
    found = agreement(prediction, reference, spacing=None)
    # Reference to prediction: 19 times 2 and once 6, so that the 95th percentile is 2 + 0.05 x 4.
    # Prediction to reference: 19 times 2, and for the last column the diagonal to (3, 18).
    assert found.hd95 == pytest.approx(2.2)
    assert found.assd == pytest.approx((19 * 2 + 6 + 19 * 2 + math.sqrt(5)) / 40)


@pytest.mark.parametrize("spacing", [None, Spacing(0.3, 1.7, "PixelSpacing")])
@pytest.mark.parametrize("seed", range(4))
def test_distances_agree_with_brute_force(seed, spacing):
    random = np.random.default_rng(seed)
    a, b = (ndimage.gaussian_filter(random.random((24, 31)), 2) > 0.5 for _ in range(2))
    scale = (1, 1) if spacing is None else (spacing.row_mm, spacing.column_mm)

    def surface(mask):
        padded = np.pad(mask, 1)
        return np.array(
            [
                (row * scale[0], column * scale[1])
                for row, column in np.argwhere(mask)
                if not (
                    padded[row, column + 1]
                    and padded[row + 2, column + 1]
                    and padded[row + 1, column]
                    and padded[row + 1, column + 2]
                )
            ]
        )

    distances = cdist(surface(a), surface(b))
    a_to_b, b_to_a = distances.min(axis=1), distances.min(axis=0)
    found = agreement(a, b, spacing=spacing)
    assert found.hd95 == pytest.approx(max(np.percentile(a_to_b, 95), np.percentile(b_to_a, 95)))
    assert found.assd == pytest.approx((a_to_b.sum() + b_to_a.sum()) / (a_to_b.size + b_to_a.size))
    assert agreement(b, a, spacing=spacing).hd95 == pytest.approx(found.hd95)


def test_labels_count_as_lung_whatever_the_side():
    labels = np.zeros((6, 6), dtype=np.uint8)
    labels[1:3, 1:3], labels[1:3, 4:6] = 1, 2
    found = agreement(labels, np.where(labels > 0, 255, 0).astype(np.uint8), spacing=None)
    assert (found.dice, found.mean_iou, found.hd95, found.assd) == (1.0, 1.0, 0.0, 0.0)


def test_both_empty_agree():
    empty = np.zeros((4, 5), dtype=bool)
    assert agreement(empty, empty, spacing=None) == Agreement(1, 1, 1, 1, 1, 1, 0, 0, "px")


def test_both_full_agree():
    full = np.ones((4, 5), dtype=bool)
    assert agreement(full, full, spacing=None) == Agreement(1, 1, 1, 1, 1, 1, 0, 0, "px")


@pytest.mark.parametrize("swap", [False, True])
def test_one_empty(swap):
    empty, lung = np.zeros((4, 5), dtype=bool), box((4, 5), slice(0, 2), slice(0, 2))
    found = agreement(*((lung, empty) if swap else (empty, lung)), spacing=None)
    assert (found.dice, found.iou, found.precision, found.recall) == (0, 0, 0, 0)
    assert found.accuracy == pytest.approx(16 / 20)
    assert math.isnan(found.hd95)
    assert math.isnan(found.assd)


def test_different_shapes():
    with pytest.raises(DataError, match=r"\(4, 5\).*\(5, 4\)"):
        agreement(np.zeros((4, 5), dtype=bool), np.zeros((5, 4), dtype=bool), spacing=None)


def entry(dice, hd95=1.0, unit="mm"):
    return Agreement(dice, 0.9, 0.9, 0.9, 0.9, 0.9, hd95, 0.5, unit)


def test_summary_by_hand():
    found = summarise([entry(0.8), entry(0.9), entry(1.0, hd95=math.nan)])
    assert tuple(found) == (*METRICS[:-2], "hd95_mm", "assd_mm")
    dice = found["dice"]
    assert (dice.count, dice.undefined, dice.minimum, dice.maximum) == (3, 0, 0.8, 1.0)
    assert dice.mean == pytest.approx(0.9)
    assert dice.median == pytest.approx(0.9)
    assert dice.sd == pytest.approx(0.1)
    assert 0.8 <= dice.ci95_low < 0.9 < dice.ci95_high <= 1.0
    assert (found["hd95_mm"].count, found["hd95_mm"].undefined) == (2, 1)
    assert found["hd95_mm"].mean == 1.0


def test_interval_narrows_as_theory_has_it_and_is_the_same_each_time():
    values = np.random.default_rng(1).normal(0.9, 0.02, 400)
    found = summarise([entry(float(value)) for value in values])["dice"]
    half_width = (found.ci95_high - found.ci95_low) / 2
    assert half_width == pytest.approx(1.96 * found.sd / math.sqrt(400), rel=0.15)
    assert summarise([entry(float(value)) for value in values])["dice"] == found


def test_summary_of_one_and_of_none():
    one = summarise([entry(0.8, hd95=math.nan)])
    assert (one["dice"].count, one["dice"].mean) == (1, 0.8)
    assert math.isnan(one["dice"].sd)
    assert math.isnan(one["dice"].ci95_low)
    assert (one["hd95_mm"].count, one["hd95_mm"].undefined) == (0, 1)
    assert math.isnan(one["hd95_mm"].mean)
    with pytest.raises(DataError, match="no comparisons"):
        summarise([])


def test_units_are_never_averaged():
    found = summarise([entry(0.8, hd95=3.0), entry(0.9, hd95=8.0, unit="px"), entry(1.0, hd95=5.0)])
    assert found["dice"].count == 3
    assert (found["hd95_mm"].count, found["hd95_mm"].mean) == (2, 4.0)
    assert (found["hd95_px"].count, found["hd95_px"].mean) == (1, 8.0)
