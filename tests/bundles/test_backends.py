"""Exported networks as files, and OpenVINO in torch's place."""

import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from PIL import Image

from lungfield import read_radiograph
from lungfield.batch import Options, segment_files
from lungfield.bundles import DEFAULT_BUNDLE, find_bundle, shipped
from lungfield.bundles.backends import OpenVINONetwork, load_exported, openvino, to_openvino
from lungfield.bundles.precision import best_precision
from lungfield.bundles.predictor import Predictor, find_device, input_shape
from lungfield.errors import BundleError
from lungfield.mask import agreement
from lungfield.networks import UNet
from lungfield.pipeline import segmenting

SAMPLES = [
    shipped("sample_data") / "images" / name for name in ("01_dx_explicit.dcm", "05_capture_deflated.dcm")
]


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return UNet(features=(8, 16, 32), norm="batch").eval().requires_grad_(False)


@pytest.fixture(scope="module")
def in_openvino(network):
    return OpenVINONetwork(to_openvino(network, (1, 1, 64, 64)))


def test_openvino_gives_the_same_bits_alone_in_a_batch_and_among_threads(network, in_openvino):
    images = torch.rand(8, 1, 64, 64)
    together = in_openvino(images)
    torch.testing.assert_close(together, network(images), rtol=1e-4, atol=1e-5)
    with ThreadPoolExecutor(4) as threads:
        apart = list(threads.map(in_openvino, images.split(1)))
    assert torch.equal(torch.cat(apart), together)


def test_openvino_computes_in_the_precision_of_autocast(network, in_openvino):
    image = torch.rand(1, 1, 64, 64)
    exact = in_openvino(image)
    with torch.autocast("cpu", torch.bfloat16):
        rounded, expected = in_openvino(image), network(image).float()
    assert rounded.dtype == torch.float32
    torch.testing.assert_close(rounded, expected, rtol=0.05, atol=0.05)
    if best_precision(torch.device("cpu")) == "bfloat16":  # elsewhere OpenVINO stays with float32
        assert not torch.equal(rounded, exact)
    assert torch.equal(in_openvino(image), exact)


def test_openvino_tells_nobody_of_its_use():
    """Its own module for that would send the news of the import over the internet."""
    openvino()
    from openvino.tools.ovc import telemetry_utils

    assert telemetry_utils.tm.__name__ == "openvino.tools.ovc.telemetry_stub"


@pytest.fixture(scope="module")
def predictors():
    bundle = find_bundle(DEFAULT_BUNDLE)
    return [Predictor(bundle, device="cpu", backend="torch"), Predictor(bundle, backend="openvino")]


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.stem)
def test_predictors_on_either_backend_agree(predictors, path):
    radiograph = read_radiograph(path)
    lungs, others = (one.drive(segmenting(radiograph, one.processing)) for one in predictors)
    assert agreement(others.label_map, lungs.label_map, spacing=None).dice > 0.998
    assert np.abs(others.probability - lungs.probability).mean() < 0.002


def test_a_batch_on_openvino_gives_the_masks_of_the_predictor(predictors, tmp_path):
    options = Options(formats=("mask",), report=False, workers=1, backend="openvino")
    batch = segment_files(SAMPLES, tmp_path, options=options)
    for path, row in zip(SAMPLES, batch.files, strict=True):
        mask = np.asarray(Image.open(tmp_path / row["mask"]))
        lungs = predictors[1].drive(segmenting(read_radiograph(path), predictors[1].processing))
        assert np.array_equal(mask, lungs.label_map), path.name


def test_a_backend_that_cannot_be_is_refused(monkeypatch, tmp_path):
    with pytest.raises(BundleError, match=r"no backend 'tpu': choose auto, torch, openvino"):
        find_device("auto", "tpu")
    with pytest.raises(BundleError, match="OpenVINO runs on the CPU here, not on 'cuda'"):
        find_device("cuda", "openvino")
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(BundleError, match=r"pip install 'lungfield\[openvino\]'"):
        segment_files(SAMPLES, tmp_path / "out", options=Options(backend="openvino"))
    assert not (tmp_path / "out").exists()


def test_a_bundle_has_to_say_the_shape_of_its_input(tmp_path):
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "inference.yaml").touch()
    (tmp_path / "configs" / "metadata.json").write_text('{"network_data_format": {"inputs": {"image": {}}}}')
    with pytest.raises(BundleError, match=r"metadata\.json lacks the shape .* spatial_shape"):
        input_shape(find_bundle(tmp_path))
    assert input_shape(find_bundle("unet")) == (1, 1, 256, 256)


@pytest.mark.parametrize("ending", [".ts", ".onnx", ".xml"])
def test_a_damaged_or_missing_file_is_named(tmp_path, ending):
    path = tmp_path / f"network{ending}"
    with pytest.raises(BundleError, match=rf"missing: .*network\{ending}.*`lungfield export`"):
        load_exported(path)
    path.write_text("no network")
    with pytest.raises(BundleError, match=rf"network\{ending} cannot be read as an exported network"):
        load_exported(path)


def test_a_file_of_another_kind_is_refused(tmp_path):
    with pytest.raises(BundleError, match=r"network\.bin does not have the suffix .* \.ts, \.onnx or \.xml"):
        load_exported(tmp_path / "network.bin")


def test_engines_of_tensorrt_are_made_known_to_torch(network, tmp_path, monkeypatch):
    """By importing its module, where there is one, before the file is read."""
    (tmp_path / "torch_tensorrt.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    torch.jit.save(torch.jit.script(network), tmp_path / "network.ts")
    image = torch.rand(1, 1, 32, 32)
    torch.testing.assert_close(load_exported(tmp_path / "network.ts")(image), network(image))
    assert sys.modules.pop("torch_tensorrt").__file__ == str(tmp_path / "torch_tensorrt.py")
