"""Labels and outputs by class: what a channel stands for is what the bundle's metadata say."""

import numpy as np
import pytest
import torch
from monai.transforms import Compose

from lungfield.errors import BundleError
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
    lung, right = lung_logits(logits, (255, 3, 253))
    assert torch.equal(lung, logits[0])
    assert right is None


def test_another_number_of_channels_is_refused():
    for call in (
        lambda: lung_logits(torch.zeros(3, 4, 4)),
        lambda: LungLabelMapd(keys="pred")({"pred": torch.zeros(3, 4, 4)}),
        lambda: KnownLungsd(keys="pred")({"pred": torch.zeros(3, 4, 4), "label": torch.zeros(2, 4, 4)}),
    ):
        with pytest.raises(BundleError, match="gives 3 channels"):
            call()


def test_the_stock_app_of_monai_label_gets_the_classes():
    first, *_ = post_transforms(Compose([LungLabelMapd(keys="pred")]), CLASSES)
    assert first.classes == CLASSES
