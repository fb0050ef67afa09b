"""The contract that every network keeps; an architecture's own file adds what is special about it."""

import copy
import inspect

import pytest
import torch

from lungfield import networks
from lungfield.bundles.backends import OpenVINONetwork, to_openvino

# A new network adds its name here.
ALL = [
    "UNet",
    "GSConvUNet",
    "AGMinASPPGSConvUNet",
    "ResNet101UNet",
    "MobileNetV2UNet",
    "InceptionResNetV2UNet",
    "AmalgamatedUNet",
    "EfficientNetLite0UNet",
]
# Made of two others that are here, and as large as both.
TWOFOLD = "AmalgamatedUNet"
# Whose kinds of layers the exporter to ONNX, the slowest of them, can stumble over, beside those of the
# default bundle, which is exported with the bundles.
IN_ONNX = ("AGMinASPPGSConvUNet",)
# And here where it has options that change what is computed.
VARIANTS = {"gated": ("GSConvUNet", {"kind": "gated"}), "shuffle": ("GSConvUNet", {"kind": "shuffle"})}


def build(name, **options):
    name, own = VARIANTS.get(name, (name, {}))
    network = getattr(networks, name)
    # Small where that is free to choose: the contract does not depend on it.
    quick = {"pretrained": False, "features": (8, 16)}
    own = own | {key: quick[key] for key in quick if key in inspect.signature(network).parameters}
    torch.manual_seed(0)
    return network(**{"norm": "batch"} | own | options)


def settled(network):
    """A network in evaluation whose batch normalisation knows its features, as after training.

    Where it does not, features grow from layer to layer, and rounding decides what attention prefers.
    """
    for layer in network.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            layer.momentum = 1.0
    with torch.no_grad():
        network.train()(torch.rand(2, 1, 128, 128))
    return network.eval().requires_grad_(False)


def slow_unless(quick, names):
    return [name if name in quick else pytest.param(name, marks=pytest.mark.slow) for name in names]


@pytest.fixture(scope="module", params=slow_unless({*ALL, *VARIANTS} - {TWOFOLD}, [*ALL, *VARIANTS]))
def name(request):
    return request.param


@pytest.fixture(scope="module")
def network(name):
    """A network that the tests share, and leave as it is."""
    return settled(build(name))


@pytest.mark.parametrize("size", [(65, 77), (33, 100), (1, 5)])
def test_logits_have_the_size_of_the_input(network, size):
    logits = network(torch.rand(2, 1, *size))
    assert logits.shape == (2, 1, *size)
    assert logits.isfinite().all()


def test_same_alone_and_in_a_batch(network):
    images = torch.rand(3, 1, 64, 64)
    alone = torch.cat([network(image[None]) for image in images])
    torch.testing.assert_close(network(images), alone, rtol=1e-3, atol=1e-3)


def test_output_is_not_squashed(network):
    logits = network(torch.randn(1, 1, 64, 64) * 50)
    assert logits.min() < 0 or logits.max() > 1


def test_deterministic_with_a_seed(name, network):
    image = torch.rand(1, 1, 64, 64)
    assert torch.equal(settled(build(name))(image), network(image))


@pytest.mark.parametrize("norm", [None, "instance"])
def test_other_channels_and_normalisations(name, norm):
    network = build(name, in_channels=3, out_channels=4, norm=norm).train()
    logits = network(torch.rand(2, 3, 64, 64))
    assert logits.shape == (2, 4, 64, 64)
    assert logits.isfinite().all()


def test_gradients_reach_every_parameter(network):
    network = copy.deepcopy(network).train().requires_grad_(True)
    for layer in network.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):  # timm starts the residual branches of ResNet at zero
            torch.nn.init.ones_(layer.weight)
    network(torch.rand(2, 1, 64, 64)).square().mean().backward()
    without = [key for key, value in network.named_parameters() if value.grad is None or not value.grad.any()]
    assert not without


def test_trains_on_a_batch_of_one(name, network):
    # Batch normalisation needs more than one pixel, at the deepest scale too.
    side = {
        "ResNet101UNet": 64,
        "MobileNetV2UNet": 64,
        "InceptionResNetV2UNet": 128,
        "AmalgamatedUNet": 128,
        "EfficientNetLite0UNet": 64,
    }
    image = torch.rand(1, 1, side.get(name, 4), side.get(name, 4))
    assert copy.deepcopy(network).train()(image).isfinite().all()


def test_state_dict_in_half_precision_round_trips(name, network, tmp_path):
    half = {
        key: value.half() if value.is_floating_point() else value
        for key, value in network.state_dict().items()
    }
    torch.save(half, tmp_path / "model.pt")
    torch.manual_seed(1)
    other = build(name).eval().requires_grad_(False)
    other.load_state_dict(torch.load(tmp_path / "model.pt", weights_only=True))
    image = torch.rand(1, 1, 64, 64)
    expected, got = network(image), other(image)
    assert got.dtype == torch.float32
    assert (expected - got).abs().max() < 0.05 * expected.abs().max() + 0.01


@pytest.fixture(scope="module")
def short_network(network):
    """The network with two of the many equal blocks in a row that encoders have: compiling takes long."""
    short = copy.deepcopy(network)
    for module in list(short.modules()):
        for name, row in module.named_children():
            kinds = {type(one) for one in row} if isinstance(row, torch.nn.Sequential) else ()
            if len(kinds) == 1 and torch.nn.Sequential not in kinds and len(row) > 4:
                setattr(module, name, row[:2])
    return settled(short)


@pytest.mark.filterwarnings("ignore:`torch.jit")
def test_scripted_agrees_with_eager(short_network):
    scripted = torch.jit.script(short_network)
    for size in [(64, 64), (50, 70)]:
        image = torch.rand(2, 1, *size)
        torch.testing.assert_close(scripted(image), short_network(image), rtol=1e-3, atol=1e-3)


@pytest.mark.filterwarnings("ignore")
def test_openvino_agrees_with_eager(short_network):
    """It is made by following an image through the network, as a trace is: a trace agrees where this does."""
    made, image = OpenVINONetwork(to_openvino(short_network, (1, 1, 50, 70))), torch.rand(2, 1, 50, 70)
    torch.testing.assert_close(made(image), short_network(image), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    "name",
    slow_unless(IN_ONNX, [one for one in ALL if one not in ("UNet", TWOFOLD)]),
    indirect=True,
    scope="module",
)
@pytest.mark.filterwarnings("ignore")
def test_onnx_agrees_with_eager(short_network, export_to_onnx):
    """At one size; what the variants are made of is tested at any by itself, and so is the U-Net."""
    run = export_to_onnx(short_network, torch.rand(2, 1, 50, 70))
    image = torch.rand(2, 1, 50, 70)
    torch.testing.assert_close(run(image), short_network(image), rtol=1e-3, atol=1e-3)
