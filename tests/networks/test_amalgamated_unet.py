import pytest
import timm
import torch

from lungfield.errors import BundleError
from lungfield.networks import AmalgamatedUNet
from lungfield.networks.encoders import fit


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return AmalgamatedUNet(pretrained=False, norm="batch").eval().requires_grad_(False)


def test_stacks_the_features_of_both_encoders(network):
    given = []
    hook = network.decoder.register_forward_pre_hook(lambda _, inputs: given.extend(inputs[0]))
    image = torch.rand(1, 1, 96, 96)
    network(image)
    hook.remove()
    mobile, inception = network.mobilenetv2(image), network.inceptionresnetv2(image)
    for stacked, one, other in zip(given, mobile, inception, strict=True):
        expected = torch.cat([one, fit(other, *one.shape[-2:])], dim=1)
        assert torch.equal(stacked, expected)


def test_meta_learner_is_three_dense_layers_with_dropout(network):
    layers = [layer for layer in network.meta_learner.modules() if isinstance(layer, torch.nn.Conv2d)]
    assert [(layer.out_channels, layer.kernel_size) for layer in layers] == [
        (32, (1, 1)),
        (64, (1, 1)),
        (128, (1, 1)),
    ]
    assert [type(module).__name__ for module in network.meta_learner.modules()].count("BatchNorm2d") == 3
    features = torch.rand(1, 16, 64, 64)
    assert network.meta_learner[-1].p == 0.4
    kept = network.meta_learner[-1].train()(torch.ones_like(features)) > 0
    network.meta_learner[-1].eval()
    assert kept.float().mean() == pytest.approx(0.6, abs=0.02)


def test_a_folder_of_weights_reaches_both_encoders(tmp_path):
    with torch.device("meta"):  # without the seconds that initial values take
        models = {
            "mobilenetv2": timm.create_model("mobilenetv2_100"),
            "inceptionresnetv2": timm.create_model("inception_resnet_v2"),
        }
    states = {
        name: {key: torch.rand(value.shape).to(value.dtype) for key, value in model.state_dict().items()}
        for name, model in models.items()
    }
    torch.save(states["mobilenetv2"], tmp_path / "mobilenetv2.pth")
    with pytest.raises(BundleError, match=r"neither .*inceptionresnetv2"):
        AmalgamatedUNet(pretrained=tmp_path)
    torch.save(states["inceptionresnetv2"], tmp_path / "inceptionresnetv2.pth")
    network = AmalgamatedUNet(pretrained=str(tmp_path))
    for encoder, first, deep in [
        ("mobilenetv2", "conv_stem", "blocks.6.0.conv_pwl"),
        ("inceptionresnetv2", "conv2d_1a.conv", "mixed_7a.branch2.2.conv"),
    ]:
        layers, state = getattr(network, encoder), states[encoder]
        torch.testing.assert_close(
            layers.get_submodule(first).weight, state[f"{first}.weight"].sum(dim=1, keepdim=True)
        )
        assert torch.equal(layers.get_submodule(deep).weight, state[f"{deep}.weight"])
