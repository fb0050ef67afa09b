import numpy as np
import torch

from lungfield.transforms import BodyMaskd
from lungfield.transforms.body import find_body


def picture():
    """A body of middle grey with black and white spots inside, black collimation and a white corner."""
    image = np.full((40, 50), 0.5, dtype=np.float32)
    image[:, :5] = 0
    image[35:, 45:] = 1
    image[20, 20] = 0
    image[22, 22] = 1
    return image


def test_flat_regions_at_the_edge_are_not_body():
    body = find_body(picture())
    assert not body[:, :5].any()
    assert not body[35:, 45:].any()
    assert body[20, 20]
    assert body[22, 22]
    assert body.sum() == 40 * 50 - 40 * 5 - 25


def test_all_is_body_where_little_would_be_left():
    image = np.zeros((40, 50), dtype=np.float32)
    image[18:22, 18:22] = np.linspace(0.1, 1, 16).reshape(4, 4)
    assert find_body(image).all()


def test_what_does_not_reach_the_edge_is_body():
    image = np.full((40, 50), 0.5, dtype=np.float32)
    image[1:5, 1:5], image[30:39, 40:49] = 0, 1
    assert find_body(image).all()


def test_constant_image_is_all_body():
    assert find_body(np.zeros((10, 10), dtype=np.float32)).all()


def test_equalisation_does_not_see_the_border():
    """The same chest gets the same grey levels with and without a black border."""
    from monai.transforms import Compose, HistogramNormalized

    rng = np.random.default_rng(0)
    inside = rng.uniform(0.2, 0.8, size=(60, 60)).astype(np.float32)
    inside[0, 0], inside[0, 1] = 0.1, 0.9
    framed = np.zeros((100, 100), dtype=np.float32)
    framed[20:80, 20:80] = inside
    equalise = Compose(
        [
            BodyMaskd(keys="image", mask_key="body"),
            HistogramNormalized(keys="image", mask_key="body", min=0, max=1),
        ]
    )
    alone = equalise({"image": torch.from_numpy(inside[None])})["image"][0]
    within = equalise({"image": torch.from_numpy(framed[None])})["image"][0, 20:80, 20:80]
    torch.testing.assert_close(alone, within, atol=0.01, rtol=0)
