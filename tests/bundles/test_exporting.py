"""Exports of a small network: what is in the files, that they agree, and what happens when they do not."""

import json
import shutil
import sys

import numpy as np
import onnx
import pytest
import torch
from monai.bundle import ConfigParser, ConfigWorkflow
from PIL import Image

from lungfield.bundles import exporting, find_bundle, shipped
from lungfield.bundles.backends import load_exported, openvino
from lungfield.bundles.exporting import FORMATS, export_network
from lungfield.bundles.predictor import load_network
from lungfield.errors import BundleError, OutputError
from lungfield.networks import UNet

SIDE = 64


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    """The U-Net's bundle with two levels, a 64x64 input and weights at random, its logits about zero."""
    root = tmp_path_factory.mktemp("bundles") / "small"
    (root / "models").mkdir(parents=True)
    shutil.copytree(find_bundle("unet").root / "configs", root / "configs")
    config = ConfigParser.load_config_file(str(root / "configs" / "inference.yaml"))
    config["network_def"]["features"] = [4, 8]
    config["image_size"] = [SIDE, SIDE]
    config["device"] = "$torch.device('cpu')"
    ConfigParser.export_config_file(config, str(root / "configs" / "inference.yaml"), fmt="yaml")
    metadata = json.loads((root / "configs" / "metadata.json").read_text())
    for kind in metadata["network_data_format"].values():
        for one in kind.values():
            one["spatial_shape"] = [SIDE, SIDE]
    (root / "configs" / "metadata.json").write_text(json.dumps(metadata))
    torch.manual_seed(0)
    network = UNet(features=(4, 8), norm="batch").eval()
    with torch.no_grad():
        image = torch.rand(1, 1, SIDE, SIDE)
        network.head.bias -= network(image).median()
    torch.save(network.state_dict(), root / "models" / "model.pt")
    return find_bundle(root)


@pytest.fixture(scope="module", params=FORMATS)
def exported(request, bundle, tmp_path_factory):
    """What `export_network` returns for the small bundle, in each format."""
    path = tmp_path_factory.mktemp("exported") / f"small{FORMATS[request.param]}"
    return export_network(bundle, path, request.param)


def embedded(path):
    """The JSON texts in an exported file, by their names."""
    names = ("metadata.json", "inference.json")
    if path.suffix == ".ts":
        extra = dict.fromkeys(names, "")
        torch.jit.load(path, _extra_files=extra)
        return {name: json.loads(text) for name, text in extra.items()}
    if path.suffix == ".onnx":
        return {one.key: json.loads(one.value) for one in onnx.load(path).metadata_props}
    model = openvino().Core().read_model(path)
    return {name: json.loads(model.get_rt_info(name).astype(str)) for name in names}


def test_says_how_it_compares(exported, bundle):
    folder = exported.path.parent
    assert exported.size_bytes == sum(file.stat().st_size for file in folder.iterdir())
    parameters = sum(value.numel() for value in load_network(bundle).parameters())
    assert exported.size_bytes > 4 * parameters
    assert exported.radiographs == 7
    assert exported.largest_logit > 0.1
    assert exported.max_difference < 1e-5
    assert exported.least_dice == 1


def test_nothing_else_is_left(exported):
    names = {"small.xml", "small.bin"} if exported.format == "openvino" else {exported.path.name}
    assert {file.name for file in exported.path.parent.iterdir()} == names


def test_metadata_and_config_are_inside(exported, bundle):
    found = embedded(exported.path)
    assert found["metadata.json"].items() >= bundle.metadata.items()
    assert found["inference.json"] == ConfigParser.load_config_file(str(bundle.inference_config))


def test_loaded_it_takes_batches(exported, bundle):
    images = torch.rand(3, 1, SIDE, SIDE)
    with torch.inference_mode():
        expected, made = load_network(bundle)(images), load_exported(exported.path)(images)
    torch.testing.assert_close(made, expected, rtol=1e-4, atol=1e-5)


def test_of_any_size_but_for_onnx(exported, bundle):
    network, image = load_exported(exported.path), torch.rand(1, 1, 50, 71)
    if exported.format == "onnx":
        with pytest.raises(Exception, match="Expected: 64"):
            network(image)
        return
    with torch.inference_mode():
        torch.testing.assert_close(network(image), load_network(bundle)(image), rtol=1e-4, atol=1e-5)


def axes(value):
    return [axis.dim_param or axis.dim_value for axis in value.type.tensor_type.shape.dim]


def test_free_axes_of_onnx_have_names(exported):
    if exported.format == "onnx":
        graph = onnx.load(exported.path).graph
        assert [axes(value) for value in (*graph.input, *graph.output)] == [["batch", 1, SIDE, SIDE]] * 2


@pytest.mark.filterwarnings("ignore")
def test_onnx_of_any_size_where_asked_for(bundle, tmp_path):
    export_network(bundle, tmp_path / "any.onnx", "onnx", any_size=True)
    (image,) = onnx.load(tmp_path / "any.onnx").graph.input
    assert axes(image) == ["batch", 1, "height", "width"]
    image = torch.rand(2, 1, 50, 71)
    with torch.inference_mode():
        made, expected = load_exported(tmp_path / "any.onnx")(image), load_network(bundle)(image)
    torch.testing.assert_close(made, expected, rtol=1e-4, atol=1e-5)


def test_monai_runs_it_in_the_networks_place(exported, bundle, tmp_path, monkeypatch):
    """By `--network_file`; the weights that the config names are not looked at."""
    (tmp_path / "in").mkdir()
    shutil.copy(shipped("sample_data") / "images" / "01_dx_explicit.dcm", tmp_path / "in")
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)  # the config replaces it
    config = str(bundle.inference_config)
    monkeypatch.setattr(sys, "argv", ["monai.bundle", "--config_file", config])
    options = {"dataset_dir": str(tmp_path / "in"), "precision": "float32"}
    for name, own in (
        ("eager", {}),
        ("exported", {"network_file": str(exported.path), "checkpoint": str(tmp_path / "none.pt")}),
    ):
        workflow = ConfigWorkflow(
            config,
            workflow_type="infer",
            logging_file=False,
            output_dir=str(tmp_path / name),
            **options,
            **own,
        )
        workflow.initialize()
        workflow.run()
    masks = [
        np.asarray(Image.open(tmp_path / name / "01_dx_explicit_lungs.png")) for name in ("eager", "exported")
    ]
    assert masks[0].any()
    assert np.array_equal(*masks)


def test_it_is_not_run_at_another_size(exported):
    load_exported(exported.path, image_size=(SIDE, SIDE))
    with pytest.raises(BundleError, match=rf"images of {SIDE} x {SIDE} pixels, but this run"):
        load_exported(exported.path, image_size=(96, 64))


def test_size_of_onnx_without_metadata_is_that_of_its_axes(bundle, tmp_path):
    path = export_network(bundle, tmp_path / "a.onnx", "onnx").path
    model = onnx.load(path)
    del model.metadata_props[:]
    onnx.save(model, path)
    with pytest.raises(BundleError, match=rf"for images of {SIDE} x {SIDE}"):
        load_exported(path, image_size=(96, 64))


def test_what_does_not_agree_is_not_kept(bundle, tmp_path, monkeypatch):
    def wrong(path):
        network = load_exported(path)
        return lambda image: network(image) + 0.1

    monkeypatch.setattr(exporting, "load_exported", wrong)
    (tmp_path / "small.ts").write_text("an older one")
    with pytest.raises(OutputError, match=r"does not agree .*'small'.* differs by 0\.1"):
        export_network(bundle, tmp_path / "small.ts", "torchscript")
    assert [file.read_text() for file in tmp_path.iterdir()] == ["an older one"]


def test_what_an_exporter_stumbles_over_is_told_in_a_line(bundle, tmp_path, monkeypatch):
    def stumble(*_):
        raise RuntimeError("no operator of that name\nand ten lines more")

    monkeypatch.setattr(exporting, "to_openvino", stumble)
    with pytest.raises(BundleError, match=r"exported to a\.xml: no operator of that name\. Try"):
        export_network(bundle, tmp_path / "a.xml", "openvino")
    assert not list(tmp_path.iterdir())


def test_wrong_calls_are_refused(bundle, tmp_path):
    with pytest.raises(BundleError, match=r"Unknown export format 'tflite'.* torchscript, onnx, openvino"):
        export_network(bundle, tmp_path / "a.tflite", "tflite")
    with pytest.raises(OutputError, match=r"a\.pb: .* onnx ends in \.onnx"):
        export_network(bundle, tmp_path / "a.pb", "onnx")
    with pytest.raises(BundleError, match=r"weights of the bundle .* is missing"):
        export_network(find_bundle("resnet101_unet"), tmp_path / "a.ts", "torchscript")
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot be written"):
        export_network(bundle, tmp_path / "file" / "a.ts", "torchscript")


@pytest.mark.parametrize(("format", "module"), [("onnx", "onnxscript"), ("openvino", "openvino")])
def test_what_is_not_installed_is_named(bundle, tmp_path, monkeypatch, format, module):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(BundleError, match=rf"pip install 'lungfield\[{format}\]'"):
        export_network(bundle, tmp_path / f"a{FORMATS[format]}", format)
    assert not list(tmp_path.iterdir())


def test_the_command_says_it_to_programs(bundle, tmp_path, call_here):
    path = tmp_path / "new" / "small.ts"
    done = call_here("export", bundle.root, "--format", "torchscript", "-o", path, "--json")
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout.splitlines()[-1])
    assert said["path"] == str(path)
    assert said["size_bytes"] == path.stat().st_size
    assert said["max_difference"] < 1e-5
