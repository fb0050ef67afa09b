"""The contract that every network keeps; an architecture's own file adds what is special about it."""

import pytest
import torch

from lungfield import networks

# A new network adds its name here.
ALL = ["UNet"]


def build(name, **options):
    torch.manual_seed(0)
    return getattr(networks, name)(norm="batch", **options)


@pytest.fixture(params=ALL)
def name(request):
    return request.param


@pytest.mark.parametrize("size", [(64, 64), (96, 80), (65, 77), (33, 100)])
def test_logits_have_the_size_of_the_input(name, size):
    with torch.inference_mode():
        assert build(name).eval()(torch.rand(2, 1, *size)).shape == (2, 1, *size)


def test_channels_are_settable(name):
    with torch.inference_mode():
        network = build(name, in_channels=3, out_channels=4).eval()
        assert network(torch.rand(1, 3, 64, 64)).shape == (1, 4, 64, 64)


def test_output_is_not_squashed(name):
    with torch.inference_mode():
        logits = build(name).eval()(torch.randn(1, 1, 64, 64) * 50)
    assert logits.min() < 0 or logits.max() > 1


def test_gradients_reach_every_parameter(name):
    network = build(name)
    network(torch.rand(2, 1, 64, 64)).square().mean().backward()
    without = [key for key, value in network.named_parameters() if value.grad is None or not value.grad.any()]
    assert not without


def test_trains_on_a_batch_of_one(name):
    network = build(name).train()
    assert torch.isfinite(network(torch.rand(1, 1, 64, 64))).all()


def test_same_alone_and_in_a_batch(name):
    network = build(name).eval()
    images = torch.rand(3, 1, 64, 64)
    with torch.inference_mode():
        together = network(images)
        alone = torch.cat([network(image[None]) for image in images])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)


def test_deterministic_with_a_seed(name):
    image = torch.rand(1, 1, 64, 64)
    with torch.inference_mode():
        assert torch.equal(build(name).eval()(image), build(name).eval()(image))


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::torch.jit.TracerWarning")
def test_scripted_agrees_with_eager(name):
    network = build(name).eval()
    scripted = torch.jit.script(network)
    with torch.inference_mode():
        for size in [(64, 64), (50, 70)]:
            image = torch.rand(1, 1, *size)
            torch.testing.assert_close(scripted(image), network(image), rtol=1e-4, atol=1e-5)


def test_state_dict_in_half_precision_round_trips(name, tmp_path):
    network = build(name)
    half = {
        key: value.half() if value.is_floating_point() else value
        for key, value in network.state_dict().items()
    }
    torch.save(half, tmp_path / "model.pt")
    other = build(name)
    other.load_state_dict(torch.load(tmp_path / "model.pt", weights_only=True))
    image = torch.rand(1, 1, 64, 64)
    with torch.inference_mode():
        expected, got = network.eval()(image), other.eval()(image)
    assert other.head.weight.dtype == torch.float32
    assert (expected - got).abs().max() < 0.05 * expected.abs().max() + 0.01
