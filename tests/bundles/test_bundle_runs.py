"""The bundle `unet` is trained, measured and run by MONAI's command line, as the README calls it.

Where a process of its own adds nothing, it is run in this one. The others' configs are the same text but for
the network; `test_every_bundle_runs.py` runs each once.
"""

import csv
import json
import logging
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from lungfield.bundles import find_bundle
from lungfield.errors import BundleError, user_error
from lungfield.pipeline import Segmenter

SMALL = {"image_size": "[64,64]", "num_workers": 0}
HERE = {"image_size": [64, 64], "num_workers": 0, "device": "cpu"}


@pytest.fixture(scope="module")
def root():
    return find_bundle("unet").root


@pytest.fixture(scope="module")
def trained(root, tiny_dataset, run_bundle, tmp_path_factory):
    """The folder of a run of two epochs, started far from the bundle."""
    output = tmp_path_factory.mktemp(root.name)
    done = run_bundle(
        "training",
        cwd=output,
        config_file=root / "configs" / "train.yaml",
        dataset_dir=tiny_dataset,
        output_dir=output,
        max_epochs=2,
        **SMALL,
    )
    assert done.returncode == 0, done.stderr
    assert "epoch 2 of 2, training: train_mean_dice" in done.stderr
    assert "epoch 2, validation: val_mean_dice" in done.stderr
    assert done.stderr.rstrip().endswith(f"results: {output}")
    return output


def test_training_leaves_checkpoints_and_curves(trained):
    assert (trained / "checkpoint_epoch=2.pt").is_file()
    assert list((trained / "tensorboard").glob("events.*"))
    best = torch.load(trained / "best_model.pt", weights_only=True)
    assert all(isinstance(value, torch.Tensor) for value in best.values())


def test_training_resumes_where_it_stopped(root, tiny_dataset, run, trained, tmp_path, caplog):
    caplog.set_level(logging.INFO, "lungfield")
    run(
        root,
        "train",
        "train.yaml",
        dataset_dir=str(tiny_dataset),
        output_dir=str(tmp_path),
        resume_from=str(trained / "checkpoint_epoch=2.pt"),
        max_epochs=3,
        **HERE,
    )
    assert "epoch 3 of 3" in caplog.text
    assert "epoch 1 of 3" not in caplog.text
    assert (tmp_path / "checkpoint_epoch=3.pt").is_file()


def test_a_refused_resumption_leaves_no_folder(root, tiny_dataset, run, trained, tmp_path):
    with pytest.raises(RuntimeError) as caught:
        run(
            root,
            "train",
            "train.yaml",
            dataset_dir=str(tiny_dataset),
            output_dir=str(tmp_path / "resumed"),
            resume_from=str(trained / "checkpoint_epoch=2.pt"),
            max_epochs=2,
            **HERE,
        )
    assert "2 epochs behind it already" in str(user_error(caught.value))
    assert not (tmp_path / "resumed").exists()


def test_training_never_replaces_another_run(root, tiny_dataset, run, trained):
    before = (trained / "best_model.pt").read_bytes()
    with pytest.raises(RuntimeError) as caught:
        run(root, "train", "train.yaml", dataset_dir=str(tiny_dataset), output_dir=str(trained), **HERE)
    assert str(trained / "best_model.pt") in str(user_error(caught.value))
    assert (trained / "best_model.pt").read_bytes() == before


@pytest.mark.parametrize("run_id", ["evaluating", "training"])
def test_evaluation_on_top_of_training(root, tiny_dataset, run, trained, tmp_path, run_id):
    run(
        root,
        "infer",
        "train.yaml",
        "evaluate.yaml",
        run_id=run_id,
        dataset_dir=str(tiny_dataset),
        checkpoint=str(trained / "best_model.pt"),
        output_dir=str(tmp_path),
        **HERE,
    )
    rows = list(csv.DictReader((tmp_path / "metrics.csv").read_text().splitlines()))
    assert [row["id"] for row in rows] == ["4", "5"]
    assert {row["distance_unit"] for row in rows} == {"px", "mm"}
    summary = json.loads((tmp_path / "summary.json").read_text())["tiny"]
    assert summary["images"] == 2
    assert summary["dice"]["mean"] == pytest.approx(np.mean([float(row["dice"]) for row in rows]), abs=1e-5)
    assert summary["hd95_mm"]["count"] == summary["hd95_px"]["count"] == 1
    assert 0 < summary["loss"] < 3
    assert not (tmp_path / "checkpoint_epoch=1.pt").exists()


@pytest.mark.parametrize("names", [["train.yaml", "evaluate.yaml"], ["inference.yaml"]])
def test_weights_are_not_used_at_another_size(root, tiny_dataset, run, trained, tmp_path, names):
    folder = tiny_dataset / "images" if "inference.yaml" in names else tiny_dataset
    options = {"dataset_dir": str(folder), "checkpoint": str(trained / "best_model.pt")} | HERE
    with pytest.raises(RuntimeError) as caught:
        run(root, "infer", *names, output_dir=str(tmp_path), **(options | {"image_size": [96, 96]}))
    assert "Resized to 64 x 64" in str(user_error(caught.value))
    assert "Resized to 96 x 96" in str(user_error(caught.value))


def test_a_bundle_does_not_use_weights_of_another_size(root, trained, tmp_path):
    shutil.copytree(root / "configs", tmp_path / "mine" / "configs")
    (tmp_path / "mine" / "models").mkdir()
    shutil.copy(trained / "best_model.pt", tmp_path / "mine" / "models" / "model.pt")
    with pytest.raises(BundleError, match="64 x 64"):
        Segmenter(tmp_path / "mine", device="cpu", backend="torch")
    config = tmp_path / "mine" / "configs" / "inference.yaml"
    config.write_text(config.read_text().replace("[256, 256]", "[64, 64]"))
    Segmenter(tmp_path / "mine", device="cpu", backend="torch")


def test_inference_writes_a_mask_for_each_radiograph(root, tiny_dataset, run, trained, tmp_path, caplog):
    images = tmp_path / "in"
    (images / "sub").mkdir(parents=True)
    for name, target in (("0.png", "a.png"), ("1.png", "sub/b.png")):
        (images / target).write_bytes((tiny_dataset / "images" / name).read_bytes())
    (images / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    run(
        root,
        "infer",
        "inference.yaml",
        dataset_dir=str(images),
        checkpoint=str(trained / "best_model.pt"),
        output_dir=str(tmp_path / "out"),
        **HERE,
    )
    written = {path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*.png")}
    assert written == {"a_lungs.png", "sub/b_lungs.png"}
    mask = np.asarray(Image.open(tmp_path / "out" / "a_lungs.png"))
    assert mask.shape == (80, 64)
    assert set(np.unique(mask)) <= {0, 1, 2}
    assert "broken.png" in caplog.text


@pytest.mark.parametrize("names", [["train.yaml", "evaluate.yaml"], ["inference.yaml"]])
def test_results_of_another_run_are_not_replaced(root, tiny_dataset, run, trained, tmp_path, names):
    is_inference = "inference.yaml" in names
    earlier = tmp_path / ("sub/a_lungs.png" if is_inference else "metrics.csv")
    earlier.parent.mkdir(exist_ok=True)
    earlier.write_text("earlier")
    folder = tiny_dataset / "images" if is_inference else tiny_dataset
    options = {"dataset_dir": str(folder), "checkpoint": str(trained / "best_model.pt")} | HERE
    with pytest.raises(RuntimeError) as caught:
        run(root, "infer", *names, output_dir=str(tmp_path), **options)
    assert f"({earlier.relative_to(tmp_path)})" in str(user_error(caught.value))
    assert "--overwrite true" in str(user_error(caught.value))
    assert [path.read_text() for path in tmp_path.rglob("*.*")] == ["earlier"]
    run(root, "infer", *names, output_dir=str(tmp_path), overwrite="true", **options)
    assert len(list(tmp_path.rglob("*.*"))) > 1


@pytest.mark.parametrize("name", ["none.pt", "text.pt"])
def test_missing_or_wrong_weights_are_an_error(root, tiny_dataset, run, tmp_path, name):
    (tmp_path / "text.pt").write_text("no weights")
    with pytest.raises(Exception) as caught:  # noqa: PT011  (MONAI's, with the user's mistake behind it)
        run(
            root,
            "infer",
            "inference.yaml",
            dataset_dir=str(tiny_dataset / "images"),
            checkpoint=str(tmp_path / name),
            output_dir=str(tmp_path),
        )
    assert name in str(user_error(caught.value))
    assert not list(tmp_path.rglob("*.png"))


def test_unknown_override_is_an_error(root, run_bundle, tmp_path):
    done = run_bundle(
        "training",
        cwd=tmp_path,
        config_file=root / "configs" / "train.yaml",
        outputdir=tmp_path / "elsewhere",
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    message = done.stderr.strip().splitlines()[-1]
    assert "--outputdir is not defined" in message
    assert "--output_dir" in message


@pytest.mark.parametrize(("name", "kind"), [("train", "train"), ("inference", "infer")])
def test_wrong_data_folder_is_an_error(root, run, tmp_path, trained, name, kind):
    options = {"checkpoint": str(trained / "best_model.pt")} if name == "inference" else {}
    with pytest.raises(Exception) as caught:  # noqa: PT011
        run(root, kind, f"{name}.yaml", dataset_dir=str(tmp_path), output_dir=str(tmp_path), **options)
    assert str(tmp_path) in str(user_error(caught.value))
