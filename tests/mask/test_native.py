import numpy as np
import pytest
import torch
from scipy import ndimage

from lungfield.mask.native import native_label_map

GRID = (60, 72)


def height(row, column, half_height, half_width):
    """Logits that fall off smoothly from the middle of an ellipse, 0 on its border: (60, 72) float32."""
    rows, columns = np.ogrid[: GRID[0], : GRID[1]]
    distance = np.hypot((rows - row) / half_height, (columns - column) / half_width)
    return (5 * (1 - distance)).astype(np.float32)


@pytest.fixture
def right():
    return height(30.3, 19.6, 22.2, 11.1)


@pytest.fixture
def left():
    return height(31.7, 52.4, 19.4, 10.3)


def interpolated(logits, shape):
    native = torch.nn.functional.interpolate(
        torch.from_numpy(logits)[None, None], shape, mode="bilinear", align_corners=False
    )
    return native[0, 0].numpy()


@pytest.mark.parametrize("shape", [(480, 576), (500, 431), (601, 1000), (72, 90), (60, 72), (41, 29), (7, 5)])
@pytest.mark.parametrize("level", [0.0, -1.25, 2.0])
def test_the_contour_is_that_of_the_interpolated_logits(left, right, shape, level):
    logits = np.maximum(right, left)
    label_map = native_label_map(logits, shape, level=level)
    assert label_map.dtype == np.uint8
    native = interpolated(logits, shape)
    certain = np.abs(native - level) > 1e-5
    np.testing.assert_array_equal((label_map > 0)[certain], (native > level)[certain])
    np.testing.assert_array_equal(label_map == 1, (label_map > 0) & (interpolated(right, shape) > level))


def test_sides_are_the_patients(left, right):
    label_map = native_label_map(np.maximum(right, left), (480, 576))
    assert label_map[242, 160] == 1
    assert label_map[254, 420] == 2


def test_what_is_removed_and_filled_leaves_the_contour_alone(left, right):
    shape = (480, 576)
    lungs = np.maximum(right, left)
    clean = native_label_map(lungs, shape)
    spoiled = lungs.copy()
    spoiled[2:5, 33:36] = 4  # an island
    spoiled[28:33, 17:22] = -3  # a hole
    spoiled[30, 52] = 0  # a hole right at the level
    assert ((interpolated(spoiled, shape) > 0) != (clean > 0)).sum() > 1000
    np.testing.assert_array_equal(native_label_map(spoiled, shape), clean)
    np.testing.assert_array_equal(native_label_map(spoiled, shape, components=1), np.where(clean == 1, 1, 0))


def test_merged_lungs_are_parted_in_a_smooth_line():
    merged = np.maximum(height(30, 22, 24, 14), height(30, 47, 24, 14))
    shape = (960, 1152)
    label_map = native_label_map(merged, shape)
    np.testing.assert_array_equal(label_map > 0, interpolated(merged, shape) > 0)
    assert ndimage.label(label_map > 0)[1] == 1
    for value, column in ((1, 22), (2, 47)):
        lobe = label_map == value
        assert ndimage.label(lobe)[1] == 1
        assert lobe[488, column * 16]
    cut = [int(np.flatnonzero(row == 2)[0]) for row in label_map[460:500]]
    # A step of the network's grid would be 16 pixels.
    assert np.abs(np.diff(cut)).max() <= 2


def test_the_shape_of_the_file_tells_one_lung_from_two():
    """Taller than wide on the file, wider than tall on the square grid of the network."""
    logits = np.full((64, 64), -5.0, dtype=np.float32)
    logits[22:42, 17:47] = 5
    assert set(np.unique(native_label_map(logits, (640, 640)))) == {0, 1, 2}
    assert np.unique(native_label_map(logits, (1280, 640))).size == 2


def test_nothing_and_everything():
    assert not native_label_map(np.full(GRID, -1, np.float32), (480, 576)).any()
    assert native_label_map(np.full(GRID, 1, np.float32), (480, 576)).all()
    assert native_label_map(np.ones((1, 1), np.float32), (3, 2)).all()


def test_lung_up_to_the_border_of_the_image(right):
    logits = right.copy()
    logits[:, :15] = 3
    np.testing.assert_array_equal(
        native_label_map(logits, (301, 288)) > 0, interpolated(logits, (301, 288)) > 0
    )


def test_a_contour_between_the_outermost_two_pixels_of_the_network():
    logits = np.full(GRID, 3, np.float32)
    logits[[0, -1]] = logits[:, [0, -1]] = -1
    native = interpolated(logits, (480, 576))
    certain = np.abs(native) > 1e-5
    np.testing.assert_array_equal((native_label_map(logits, (480, 576)) > 0)[certain], (native > 0)[certain])


def test_half_precision_and_an_input_left_alone(left, right):
    logits = np.maximum(right, left).astype(np.float16)
    before = logits.copy()
    label_map = native_label_map(logits, (300, 360))
    np.testing.assert_array_equal(logits, before)
    np.testing.assert_array_equal(label_map, native_label_map(logits.astype(np.float32), (300, 360)))
