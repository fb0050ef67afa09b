"""One window of the image's size by default; a smaller `--roi_size` makes windows slide."""

import pytest
import torch
from monai.bundle import ConfigParser

from lungfield.bundles import find_bundle

CONFIG = find_bundle("unet").inference_config


def inferer_with(**overrides):
    parser = ConfigParser()
    parser.read_config(CONFIG)
    parser.update(overrides)
    return parser.get_parsed_content("inferer")


@pytest.mark.parametrize(
    ("overrides", "shape", "count"),
    [({}, (256, 256), 1), ({"roi_size": [128, 128]}, (128, 128), 9)],
)
def test_windows_slide_where_they_are_smaller_than_the_image(overrides, shape, count):
    windows = []

    def network(batch):
        windows.extend(batch)
        return batch

    image = torch.rand(1, 1, 256, 256)
    logits = inferer_with(precision="float32", **overrides)(image, network)
    assert [tuple(window.shape[1:]) for window in windows] == [shape] * count
    torch.testing.assert_close(logits, image)  # where windows overlap, their weights add up to 1
