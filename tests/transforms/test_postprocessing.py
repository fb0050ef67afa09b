import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import BorderPadd, CenterSpatialCropd, Compose, EnsureChannelFirst, Resized, Transposed

from lungfield.pose import ALL_POSES, UPRIGHT, Pose
from lungfield.records import Radiograph, Spacing
from lungfield.transforms import LungLabelMapd, RestoreGridd, as_monai


def loaded(pixels, *, pose=UPRIGHT):
    array, metadata = as_monai(Radiograph(path="x", pixels=pixels.astype(np.float32), pose=pose))
    return EnsureChannelFirst()(MetaTensor.ensure_torch_and_prune_meta(array, metadata))


def two_lungs(height=120, width=90):
    """Two ellipses, the larger one on the image's left, lower than the other."""
    rows, columns = np.mgrid[:height, :width]
    left = ((rows - 65) / 40) ** 2 + ((columns - 25) / 16) ** 2 < 1
    right = ((rows - 50) / 30) ** 2 + ((columns - 66) / 13) ** 2 < 1
    return left, right


@pytest.fixture
def preprocessing():
    return Compose(
        [
            Transposed(keys="image", indices=[0, 2, 1]),
            Resized(keys="image", spatial_size=(48, 48), mode="area"),
        ]
    )


def test_logits_come_back_smooth_to_the_files_grid(preprocessing):
    left, right = two_lungs()
    data = preprocessing({"image": loaded((left | right).astype(float))})
    assert data["image"].shape == (1, 48, 48)
    data["pred"] = data["image"].clone() * 8 - 4
    restore = RestoreGridd(keys="pred", orig_keys="image", transform=preprocessing)
    result = restore(data)
    assert result["pred"].shape == (1, 90, 120)  # MONAI's order: columns, rows
    back = result["pred"][0].numpy().T > 0
    assert 2 * (back & (left | right)).sum() / (back.sum() + (left | right).sum()) > 0.98
    # Interpolated, not repeated: neighbouring rows of an enlarged ramp differ.
    column = result["pred"][0, 25].numpy()
    edge = column[20:32]
    assert np.unique(edge.round(3)).size > 6
    assert data["image"].applied_operations == result["image"].applied_operations


def network_output(preprocessing, *, pose=UPRIGHT):
    """A radiograph's data after the network: its logits are the preprocessed picture of two lungs."""
    left, right = two_lungs()
    data = preprocessing({"image": loaded((left | right).astype(float), pose=pose)})
    # A plain tensor, as it comes from another process.
    return {**data, "pred": torch.from_numpy(data["image"].numpy() * 8 - 4)}


@pytest.mark.parametrize("pose", ALL_POSES, ids=str)
def test_label_map_from_the_networks_grid_is_that_of_restored_logits(preprocessing, pose):
    data = network_output(preprocessing, pose=pose)
    label_map = LungLabelMapd(keys="pred", orig_keys="image", transform=preprocessing)(data)["pred"]
    restored = RestoreGridd(keys="pred", orig_keys="image", transform=preprocessing)(data)
    expected = LungLabelMapd(keys="pred")(restored)["pred"]
    assert label_map.dtype == torch.uint8
    upright, as_expected = (pose.upright(one[0].numpy().T) for one in (label_map, expected))
    certain = np.abs(restored["pred"][0].numpy().T) > 1e-5  # others may round to either side of 0
    assert certain.mean() > 0.999
    np.testing.assert_array_equal(upright[certain], as_expected[certain])
    left, right = two_lungs()
    assert (upright[left] == 1).mean() > 0.97
    assert (upright[right] == 2).mean() > 0.97
    torch.testing.assert_close(label_map.affine, expected.affine)
    assert label_map.applied_operations == expected.applied_operations == []
    assert data["image"].shape == (1, 48, 48)


@pytest.mark.parametrize(
    "more",
    [BorderPadd(keys="image", spatial_border=6), CenterSpatialCropd(keys="image", roi_size=(100, 84))],
    ids=["padded", "cropped"],
)
def test_preprocessing_that_changes_more_than_the_size(preprocessing, more):
    longer = Compose([preprocessing.transforms[0], more, preprocessing.transforms[1]])
    data = network_output(longer)
    label_map = LungLabelMapd(keys="pred", orig_keys="image", transform=longer)(data)["pred"]
    assert label_map.shape == (1, 90, 120)
    left, right = two_lungs()
    upright = label_map[0].numpy().T
    for value, lung in ((1, left), (2, right)):
        assert 2 * (lung & (upright == value)).sum() / (lung.sum() + (upright == value).sum()) > 0.97


@pytest.mark.parametrize("pose", ALL_POSES, ids=str)
def test_label_map_has_the_patients_sides(pose):
    left, right = two_lungs()
    logits = loaded(np.where(left | right, 3.0, -3.0), pose=pose)
    label_map = LungLabelMapd(keys="pred")({"pred": logits})["pred"]
    assert label_map.dtype == torch.uint8
    assert label_map.shape == (1, *pose.stored_pair((120, 90))[::-1])
    np.testing.assert_array_equal(label_map[0].numpy().T, pose.stored(left * 1 + right * 2))


def test_the_affine_is_that_of_the_files_own_columns_and_rows(preprocessing):
    turned = Pose.of_directions("F", "R")
    pixels = np.logical_or(*two_lungs()).astype(np.float32)
    spacing = Spacing(row_mm=0.2, column_mm=0.3, source="PixelSpacing")
    array, metadata = as_monai(Radiograph(path="x", pixels=pixels, pose=turned, spacing=spacing))
    image = EnsureChannelFirst()(MetaTensor.ensure_torch_and_prune_meta(array, metadata))
    data = preprocessing({"image": image})
    data["pred"] = torch.from_numpy(data["image"].numpy() * 8 - 4)
    label_map = LungLabelMapd(keys="pred", transform=preprocessing)(data)["pred"]
    assert label_map.shape == (1, 120, 90)
    # Upright rows are the columns that the file stores.
    np.testing.assert_allclose(label_map.affine.diagonal(), [0.2, 0.3, 1, 1])


def test_threshold_is_a_probability():
    left, right = two_lungs()
    logits = loaded(np.where(left, 3.0, np.where(right, 0.5, -3.0)))
    assert set(np.unique(LungLabelMapd(keys="pred")({"pred": logits})["pred"])) == {0, 1, 2}
    strict = LungLabelMapd(keys="pred", threshold=0.9)({"pred": logits})["pred"]
    np.testing.assert_array_equal(strict[0].numpy().T > 0, left)
