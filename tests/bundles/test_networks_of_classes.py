"""A bundle whose network gives classes is trained, measured and used by the names in its metadata."""

import csv
import json
import shutil

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from sided import Sided

from lungfield.bundles import find_bundle
from lungfield.bundles.classes import output_classes
from lungfield.errors import BundleError, user_error
from lungfield.mask import agreement
from lungfield.pipeline import Segmenter

ORDER = ["left lung", "background", "right lung"]
HERE = {"num_workers": 0, "device": "cpu", "precision": "float32"}


def metadata_of(root, **output):
    path = root / "configs" / "metadata.json"
    metadata = json.loads(path.read_text())
    metadata["network_data_format"]["outputs"]["pred"] |= output
    path.write_text(json.dumps(metadata))


@pytest.fixture
def root(tmp_path):
    """A copy of `unet` with another network, of three classes."""
    root = tmp_path / "three"
    shutil.copytree(find_bundle("unet").root / "configs", root / "configs")
    for name in ("train.yaml", "inference.yaml"):
        path = root / "configs" / name
        config = yaml.safe_load(path.read_text())
        config |= {"network_def": {"_target_": "sided.Sided", "order": ORDER}, "image_size": [64, 64]}
        path.write_text(yaml.safe_dump(config, sort_keys=False))
    metadata_of(root, num_channels=3, channel_def=dict(zip("012", ORDER, strict=True)))
    (root / "models").mkdir()
    torch.save(Sided(ORDER).state_dict(), root / "models" / "model.pt")
    return root


def assert_lungs(label_map, reference):
    for value in (1, 2):
        assert agreement(label_map == value, reference == value, spacing=None).dice > 0.9


def test_masks_are_those_of_the_classes(root, tiny_dataset):
    lungs = Segmenter(root, device="cpu", backend="torch")(tiny_dataset / "images" / "0.png")
    reference = np.asarray(Image.open(tiny_dataset / "labels" / "0.png"))
    assert_lungs(lungs.label_map, reference)
    lung = np.asarray(
        Image.fromarray((reference > 0).astype(np.uint8)).resize((64, 64), Image.Resampling.NEAREST)
    )
    assert np.mean(lungs.probability[lung == 1] > 0.5) > 0.9
    assert np.mean(lungs.probability[lung == 0] > 0.5) < 0.1


def test_inference_obeys_the_classes(root, tiny_dataset, run, tmp_path):
    out = tmp_path / "out"
    run(
        root, "infer", "inference.yaml", dataset_dir=str(tiny_dataset / "images"), output_dir=str(out), **HERE
    )
    assert_lungs(
        np.asarray(Image.open(out / "3_lungs.png")), np.asarray(Image.open(tiny_dataset / "labels" / "3.png"))
    )


def test_evaluation_measures_each_lung(root, tiny_dataset, run, tmp_path):
    out = tmp_path / "out"
    files = ("train.yaml", "evaluate.yaml")
    run(root, "infer", *files, dataset_dir=str(tiny_dataset), output_dir=str(out), **HERE)
    summary = json.loads((out / "summary.json").read_text())["tiny"]
    rows = list(csv.DictReader((out / "metrics.csv").read_text().splitlines()))
    for name in ("dice", "right_lung_dice", "left_lung_dice"):
        assert summary[name]["mean"] > 0.9
        assert all(float(row[name]) > 0.9 for row in rows)
    assert summary["loss"] < 0.5


def test_training_measures_the_lungs_alone(root, tiny_dataset, run, tmp_path):
    options = {"learning_rate": 1e-9, "max_epochs": 1, "batch_size": 3, "averaging": 0, "seed": 1}
    options |= {"initial_weights": "shipped", "augmentation_of_image": []}
    out = tmp_path / "out"
    run(root, "train", "train.yaml", dataset_dir=str(tiny_dataset), output_dir=str(out), **options, **HERE)
    (row,) = csv.DictReader((out / "history.csv").read_text("utf-8-sig").splitlines())
    assert float(row["val_mean_dice"]) > 0.9
    assert float(row["val_loss"]) < 0.5


@pytest.mark.parametrize(
    ("output", "message"),
    [
        ({"num_channels": 1}, "has 3 output channels, but the bundle's metadata.json names 1"),
        ({"channel_def": {"0": "lung", "1": "heart", "2": "background"}}, "Name each channel"),
        ({"channel_def": {}}, "names none"),
    ],
)
def test_channels_without_names_are_refused(output, message, root, tiny_dataset, run, tmp_path):
    metadata_of(root, **output)
    with pytest.raises(BundleError, match=message):
        Segmenter(root, device="cpu", backend="torch")(tiny_dataset / "images" / "0.png")
    for kind, names in (("train", ["train.yaml"]), ("infer", ["train.yaml", "evaluate.yaml"])):
        out = tmp_path / f"{kind}-out"
        with pytest.raises(Exception) as caught:  # noqa: PT011  (MONAI's, with ours behind it)
            run(root, kind, *names, dataset_dir=str(tiny_dataset), output_dir=str(out), **HERE)
        assert message in str(user_error(caught.value))


def test_the_shipped_networks_give_the_lung_field():
    assert output_classes(find_bundle("unet").metadata) == output_classes({}) == (255,)
    two = {"num_channels": 2, "channel_def": {"0": "Background", "1": "lung"}}
    assert output_classes({"network_data_format": {"outputs": {"pred": two}}}) == (0, 255)


def test_structures_that_overlap_have_no_background():
    def of(*names):
        named = {str(number): name for number, name in enumerate(names)}
        output = {"num_channels": len(names), "channel_def": named}
        return output_classes({"network_data_format": {"outputs": {"pred": output}}})

    assert of("lung", "heart", "clavicle") == (255, 3, 253)
    assert of("Lung", "clavicle", "aorta") == (255, 253, -2)
    for names in (("heart", "lung"), ("lung", "right lung"), ("lung", "heart", "heart"), ("lung", "")):
        with pytest.raises(BundleError, match="lung first, then structures"):
            of(*names)
