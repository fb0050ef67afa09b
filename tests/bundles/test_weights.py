import json
from copy import deepcopy

import pytest
import torch
from monai.transforms import Compose, DeleteItemsd, Resized

from lungfield.bundles.weights import load_weights, note_preparation
from lungfield.errors import BundleError
from lungfield.networks import EfficientNetLite0UNet


def test_weights_must_fit(tmp_path):
    network = torch.nn.Linear(3, 2)
    load_weights(network, None)
    torch.save({"network": {"weight": torch.ones(2, 3), "bias": torch.zeros(2)}}, tmp_path / "whole.pt")
    load_weights(network, tmp_path / "whole.pt")
    assert torch.equal(network.weight, torch.ones(2, 3))
    (tmp_path / "models").mkdir()
    torch.save({"weight": torch.full((2, 3), 2.0), "bias": torch.zeros(2)}, tmp_path / "models" / "model.pt")
    load_weights(network, "shipped", bundle_root=tmp_path)
    assert torch.equal(network.weight, torch.full((2, 3), 2.0))
    torch.save({"weight": torch.ones(2, 4), "bias": torch.zeros(2)}, tmp_path / "other.pt")
    (tmp_path / "text.pt").write_text("not weights")
    for name, message in [("other.pt", "Linear"), ("text.pt", "text.pt"), ("none.pt", "missing")]:
        with pytest.raises(BundleError, match=message):
            load_weights(network, tmp_path / name)


@pytest.mark.parametrize("channels", [1, 2, 5])
def test_channels_that_both_have_keep_their_weights(channels, tmp_path):
    """Training may go on with more structures than the weights were trained for, or with fewer."""
    network = torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3), torch.nn.Conv2d(4, channels, 1))
    own = deepcopy(network.state_dict())
    trained = torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3), torch.nn.Conv2d(4, 2, 1)).state_dict()
    torch.save(trained, tmp_path / "model.pt")
    load_weights(network, tmp_path / "model.pt")
    now = network.state_dict()
    assert torch.equal(now["0.weight"], trained["0.weight"])
    for name in ("1.weight", "1.bias"):
        assert torch.equal(now[name][:2], trained[name][:channels])
        assert torch.equal(now[name][2:], own[name][2:])
    if channels != 2:
        with pytest.raises(BundleError, match="does not hold the weights"):
            load_weights(network, tmp_path / "model.pt", preprocessing=resized(64))


def test_a_part_that_the_weights_lack_starts_at_random(tmp_path):
    lungs = EfficientNetLite0UNet(pretrained=False)
    torch.save(lungs.state_dict(), tmp_path / "model.pt")
    network = EfficientNetLite0UNet(pretrained=False, further_channels=2)
    own = deepcopy(network.state_dict())
    now = load_weights(network, tmp_path / "model.pt").state_dict()
    for name, value in now.items():
        assert torch.equal(value, own[name] if name.startswith("further.") else lungs.state_dict()[name])
    with pytest.raises(BundleError, match="does not hold the weights"):
        load_weights(network, tmp_path / "model.pt", preprocessing=resized(64))


def resized(side):
    return Compose([Resized(keys=["image", "label"], spatial_size=[side, side]), DeleteItemsd(keys="label")])


def test_weights_say_how_their_images_were_prepared(tmp_path):
    """And are a plain state dict all the same."""
    trained = deepcopy(note_preparation(torch.nn.Linear(3, 2), resized(64)))
    torch.save(trained.state_dict(), tmp_path / "best_model.pt")
    torch.save({"network": trained.state_dict()}, tmp_path / "checkpoint.pt")
    torch.save(torch.nn.Linear(3, 2).state_dict(), tmp_path / "silent.pt")
    plain = torch.load(tmp_path / "best_model.pt", weights_only=True)
    torch.nn.Linear(3, 2).load_state_dict(plain)
    assert plain.keys() == {"weight", "bias"}
    for name in ("best_model.pt", "checkpoint.pt"):
        load_weights(torch.nn.Linear(3, 2), tmp_path / name, preprocessing=resized(64))
        load_weights(torch.nn.Linear(3, 2), tmp_path / name)
        with pytest.raises(BundleError, match=r"Resized to 64 x 64, but this run uses Resized to 256 x 256"):
            load_weights(torch.nn.Linear(3, 2), tmp_path / name, preprocessing=resized(256))
    load_weights(torch.nn.Linear(3, 2), tmp_path / "silent.pt", preprocessing=resized(256))


def test_weights_that_note_nothing_are_judged_by_the_metadata_of_their_bundle(tmp_path, caplog):
    path = tmp_path / "models" / "model.pt"
    path.parent.mkdir()
    torch.save(torch.nn.Linear(3, 2).state_dict(), path)
    load_weights(torch.nn.Linear(3, 2), path, preprocessing=resized(64))
    (tmp_path / "configs").mkdir()
    metadata = {"network_data_format": {"inputs": {"image": {"spatial_shape": [256, 256]}}}}
    (tmp_path / "configs" / "metadata.json").write_text(json.dumps(metadata))
    load_weights(torch.nn.Linear(3, 2), path, preprocessing=resized(256))
    assert caplog.messages == []
    load_weights(torch.nn.Linear(3, 2), path, preprocessing=resized(64))
    (message,) = caplog.messages
    assert "resized to 64 x 64" in message
    assert "gives them 256 x 256" in message


def test_weights_never_run_code(tmp_path):
    class Evil:
        def __reduce__(self):
            return (open, (str(tmp_path / "written"), "w"))

    torch.save({"weight": Evil()}, tmp_path / "evil.pt")
    with pytest.raises(BundleError):
        load_weights(torch.nn.Linear(3, 2), tmp_path / "evil.pt")
    assert not (tmp_path / "written").exists()
