import pytest
import safetensors.torch
import timm
import torch

from lungfield.errors import BundleError
from lungfield.networks import EfficientNetLite0UNet, MobileNetV2UNet
from lungfield.networks.encoders import Decoder, file_of, fit, timm_encoder


@pytest.fixture(scope="module")
def mobilenet():
    """The state dict of a whole MobileNetV2 for pictures in colour, as timm's hub has them."""
    torch.manual_seed(0)
    return timm.create_model("mobilenetv2_100").state_dict()


def save(state, path):
    writer = safetensors.torch.save_file if path.suffix == ".safetensors" else torch.save
    writer(state, path)
    return path


def test_fit_pads_both_sides():
    fitted = fit(torch.ones(1, 2, 2, 3), 4, 6)
    expected = torch.zeros(4, 6)
    expected[1:3, 1:4] = 1  # of three columns that are missing one goes to the left
    assert torch.equal(fitted, expected.expand(1, 2, 4, 6))


def test_fit_cuts_the_bottom_and_right():
    features = torch.arange(20.0).view(1, 1, 4, 5)
    assert torch.equal(fit(features, 3, 3), features[..., :3, :3])


def test_fit_pads_one_side_and_cuts_the_other():
    fitted = fit(torch.ones(1, 1, 2, 5), 4, 3)
    assert torch.equal(fitted[0, 0].sum(dim=1), torch.tensor([0.0, 3, 3, 0]))


def test_fit_leaves_alone_what_fits():
    features = torch.rand(1, 1, 4, 5)
    assert fit(features, 4, 5) is features


@pytest.mark.parametrize("widths", [(8, 6), (8, 6, 4)])
def test_decoder_doubles_the_size_at_each_of_its_levels(widths):
    features = [torch.rand(1, 2, 16, 24), torch.rand(1, 3, 8, 12), torch.rand(1, 5, 4, 6)]
    result = Decoder([2, 3, 5], widths, norm=None)(features)
    assert result.shape == (1, widths[-1], 4 * 2 ** len(widths), 6 * 2 ** len(widths))


def test_encoder_has_five_scales():
    encoder = timm_encoder("mobilenetv2_100", 1, False).eval()
    sides = [features.shape[-1] for features in encoder(torch.rand(1, 1, 64, 64))]
    assert sides == [32, 16, 8, 4, 2]


@pytest.mark.parametrize("ending", [".safetensors", ".pth"])
def test_weights_in_a_file_are_loaded_for_grey_pictures(tmp_path, mobilenet, ending):
    path = save(mobilenet, tmp_path / f"weights{ending}")
    torch.manual_seed(1)
    state = MobileNetV2UNet(pretrained=path).encoder.state_dict()
    torch.testing.assert_close(
        state.pop("conv_stem.weight"), mobilenet["conv_stem.weight"].sum(dim=1, keepdim=True)
    )
    assert len(state) > 200
    assert all(torch.equal(value, mobilenet[key]) for key, value in state.items())


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(
        BundleError, match=r"no\.pth\. Give --pretrained a file of mobilenetv2_100 .* or false"
    ):
        timm_encoder("mobilenetv2_100", 1, tmp_path / "no.pth")


def test_a_file_without_the_encoders_weights_is_refused(tmp_path, mobilenet):
    """timm would go on at random."""
    part = {key: value for key, value in mobilenet.items() if not key.startswith("blocks.3")}
    wrong_shape = mobilenet | {"bn1.weight": torch.ones(7)}
    (tmp_path / "text.pth").write_text("no weights")
    for path, message in [
        (
            save(part, tmp_path / "part.pth"),
            r"part.pth holds no weights of mobilenetv2_100: it lacks blocks\.3",
        ),
        (save(wrong_shape, tmp_path / "shape.pth"), r"shape.pth holds no weights .*RuntimeError"),
        (tmp_path / "text.pth", "text.pth holds no weights"),
    ]:
        with pytest.raises(BundleError, match=f"{message}.* Give --pretrained a file"):
            timm_encoder("mobilenetv2_100", 1, path)


def test_without_a_network_the_user_learns_how_to_go_on(monkeypatch, tmp_path):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(
        BundleError, match=r"mobilenetv2_100 .*huggingface\.co.* --pretrained false, or .*PATH"
    ):
        timm_encoder("mobilenetv2_100", 1, True)


def test_a_folder_has_a_file_of_each_encoder(tmp_path):
    (tmp_path / "mobilenetv2.pth").touch()
    assert file_of(tmp_path, "mobilenetv2") == tmp_path / "mobilenetv2.pth"
    (tmp_path / "mobilenetv2.safetensors").touch()
    assert file_of(str(tmp_path), "mobilenetv2") == tmp_path / "mobilenetv2.safetensors"
    with pytest.raises(
        BundleError, match=r"inceptionresnetv2\.safetensors nor inceptionresnetv2\.pth .*folder"
    ):
        file_of(tmp_path, "inceptionresnetv2")


@pytest.mark.parametrize("pretrained", [True, False])
def test_without_a_folder_all_encoders_are_alike(pretrained):
    assert file_of(pretrained, "mobilenetv2") is pretrained


def test_the_packages_weights_are_loaded_in_their_order(tmp_path):
    """Layers of other names in the same order, and a classifier on top."""
    torch.manual_seed(0)
    whole = timm.create_model("efficientnet_lite0", features_only=True).state_dict()
    renamed = {f"_layer.{number}": value for number, value in enumerate(whole.values())}
    renamed = {"_conv_stem.weight": renamed.pop("_layer.0")} | renamed | {"_fc.weight": torch.rand(2, 2)}
    path = save(renamed, tmp_path / "weights.pth")
    state = EfficientNetLite0UNet(pretrained=path).encoder.state_dict()
    torch.testing.assert_close(
        state.pop("conv_stem.weight"), whole["conv_stem.weight"].sum(dim=1, keepdim=True)
    )
    assert all(torch.equal(value, whole[key]) for key, value in state.items())


def test_weights_of_another_order_are_refused(tmp_path):
    whole = timm.create_model("efficientnet_lite0", features_only=True).state_dict()
    values = list(whole.values())
    renamed = {f"_layer.{number}": value for number, value in enumerate(reversed(values[1:]))}
    path = save({"_conv_stem.weight": values[0]} | renamed, tmp_path / "weights.pth")
    with pytest.raises(BundleError, match="holds no weights of efficientnet_lite0"):
        EfficientNetLite0UNet(pretrained=path)
