"""What every shipped bundle keeps; the next bundle is tested by its line in the registry alone."""

import json

import pytest
import torch
import yaml
from monai.bundle import ConfigParser, ConfigWorkflow

from lungfield.inference import BUNDLES, all_bundles, find_bundle

FILES = (
    "LICENSE",
    "configs/metadata.json",
    "configs/train.yaml",
    "configs/evaluate.yaml",
    "configs/inference.yaml",
    "configs/logging.conf",
    "docs/README.md",
    "docs/data_license.txt",
)


@pytest.fixture(params=BUNDLES)
def bundle(request):
    return find_bundle(request.param)


def config(bundle, name):
    return yaml.safe_load((bundle.root / "configs" / name).read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", FILES)
def test_has_its_files(bundle, name):
    assert (bundle.root / name).stat().st_size > 0


def test_weights_are_a_small_state_dict_in_half_precision_that_fits(bundle):
    if not bundle.weights.is_file():
        pytest.skip(f"{bundle.name} ships without weights")
    assert bundle.weights.stat().st_size < 25e6
    state = torch.load(bundle.weights, weights_only=True)
    assert {value.dtype for value in state.values()} <= {torch.float16, torch.int64}
    parser = ConfigParser(config(bundle, "inference.yaml"))
    parser.get_parsed_content("network_def").load_state_dict(state)
    assert all(value.isfinite().all() for value in state.values())


def test_metadata_says_what_the_network_is(bundle):
    metadata = bundle.metadata
    parser = ConfigParser(config(bundle, "inference.yaml"))
    network = parser.get_parsed_content("network_def")
    assert metadata["parameters"] == sum(value.numel() for value in network.parameters())
    assert metadata["version"] in metadata["changelog"]
    image = metadata["network_data_format"]["inputs"]["image"]
    assert image["spatial_shape"] == config(bundle, "inference.yaml")["image_size"]
    with torch.inference_mode():
        logits = network.eval()(torch.rand(1, image["num_channels"], *image["spatial_shape"]))
    assert logits.shape == (1, 1, *metadata["network_data_format"]["outputs"]["pred"]["spatial_shape"])


def test_networks_are_the_same_in_all_configs(bundle):
    train, inference = config(bundle, "train.yaml"), config(bundle, "inference.yaml")
    assert train["network_def"] == inference["network_def"]
    assert train["image_size"] == inference["image_size"]


@pytest.mark.parametrize("name", ["train.yaml", "inference.yaml"])
def test_configs_name_their_own_bundle(bundle, name):
    """A copied config that still named another bundle would take that one's weights."""
    assert config(bundle, name)["bundle_root"] == f"$workflow.bundle_root('{bundle.name}')"
    assert config(bundle, name)["output_dir"].startswith(f"runs/{bundle.name}/")


def test_evaluation_and_training_see_what_inference_sees(bundle):
    """Past the readers, the deterministic steps are the same, one by one."""
    train, inference = config(bundle, "train.yaml"), config(bundle, "inference.yaml")
    evaluate = config(bundle, "evaluate.yaml")

    def on_image(transforms):
        steps = []
        for one in transforms:
            keys = one["keys"] if isinstance(one["keys"], list) else [one["keys"]]
            if set(keys) & {"image", "body"} and one["_target_"] != "LoadImaged":
                steps.append({key: value for key, value in one.items() if key != "keys"})
        return steps

    expected = on_image(inference["preprocessing"]["transforms"])
    assert on_image(train["image_reading"] + train["histogram_normalization"]) == expected
    assert on_image(evaluate["validate::preprocessing::transforms"]) == expected

    measured = evaluate["validate::postprocessing::transforms"]
    assert [one["_target_"] for one in measured] == [
        one["_target_"]
        for one in inference["postprocessing"]["transforms"]
        if one["_target_"] != "SaveImaged"
    ]
    assert measured[-1] == inference["postprocessing"]["transforms"][1]
    assert evaluate["validate::dataloader"]["batch_size"] == 1
    assert train["validate"]["inferer"] == inference["inferer"]


@pytest.mark.parametrize(("name", "kind"), [("train.yaml", "train"), ("inference.yaml", "infer")])
def test_monai_finds_its_properties(bundle, name, kind, monkeypatch):
    path = str(bundle.root / "configs" / name)
    monkeypatch.setattr("sys.argv", ["python", "--config_file", path])
    workflow = ConfigWorkflow(config_file=path, workflow_type=kind, logging_file=False)
    workflow.parser["initialize"] = []
    workflow.initialize()
    assert workflow.check_properties() == []


def test_comments_above_the_run_lists_hold(bundle):
    train, evaluate = config(bundle, "train.yaml"), config(bundle, "evaluate.yaml")
    assert train["run"] == train["training"]
    assert evaluate["run"] == evaluate["evaluating"] == evaluate["training"]


def test_registry_and_folders_agree(bundle):
    folders = {path.name for path in bundle.root.parent.iterdir() if (path / "configs").is_dir()}
    assert folders == set(BUNDLES) == {one.name for one in all_bundles()}
    assert json.dumps(bundle.metadata)
