"""What is special about it: structures beside the lungs have a decoder of their own."""

import pytest
import torch

from lungfield.networks import EfficientNetLite0UNet


@pytest.fixture(scope="module")
def networks():
    """One of the lungs alone, and one with two further structures and the same weights of the lungs."""
    lungs = EfficientNetLite0UNet(pretrained=False).eval()
    further = EfficientNetLite0UNet(pretrained=False, further_channels=2).eval()
    missing, unexpected = further.load_state_dict(lungs.state_dict(), strict=False)
    assert not unexpected
    assert all(name.startswith("further.") for name in missing)
    return lungs, further


def test_further_structures_change_nothing_of_the_lungs(networks):
    lungs, further = networks
    image = torch.rand(1, 1, 100, 64)
    with torch.no_grad():
        logits = further(image)
        assert logits.shape == (1, 3, 100, 64)
        assert torch.equal(logits[:, :1], lungs(image))


def test_further_structures_can_be_scripted(networks):
    image = torch.rand(1, 1, 64, 64)
    with torch.no_grad():
        assert torch.equal(torch.jit.script(networks[1])(image), networks[1](image))


@pytest.mark.parametrize("option", ["widths", "further_widths"])
def test_a_width_for_each_level(option):
    with pytest.raises(ValueError, match="widths needs 4 levels"):
        EfficientNetLite0UNet(pretrained=False, further_channels=1, **{option: (8, 8)})
