import numpy as np
import pytest
import torch

from lungfield.transforms import RandCollimationd, RandForeignObjectsd, RandOpacityd


def sample():
    """Dark lungs in brighter tissue, (1, 64, 64)."""
    label = torch.zeros(1, 64, 64)
    label[:, 15:50, 8:28] = 1
    label[:, 15:50, 36:56] = 1
    return {"image": 0.8 - 0.6 * label, "label": label}


TRANSFORMS = [RandOpacityd, RandCollimationd, RandForeignObjectsd]


@pytest.mark.parametrize("transform", TRANSFORMS)
def test_stays_in_range_and_leaves_the_input_alone(transform):
    data = sample()
    before = {key: value.clone() for key, value in data.items()}
    random = transform(keys="image", prob=1.0)
    random.set_random_state(seed=3)
    for _ in range(20):
        result = random(data)
        assert result["image"].shape == (1, 64, 64)
        assert result["image"].min() >= 0
        assert result["image"].max() <= 1
        assert set(np.unique(result["label"].numpy())) <= {0.0, 1.0}
    assert all(torch.equal(data[key], before[key]) for key in data)


@pytest.mark.parametrize("transform", TRANSFORMS)
def test_is_the_same_with_the_same_seed_and_off_at_prob_0(transform):
    one, two = (
        transform(keys="image", prob=1.0).set_random_state(seed=7)(sample())["image"] for _ in range(2)
    )
    assert torch.equal(one, two)
    assert not torch.equal(one, sample()["image"])
    assert torch.equal(transform(keys="image", prob=0.0)(sample())["image"], sample()["image"])


def test_opacity_brightens_lung_and_nothing_far_from_it():
    random = RandOpacityd(keys="image", prob=1.0).set_random_state(seed=0)
    data = sample()
    for _ in range(10):
        change = random(data)["image"] - data["image"]
        assert change.min() >= 0
        assert change[data["label"] > 0].max() > 0.1
        assert change[:, :5].abs().max() < 1e-3
        assert torch.equal(random(data)["label"], data["label"])


def test_opacity_leaves_an_image_without_lung_alone():
    data = {"image": torch.full((1, 64, 64), 0.5), "label": torch.zeros(1, 64, 64)}
    assert torch.equal(RandOpacityd(keys="image", prob=1.0)(data)["image"], data["image"])


def test_collimation_cuts_the_label_with_the_image():
    random = RandCollimationd(keys="image", prob=1.0, max_border=0.4).set_random_state(seed=1)
    cut = 0
    for _ in range(20):
        result = random(sample())
        gone = (sample()["label"] > 0) & (result["label"] == 0)
        cut += int(gone.sum())
        assert set(np.unique(result["image"][gone].numpy())) <= {0.0, 1.0}
    assert cut > 0
