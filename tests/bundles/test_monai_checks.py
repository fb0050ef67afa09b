"""What MONAI's model zoo asks of a bundle, by MONAI's own functions."""

import shutil
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from monai.bundle import (
    ConfigParser,
    ConfigWorkflow,
    ckpt_export,
    onnx_export,
    verify_metadata,
    verify_net_in_out,
)

from lungfield.bundles import BUNDLES, DEFAULT_BUNDLE, find_bundle

SCHEMA = Path(__file__).with_name("metadata_schema.json")


@pytest.fixture(params=BUNDLES)
def bundle(request):
    return find_bundle(request.param)


@pytest.fixture
def scratch(tmp_path):
    """A folder for files of hundreds of megabytes, emptied at once: pytest keeps those of three sessions."""
    yield tmp_path
    shutil.rmtree(tmp_path)


def files(bundle):
    configs = bundle.root / "configs"
    return {"meta_file": str(configs / "metadata.json"), "config_file": str(configs / "inference.yaml")}


def weights_and_logits(bundle, folder, image):
    """A file of weights, the shipped one or a random one, and what the network makes of `image` with it."""
    parser = ConfigParser()
    parser.read_config(files(bundle)["config_file"])
    network = parser.get_parsed_content("network_def").eval()
    path = bundle.weights
    if bundle.has_weights:
        network.load_state_dict(torch.load(path, weights_only=True))
    else:
        path = folder / "model.pt"
        torch.save(network.state_dict(), path)
    with torch.inference_mode():
        return str(path), network(image)


def test_metadata_keeps_the_schema(bundle):
    """MONAI fetches the schema unless `filepath` is there; ours asks for all that MONAI's does, and more."""
    verify_metadata(meta_file=files(bundle)["meta_file"], filepath=str(SCHEMA))


@pytest.mark.parametrize("missing", ["required_packages_version", "network_data_format", "intended_use"])
def test_the_schema_finds_what_is_missing(missing, tmp_path):
    metadata = {**find_bundle(DEFAULT_BUNDLE).metadata}
    del metadata[missing]
    ConfigParser.export_config_file(metadata, str(tmp_path / "metadata.json"))
    with pytest.raises(ValueError, match=missing):
        verify_metadata(meta_file=str(tmp_path / "metadata.json"), filepath=str(SCHEMA))


@pytest.mark.parametrize("name", [DEFAULT_BUNDLE, "unet"])
def test_network_takes_and_gives_what_the_metadata_says(name):
    """By MONAI's check; shapes alone are held for every bundle in test_bundle_contract.py."""
    bundle = find_bundle(name)
    verify_net_in_out("network_def", device="cpu", **files(bundle))


@pytest.mark.parametrize(("name", "kind"), [("train.yaml", "train"), ("inference.yaml", "infer")])
def test_monai_finds_its_properties(bundle, name, kind):
    path = str(bundle.root / "configs" / name)
    workflow = ConfigWorkflow(config_file=path, workflow_type=kind, logging_file=False)
    workflow.parser["initialize"] = []
    for key, value in {"pretrained": False, "checkpoint": None}.items():  # weights are fetched or missing
        if key in workflow.parser:
            workflow.parser[key] = value
    # Networks are built in the tests of the contract; the large ones take seconds.
    workflow.parser["network_def"] = {
        "_target_": "torch.nn.Conv2d",
        "in_channels": 1,
        "out_channels": 1,
        "kernel_size": 1,
    }
    workflow.initialize()
    assert workflow.check_properties() == []


@pytest.mark.parametrize("name", [DEFAULT_BUNDLE, "unet"])
def test_exports_to_torchscript(name, scratch):
    """By MONAI's command; that every network can be scripted is tested with the networks."""
    bundle, image = find_bundle(name), torch.rand(1, 1, 96, 80)
    weights, logits = weights_and_logits(bundle, scratch, image)
    exported = scratch / "model.ts"
    ckpt_export(filepath=str(exported), ckpt_file=weights, **files(bundle))
    extra = dict.fromkeys(("metadata.json", "inference.json"), "")
    network = torch.jit.load(exported, _extra_files=extra)
    with torch.inference_mode():
        torch.testing.assert_close(network(image), logits, rtol=1e-4, atol=1e-4)
    assert all(extra.values())  # MONAI Deploy reads its steps from there


@pytest.mark.parametrize("name", [DEFAULT_BUNDLE])
def test_exports_to_onnx(name, scratch):
    """By MONAI's command; that every network can be exported is tested with the networks."""
    bundle, image = find_bundle(name), torch.rand(1, 1, 64, 96)
    weights, logits = weights_and_logits(bundle, scratch, image)
    exported = str(scratch / "model.onnx")
    onnx_export("network_def", exported, weights, input_shape=list(image.shape), **files(bundle))
    session = onnxruntime.InferenceSession(exported, providers=["CPUExecutionProvider"])
    (made,) = session.run(None, {session.get_inputs()[0].name: image.numpy()})
    tolerance = 1e-4 * float(logits.abs().max())
    np.testing.assert_allclose(made, logits.numpy(), rtol=1e-3, atol=tolerance)
