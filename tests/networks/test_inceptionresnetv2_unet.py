import pytest
import torch

from lungfield.networks import InceptionResNetV2UNet
from lungfield.networks.encoders import fit
from lungfield.networks.inceptionresnetv2_unet import LEAST_SIDE


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return InceptionResNetV2UNet(pretrained=False, norm="batch").eval().requires_grad_(False)


def decoder_inputs(network, image):
    """What the decoder is given, and what the encoder found."""
    given, found = [], []
    hooks = [
        network.decoder.register_forward_pre_hook(lambda _, inputs: given.extend(inputs[0])),
        network.encoder.register_forward_hook(lambda _, __, outputs: found.extend(outputs)),
    ]
    network(image)
    for hook in hooks:
        hook.remove()
    return given, found


def test_zeros_around_each_scale_bring_it_to_its_size(network):
    given, found = decoder_inputs(network, torch.rand(1, 1, 128, 160))
    assert [tuple(features.shape[-2:]) for features in given] == [
        (64, 80),
        (32, 40),
        (16, 20),
        (8, 10),
        (4, 5),
    ]
    # Without padding the first convolutions leave 61 of 64 rows: one of zeros above and two below.
    assert found[0].shape[-2:] == (61, 77)
    assert torch.equal(given[0][..., 1:62, 1:78], found[0])
    border = given[0].clone()
    border[..., 1:62, 1:78] = 0
    assert not border.any()
    for whole, part in zip(given, found, strict=True):
        assert part.shape[-1] < whole.shape[-1]
        assert torch.equal(fit(part, *whole.shape[-2:]), whole)


@pytest.mark.parametrize(
    ("size", "inside"), [((1, 40), (96, 96)), ((97, 96), (128, 96)), ((30, 200), (96, 224))]
)
def test_small_pictures_are_enlarged_to_the_least_side(network, size, inside):
    seen = []
    hook = network.encoder.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].shape[-2:]))
    assert network(torch.rand(1, 1, *size)).shape[-2:] == size
    hook.remove()
    assert seen == [inside]


def test_under_the_least_side_the_encoder_has_nothing_left(network):
    assert network.encoder(torch.rand(1, 1, LEAST_SIDE, LEAST_SIDE))[-1].numel() > 0
    with pytest.raises(RuntimeError, match=r"Kernel size|kernel size|too small"):
        network.encoder(torch.rand(1, 1, LEAST_SIDE - 32, LEAST_SIDE - 32))
