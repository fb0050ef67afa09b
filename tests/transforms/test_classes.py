"""Labels and outputs by class: what a channel stands for is what the bundle's metadata say."""

import numpy as np
import pytest
import torch
from monai.transforms import Compose
from PIL import Image

from lungfield.errors import BundleError, DataError
from lungfield.transforms import (
    ClassesAndUnknownd,
    KnownLungsd,
    LungLabelMapd,
    RandMirrord,
    classes_and_unknown,
    lung_logits,
)
from lungfield.transforms.monai_label import post_transforms

CLASSES = (2, 0, 1)  # left lung, background, right lung
OVERLAPPING = (255, 3, 253)  # lung, heart, clavicles


def test_the_two_channels_of_a_partial_label():
    values = torch.tensor([[[0.0, 1, 2, 254, 255]]])
    found = ClassesAndUnknownd(keys="label")({"label": values})["label"]
    assert found.tolist() == [[[0, 1, 1, 0, 1]], [[0, 0, 0, 1, 0]]]
    prediction = torch.ones(1, 1, 5)
    known = KnownLungsd(keys="pred")({"pred": prediction, "label": found})
    assert known["label"].tolist() == [[[0, 1, 1, 0, 1]]]
    assert known["pred"].tolist() == [[[1, 1, 1, 0, 1]]]


def test_a_channel_a_class():
    values = torch.tensor([[[0.0, 1, 2, 254]]])
    found = classes_and_unknown(values, CLASSES)
    assert found[:, 0].tolist() == [[0, 0, 1, 0], [1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 1]]
    prediction = torch.tensor([[[1.0, 0, 1, 1]], [[0, 0, 0, 0]], [[0, 1, 0, 0]]])
    known = KnownLungsd(keys="pred", classes=CLASSES)({"pred": prediction, "label": found})
    assert known["pred"][:, 0].tolist() == [[1, 0, 1, 0], [0, 1, 0, 0]]
    assert known["label"][:, 0].tolist() == [[0, 0, 1, 0], [0, 1, 0, 0]]


def test_a_lung_without_a_side_gets_that_of_its_place():
    label = torch.zeros(2, 1, 40, 40)
    label[..., 5:35, 4:14] = label[..., 5:35, 24:34] = 255
    found = classes_and_unknown(label, CLASSES)
    assert found[:, 2, :, 4:14].sum() == found[:, 0, :, 24:34].sum() == 2 * 300
    assert found[:, 3].sum() == 0
    assert torch.equal(found.sum(dim=1), torch.ones(2, 40, 40))


@pytest.mark.parametrize("classes", [(255,), CLASSES])
def test_a_mirrored_picture_has_its_right_lung_on_the_left(classes):
    label = torch.zeros(1, 8, 8)
    label[..., :2], label[..., 5:] = 1, 2
    data = {"image": label.clone(), "label": classes_and_unknown(label, classes)}
    mirrored = RandMirrord(["image", "label"], classes=classes, prob=1)(data)
    expected = torch.zeros(1, 8, 8)
    expected[..., :3], expected[..., 6:] = 1, 2
    assert torch.equal(mirrored["label"], classes_and_unknown(expected, classes))
    assert torch.equal(mirrored["image"], label.flip(-1))
    same = RandMirrord(["image", "label"], classes=classes, prob=0)(data)
    assert torch.equal(same["label"], data["label"])


@pytest.fixture
def masks(tmp_path):
    """Paths of masks (4, 6) of heart and clavicles, and what they hold."""
    masks = {name: np.zeros((4, 6), dtype=bool) for name in ("heart", "right_clavicle", "left_clavicle")}
    masks["heart"][2:, 3:5], masks["right_clavicle"][0, :2], masks["left_clavicle"][0, 4:] = True, True, True
    for name, mask in masks.items():
        Image.fromarray(mask).save(tmp_path / f"{name}.png")
    return {name: str(tmp_path / f"{name}.png") for name in masks}, masks


def test_channels_of_structures_and_then_their_unknown(masks):
    paths, held = masks
    label = torch.zeros(1, 4, 6)
    label[..., 1:, :2], label[..., 3, 5] = 255, 254
    make = ClassesAndUnknownd("label", OVERLAPPING, structures=["heart", "clavicles"])
    data = make({"label": label, "structures": paths})
    assert data.keys() == {"label"}
    assert data["label"].shape == (6, 4, 6)
    lung, heart, clavicles, *unknown = data["label"].numpy()
    np.testing.assert_array_equal(lung, label[0] == 255)
    np.testing.assert_array_equal(heart, held["heart"])
    np.testing.assert_array_equal(clavicles, held["right_clavicle"] | held["left_clavicle"])
    np.testing.assert_array_equal(unknown[0], label[0] == 254)
    assert not np.any(unknown[1:])
    without = make({"label": label, "structures": {**paths, "heart": "", "left_clavicle": ""}})["label"]
    assert not without[1:3].any()
    assert without[4:].all()


def test_a_mask_of_another_size_is_refused(masks):
    make = ClassesAndUnknownd("label", (255, 3), structures=["heart"])
    with pytest.raises(DataError, match="does not fit a label"):
        make({"label": torch.zeros(1, 6, 4), "structures": masks[0]})


def test_known_structures_are_left_of_prediction_and_label():
    label = torch.zeros(6, 2, 2)
    label[0], label[1, 0], label[3, 0, 0], label[5] = 1, 1, 1, 1
    known = KnownLungsd("pred", classes=OVERLAPPING)({"pred": torch.ones(3, 2, 2), "label": label})
    assert known["pred"].tolist() == [[[0, 1], [1, 1]], [[1, 1], [1, 1]], [[0, 0], [0, 0]]]
    assert known["label"].tolist() == [[[0, 1], [1, 1]], [[1, 1], [0, 0]], [[0, 0], [0, 0]]]


def test_structures_that_overlap_are_mirrored_as_they_are():
    label = torch.rand(6, 4, 4)
    mirror = RandMirrord(["image", "label"], classes=OVERLAPPING, prob=1)
    assert torch.equal(mirror({"image": label[:1], "label": label})["label"], label.flip(-1))


def logits_of(label_map, classes):
    return torch.stack([torch.as_tensor(label_map == value) * 20.0 for value in classes])


def test_sides_are_those_of_the_classes_wherever_they_lie():
    label_map = np.zeros((60, 60), dtype=np.uint8)
    label_map[10:50, 8:24], label_map[10:50, 30:50] = 2, 1  # the other way round than the usual
    logits = logits_of(label_map, CLASSES).transpose(-1, -2)
    found = LungLabelMapd(keys="pred", classes=CLASSES)({"pred": logits})["pred"]
    np.testing.assert_array_equal(found[0].T, label_map)


def test_merged_lungs_are_parted_where_the_classes_change():
    label_map = np.zeros((60, 60), dtype=np.uint8)
    label_map[10:50, 8:20], label_map[10:50, 20:50] = 1, 2
    logits = logits_of(label_map, CLASSES).transpose(-1, -2)
    found = LungLabelMapd(keys="pred", classes=CLASSES)({"pred": logits})["pred"]
    np.testing.assert_array_equal(found[0].T, label_map)


def test_lung_is_the_sum_of_its_classes():
    logits = torch.randn(3, 5, 4)
    lung, right = lung_logits(logits, CLASSES)
    shares = torch.softmax(logits, dim=0)
    torch.testing.assert_close(torch.sigmoid(lung), shares[0] + shares[2])
    torch.testing.assert_close(torch.sigmoid(right), shares[2] / (shares[0] + shares[2]))


def test_the_lungs_of_structures_that_overlap_are_a_channel():
    logits = torch.randn(3, 5, 4)
    lung, right = lung_logits(logits, OVERLAPPING)
    assert torch.equal(lung, logits[0])
    assert right is None


def test_another_number_of_channels_is_refused():
    for call in (
        lambda: lung_logits(torch.zeros(3, 4, 4)),
        lambda: LungLabelMapd(keys="pred")({"pred": torch.zeros(3, 4, 4)}),
        lambda: KnownLungsd(keys="pred")({"pred": torch.zeros(3, 4, 4), "label": torch.zeros(2, 4, 4)}),
    ):
        with pytest.raises(BundleError, match="has 3 output channels"):
            call()


def test_the_stock_app_of_monai_label_gets_the_classes():
    first, *_ = post_transforms(Compose([LungLabelMapd(keys="pred")]), CLASSES)
    assert first.classes == CLASSES
