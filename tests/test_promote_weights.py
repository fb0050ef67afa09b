import runpy
import shutil
from pathlib import Path

import pytest
import torch
import typer
from typer.testing import CliRunner

from lungfield.bundles import find_bundle
from lungfield.bundles.predictor import _parse
from lungfield.bundles.weights import note_preparation, noted_preparation, preparation
from lungfield.networks import UNet

(PREPROCESSING,) = _parse(find_bundle("unet"), "cpu", "preprocessing")

APP = typer.Typer()
APP.command()(runpy.run_path(str(Path(__file__).parents[1] / "scripts" / "promote_weights.py"))["main"])


def promote(*paths):
    return CliRunner().invoke(APP, [*map(str, paths)])


@pytest.fixture
def bundle(tmp_path):
    shutil.copytree(find_bundle("unet").root / "configs", tmp_path / "unet" / "configs")
    return tmp_path / "unet"


def test_weights_arrive_in_half_precision(bundle, tmp_path):
    last, network = UNet(norm="batch"), UNet(norm="batch")
    state = {"network": last.state_dict(), "averaged_network": network.state_dict(), "optimizer": {}}
    torch.save(state, tmp_path / "checkpoint.pt")
    done = promote(tmp_path / "checkpoint.pt", bundle)
    assert done.exit_code == 0, done.output
    state = torch.load(bundle / "models" / "model.pt", weights_only=True)
    assert state["head.weight"].dtype == torch.float16
    torch.testing.assert_close(state["head.weight"].float(), network.head.weight, rtol=1e-3, atol=1e-4)


def test_weights_for_other_images_do_not(bundle, tmp_path):
    network = UNet(norm="batch")
    torch.save(note_preparation(network, PREPROCESSING).state_dict(), tmp_path / "fits.pt")
    assert promote(tmp_path / "fits.pt", bundle).exit_code == 0
    state = torch.load(bundle / "models" / "model.pt", weights_only=True)
    assert noted_preparation(state) == preparation(PREPROCESSING)
    config = bundle / "configs" / "inference.yaml"
    config.write_text(config.read_text().replace("[256, 256]", "[64, 64]"))
    done = promote(tmp_path / "fits.pt", bundle)
    assert "Resized to 256 x 256" in str(done.exception)


def test_other_weights_and_infinities_do_not(bundle, tmp_path):
    torch.save(torch.nn.Linear(2, 2).state_dict(), tmp_path / "other.pt")
    huge = UNet(norm="batch").state_dict()
    huge["head.bias"] += 1e6
    torch.save(huge, tmp_path / "huge.pt")
    for name in ("other.pt", "huge.pt"):
        assert promote(tmp_path / name, bundle).exit_code != 0
    assert not (bundle / "models" / "model.pt").exists()


def test_several_are_averaged(bundle, tmp_path):
    networks = [UNet(norm="batch"), UNet(norm="batch")]
    for number, network in enumerate(networks):
        torch.save(network.state_dict(), tmp_path / f"{number}.pt")
    done = promote(tmp_path / "0.pt", tmp_path / "1.pt", bundle)
    assert done.exit_code == 0, done.output
    state = torch.load(bundle / "models" / "model.pt", weights_only=True)
    expected = (networks[0].head.weight + networks[1].head.weight) / 2
    torch.testing.assert_close(state["head.weight"].float(), expected, rtol=1e-3, atol=1e-4)
    torch.save(torch.nn.Linear(2, 2).state_dict(), tmp_path / "other.pt")
    done = promote(tmp_path / "0.pt", tmp_path / "other.pt", bundle)
    assert "not the weights of one network" in str(done.exception)
