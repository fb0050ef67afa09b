"""Which backend is chosen, and what is kept of the choice."""

import importlib.util
import json
import shutil

import pytest
import torch

from lungfield.bundles import backend_choice, find_bundle
from lungfield.bundles.backend_choice import choose_backend, openvino_folder, openvino_model
from lungfield.bundles.predictor import Predictor, Processing, load_network, plain, sample_radiographs
from lungfield.bundles.quantization import measure_ranges, quantised, read_ranges, write_ranges
from lungfield.errors import BundleError
from lungfield.networks import UNet

# `importorskip` would import it with its telemetry.
pytestmark = pytest.mark.skipif(not importlib.util.find_spec("openvino"), reason="OpenVINO is not installed")

CPU = torch.device("cpu")


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("LUNGFIELD_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="module")
def bundle():
    return find_bundle("unet")


@pytest.fixture
def small(tmp_path):
    """A bundle like that one, whose network is converted at once."""
    root = tmp_path / "small"
    shutil.copytree(find_bundle("unet").root / "configs", root / "configs")
    config = root / "configs" / "inference.yaml"
    config.write_text(config.read_text().replace("[32, 64, 128, 256, 512]", "[8, 16]"))
    (root / "models").mkdir()
    network = UNet(in_channels=1, out_channels=1, features=(8, 16), norm="batch")
    torch.save(network.state_dict(), root / "models" / "model.pt")
    return find_bundle(root)


def test_openvino_agrees_and_the_answer_is_kept(bundle, monkeypatch):
    """In the cache that the tests share: the comparison takes 8 s of CPU."""
    choice = choose_backend(bundle, CPU)
    assert choice.backend == "openvino"
    assert "lowest Dice with float32" in choice.remark
    kept = json.loads((openvino_folder(bundle) / "agreement.json").read_text())
    assert 0.999 < kept["openvino"] <= 1
    monkeypatch.setattr(backend_choice, "_compare", lambda _: pytest.fail("compared again"))
    assert choose_backend(bundle, CPU) == choice


@pytest.mark.parametrize(
    ("dice", "expected"),
    [
        ({"torch": 1.0, "openvino": 0.9996}, "openvino"),
        ({"torch": 1.0, "openvino": 0.9994}, "torch"),
        ({"torch": 0.9980, "openvino": 0.9985}, "openvino"),
        ({"torch": 0.9990, "openvino": 0.9985}, "torch"),
        ({"torch": 1.0, "openvino": 0.9996, "openvino-int8": 0.992}, "openvino-int8"),
        ({"torch": 1.0, "openvino": 0.9996, "openvino-int8": 0.5}, "openvino"),
    ],
)
def test_it_is_chosen_where_its_masks_are_as_close_as_they_have_to_be(
    cache, bundle, monkeypatch, dice, expected
):
    monkeypatch.setattr(backend_choice, "openvino_model", lambda _: None)
    monkeypatch.setattr(backend_choice, "_compare", lambda _: dice)
    assert choose_backend(bundle, CPU).backend == expected


def test_integers_where_the_bundle_has_ranges_and_the_processor_no_bfloat16(cache, small, monkeypatch):
    with pytest.raises(BundleError, match=r"no ranges for 8-bit integers.*calibrate_int8"):
        openvino_model(small, int8=True)
    network = load_network(small)
    images = [plain(Processing(small).prepare(one)["image"])[None] for one in sample_radiographs()]
    write_ranges(small, measure_ranges(network, images, least_share=0.1))
    monkeypatch.setattr(backend_choice, "best_precision", lambda _: "bfloat16")
    assert choose_backend(small, CPU).backend != "openvino-int8"
    monkeypatch.setattr(backend_choice, "best_precision", lambda _: "float32")
    monkeypatch.setattr(backend_choice, "LEAST_DICE_INT8", 0.0)  # untrained: its logits are near 0
    assert choose_backend(small, CPU).backend == "openvino-int8"
    predictor = Predictor(small, device="cpu", backend="openvino-int8")
    with torch.inference_mode():
        expected = quantised(network, read_ranges(small))(images[0])
    torch.testing.assert_close(
        predictor.logits_in_float32(images[0]), expected, rtol=0.01, atol=0.05
    )  # a value may round to the next step
    types = {str(op.get_type_name()) for op in openvino_model(small, int8=True).get_ops()}
    assert "FakeQuantize" in types


def test_other_weights_are_compared_anew(cache, bundle, tmp_path):
    copy = tmp_path / "unet"
    shutil.copytree(bundle.root, copy)
    state = torch.load(copy / "models" / "model.pt", weights_only=True)
    next(iter(state.values())).add_(0.5)
    torch.save(state, copy / "models" / "model.pt")
    assert openvino_folder(find_bundle(copy)) != openvino_folder(bundle)


def test_no_other_device_asks_for_openvino(cache, bundle):
    assert choose_backend(bundle, torch.device("cuda")).backend == "torch"
    assert not cache.exists()


def test_a_cache_that_cannot_be_written_leaves_torch_and_says_why(tmp_path, small, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("LUNGFIELD_CACHE", str(tmp_path / "file" / "cache"))
    choice = choose_backend(small, CPU)
    assert choice.backend == "torch"
    assert "LUNGFIELD_CACHE" in choice.remark
    assert openvino_model(small).inputs  # asked for by name, it runs all the same


def test_a_user_without_a_home_is_told_what_to_set(bundle, monkeypatch):
    monkeypatch.delenv("LUNGFIELD_CACHE", raising=False)

    def without_home(_name):
        raise RuntimeError("could not determine the home directory")

    monkeypatch.setattr("platformdirs.user_cache_path", without_home)
    assert "set LUNGFIELD_CACHE" in choose_backend(bundle, CPU).remark


def test_a_damaged_file_in_the_cache_is_made_again(cache, small):
    openvino_model(small)
    file = openvino_folder(small) / "float" / "network.xml"
    file.write_text("<net")
    assert openvino_model(small).inputs
    assert not file.exists()
    assert openvino_model(small).inputs
    assert file.read_text() != "<net"


def test_a_network_that_cannot_be_converted_leaves_torch(cache, bundle, monkeypatch):
    def fail(*_):
        raise TypeError("no such operation")

    monkeypatch.setattr(backend_choice, "to_openvino", fail)
    choice = choose_backend(bundle, CPU)
    assert choice.backend == "torch"
    assert "TypeError" in choice.remark
