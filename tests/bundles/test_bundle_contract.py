"""What every shipped bundle keeps; the next bundle is tested by its line in the registry alone."""

import json
import re

import pytest
import torch
import yaml
from ignite.engine import Engine, Events
from monai.bundle import ConfigParser

from lungfield.bundles import BUNDLES, all_bundles, find_bundle
from lungfield.bundles.classes import output_classes, overlapping_classes

REFERENCE = "unet"
"""The bundle that the others are held against."""

FILES = (
    "LICENSE",
    "configs/metadata.json",
    "configs/train.yaml",
    "configs/evaluate.yaml",
    "configs/inference.yaml",
    "configs/multi_gpu_train.yaml",
    "configs/multi_gpu_evaluate.yaml",
    "configs/logging.conf",
    "docs/README.md",
    "docs/data_license.txt",
)

SECTIONS = ("Use", "How well it does", "How it was trained", "What is not as in the paper", "Known limits")

OF_NO_PAPER = "efficientnet_lite0_unet"
"""The recommended bundle, which no paper describes."""


@pytest.fixture(params=BUNDLES)
def bundle(request):
    return find_bundle(request.param)


@pytest.fixture(params=[name for name in BUNDLES if name != OF_NO_PAPER])
def papers_bundle(request):
    return find_bundle(request.param)


def config(bundle, name):
    return yaml.safe_load((bundle.root / "configs" / name).read_text(encoding="utf-8"))


def stacked(bundle, *names):
    """The configs of a bundle as MONAI merges them, unresolved."""
    parser = ConfigParser()
    parser.read_config([str(bundle.root / "configs" / name) for name in names])
    return parser


@pytest.mark.parametrize("name", FILES)
def test_has_its_files(bundle, name):
    assert (bundle.root / name).stat().st_size > 0


def test_weights_are_a_small_state_dict_in_half_precision_that_fits(bundle):
    if not bundle.has_weights:
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
    with torch.device("meta"):  # shapes alone: nothing is computed
        network = parser.get_parsed_content("network_def").eval()
    assert metadata["parameters"] == sum(value.numel() for value in network.parameters())
    assert metadata["version"] in metadata["changelog"]
    image = metadata["network_data_format"]["inputs"]["image"]
    assert image["spatial_shape"] == config(bundle, "inference.yaml")["image_size"]
    with torch.device("meta"):
        logits = network(torch.rand(1, image["num_channels"], *image["spatial_shape"]))
    output = metadata["network_data_format"]["outputs"]["pred"]
    assert logits.shape == (1, output["num_channels"], *output["spatial_shape"])
    assert len(output_classes(metadata)) == output["num_channels"]


def test_metadata_is_that_of_the_other_bundles_but_for_the_network(bundle):
    own = {"name", "version", "changelog", "description", "references", "parameters", "eval_metrics"}
    further = config(bundle, "train.yaml").get("further")
    own |= {"data_source"} if bundle.name == OF_NO_PAPER else set()
    own |= {"label_classes", "pred_classes"} if further else set()
    metadata, reference = bundle.metadata, find_bundle(REFERENCE).metadata
    assert metadata.keys() | {"eval_metrics"} == reference.keys() | {"eval_metrics"}
    packages = dict(metadata["required_packages_version"])
    assert ("timm" in packages) == ("pretrained" in config(bundle, "train.yaml"))
    packages.pop("timm", None)
    assert packages == reference["required_packages_version"]
    for key in metadata.keys() - own - {"required_packages_version", "network_data_format"}:
        assert metadata[key] == reference[key], key
    for kind, name in (("inputs", "image"), ("outputs", "pred")):
        one, other = (each["network_data_format"][kind][name] for each in (metadata, reference))
        differing = {"spatial_shape": None}
        if further and kind == "outputs":
            assert output_classes(metadata) == overlapping_classes(further)
            differing |= {"num_channels": None, "channel_def": None}
        assert one | differing == other | differing


def test_networks_are_the_same_in_all_configs(bundle):
    train, inference = config(bundle, "train.yaml"), config(bundle, "inference.yaml")
    if "pretrained" in train:  # where weights are loaded anyway, none are fetched
        expected = "$checkpoints.encoder_weights(@pretrained, @initial_weights, @resume_from)"
        assert train["network_def"].pop("pretrained") == expected
        assert inference["network_def"].pop("pretrained") is False
        assert config(bundle, "evaluate.yaml")["pretrained"] is False
    if "further" in train:
        assert train["network_def"].pop("further_channels") == "$len(@further)"
        assert inference["network_def"].pop("further_channels") == len(train["further"])
    assert train["network_def"] == inference["network_def"]
    assert train["image_size"] == inference["image_size"]


def test_logs_and_licences_are_the_same(bundle):
    for name in ("configs/logging.conf", "LICENSE"):
        assert (bundle.root / name).read_bytes() == (find_bundle(REFERENCE).root / name).read_bytes()


def test_the_papers_recipe_changes_how_is_trained_and_nothing_else(papers_bundle):
    """No part of the network in it, so that other networks can be trained by it too."""
    paper, reference = config(papers_bundle, "paper.yaml"), config(find_bundle(REFERENCE), "paper.yaml")
    train = config(papers_bundle, "train.yaml")
    if papers_bundle.name == REFERENCE:  # Gurav's network has no normalisation
        assert paper.pop("network_def::norm", "") is None
    reference.pop("network_def::norm")
    augmentations = {"augmentation_of_scene", "augmentation_of_image"}
    assert paper.keys() - train.keys() == set()
    assert paper.keys() | augmentations == reference.keys()
    assert all(paper.get(key, []) == [] for key in augmentations)
    assert paper["output_dir"] == f"runs/{papers_bundle.name}/paper"
    numbers = {"image_size", "max_epochs", "batch_size", "learning_rate"}
    for key in paper.keys() - numbers - augmentations - {"output_dir"}:
        assert paper[key] == reference[key], key


def test_the_papers_recipe_is_adam_at_a_constant_rate(papers_bundle):
    parser = stacked(papers_bundle, "train.yaml", "paper.yaml")
    parser["network"] = torch.nn.Conv2d(1, 1, kernel_size=1)
    optimizer, scheduler = (parser.get_parsed_content(key) for key in ("optimizer", "lr_scheduler"))
    assert type(optimizer) is torch.optim.Adam
    (group,) = optimizer.param_groups
    rate = parser["learning_rate"]
    for _ in range(20):
        assert (group["lr"], group["weight_decay"]) == (rate, 0)
        optimizer.step()
        scheduler.step()
    assert parser.get_parsed_content("early_stop_patience") == parser["max_epochs"]
    image, share = torch.randn(2, 1, 4, 4), torch.rand(2, 1, 4, 4)  # a label is the share of lung in a pixel
    expected = -(share * image.sigmoid().log() + (1 - share) * (-image).sigmoid().log()).mean()
    torch.testing.assert_close(parser.get_parsed_content("loss")(image, share), expected)


@pytest.mark.parametrize("name", ["train.yaml", "inference.yaml"])
def test_configs_name_their_own_bundle(bundle, name):
    """A copied config that still named another bundle would take that one's weights."""
    assert config(bundle, name)["bundle_root"] == f"$command_line.bundle_root('{bundle.name}')"
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
    assert measured == [
        {**one, "transform": "@validate::preprocessing"}
        for one in inference["postprocessing"]["transforms"]
        if one["_target_"] != "SaveImaged"
    ]
    assert evaluate["validate::dataloader"]["batch_size"] == 1
    # One window of the image's size is the whole image, which is cheaper to give to the network as it is.
    assert inference["roi_size"] == "@image_size"
    whole = {"inferer": {"_target_": "SimpleInferer"}}
    assert train["validate"]["inferer"] == inference["inferer"] | whole


@pytest.mark.parametrize(("images", "batches"), [(1, 1), (3, 1), (4, 1), (5, 1), (6, 2)])
def test_no_single_image_is_left_for_the_last_batch(images, batches):
    """Batch normalisation fails on it where a network has shrunk it to a single pixel."""
    parser = stacked(find_bundle(REFERENCE), "train.yaml")
    parser["train::data"] = [{"dataset": "set"}] * images
    parser["train::dataset"] = list(range(images))
    parser["batch_size"], parser["num_workers"] = 4, 0
    assert len(parser.get_parsed_content("train::dataloader")) == batches


def test_a_stop_while_weights_are_saved_leaves_older_ones(tmp_path, monkeypatch):
    parser = stacked(find_bundle(REFERENCE), "train.yaml")
    parser["network"] = torch.nn.Conv2d(1, 1, kernel_size=1)
    parser["averaging"] = None
    parser["ckpt_dir"] = str(tmp_path)
    engines = []
    for section, kind in (("validate", "BestWeights"), ("train", "ResumableCheckpoints")):
        (saver,) = (one for one in parser[section]["handlers"] if one["_target_"].endswith(f".{kind}"))
        if section == "train":
            saver |= {"save_dict": {"network": "@network"}, "validation_handlers": []}
        parser[kind] = saver
        engines.append(Engine(lambda _engine, _batch: None))
        parser.get_parsed_content(kind).attach(engines[-1])

    def save(engine, epoch):
        engine.state.epoch, engine.state.metrics = epoch, {"val_mean_dice": epoch / 10}
        engine.fire_event(Events.EPOCH_COMPLETED)

    def stop(_state, file):
        file.write(b"half")
        raise KeyboardInterrupt

    for engine in engines:
        save(engine, 1)
        save(engine, 2)
    best = (tmp_path / "best_model.pt").read_bytes()
    monkeypatch.setattr(torch, "save", stop)
    for engine in engines:
        with pytest.raises(KeyboardInterrupt):
            save(engine, 3)
    assert {path.name for path in tmp_path.iterdir()} == {"best_model.pt", "checkpoint_epoch=2.pt"}
    assert (tmp_path / "best_model.pt").read_bytes() == best
    assert torch.load(tmp_path / "checkpoint_epoch=2.pt", weights_only=True)


def test_comments_above_the_run_lists_hold(bundle):
    train, evaluate = config(bundle, "train.yaml"), config(bundle, "evaluate.yaml")
    assert train["run"] == train["training"]
    assert evaluate["run"] == evaluate["evaluating"] == evaluate["training"]


def test_card_has_its_sections_and_names_the_network_truly(bundle):
    card = (bundle.root / "docs" / "README.md").read_text(encoding="utf-8")
    expected = [one for one in SECTIONS if bundle.name != OF_NO_PAPER or "paper" not in one]
    assert re.findall(r"^## (.*)$", card, flags=re.MULTILINE) == expected
    assert "**Research software**, not a medical device" in card
    assert f"{bundle.metadata['parameters']:,}" in card
    assert f"bundles/{bundle.name}/configs/train.yaml" in card
    assert f"scripts/promote_weights.py runs/{bundle.name}/" in card
    named = set(re.findall(r"(?:bundles|runs)/(\w+)/", card))
    assert named == {bundle.name}
    for target in re.findall(r"\]\((?!https?:|#)([^)]+)\)", card):
        assert (bundle.root / "docs" / target).exists(), target


def test_registry_and_folders_agree(bundle):
    folders = {path.name for path in bundle.root.parent.iterdir() if (path / "configs").is_dir()}
    assert folders == set(BUNDLES) == {one.name for one in all_bundles()}
    assert json.dumps(bundle.metadata)
