"""Every bundle but `unet` trains, evaluates and segments once, and so does a paper's recipe.

In this process and on tiny pictures; `test_bundle_runs.py` calls that one as users do.
"""

import csv
import json
import logging
import shutil

import numpy as np
import pytest
from PIL import Image

from lungfield.bundles import BUNDLES, find_bundle

SHORT = ("efficientnet_lite0_unet", "gsconv_unet")
"""With an encoder and without; the others' configs are the same text but for the network."""


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[] if name in SHORT else pytest.mark.slow)
        for name in BUNDLES
        if name != "unet"
    ],
)
def test_trains_evaluates_and_segments(name, run, tiny_dataset, tmp_path, caplog):
    caplog.set_level(logging.INFO, "lungfield")
    root, output = find_bundle(name).root, tmp_path / "out"
    small = {"image_size": [64, 64], "num_workers": 0, "output_dir": str(output), "device": "cpu"}
    data = {"dataset_dir": str(tiny_dataset)}
    random = {"pretrained": False} if "pretrained:" in (root / "configs" / "train.yaml").read_text() else {}
    checkpoint = {"checkpoint": str(output / "best_model.pt")}

    # All three pictures in a batch: of 64 pixels InceptionResNetV2 leaves one, too few to normalise a single
    # picture. What a run could go on from has three times the network's size: left to `unet`.
    run(root, "train", "train.yaml", max_epochs=1, batch_size=3, save_interval=0, **random, **small, **data)
    assert "epoch 1, validation: val_mean_dice" in caplog.text

    run(root, "infer", "train.yaml", "evaluate.yaml", **checkpoint, **small, **data)
    assert json.loads((output / "summary.json").read_text())["tiny"]["images"] == 2

    (tmp_path / "in").mkdir()
    shutil.copy(tiny_dataset / "images" / "0.png", tmp_path / "in")
    run(root, "infer", "inference.yaml", dataset_dir=str(tmp_path / "in"), **checkpoint, **small)
    mask = np.asarray(Image.open(output / "0_lungs.png"))
    assert mask.shape == (80, 64)
    assert set(np.unique(mask)) <= {0, 1, 2}
    (output / "best_model.pt").unlink()  # pytest would keep its 240 MB over three sessions


def test_a_papers_recipe_trains_and_its_weights_segment(run, tiny_dataset, tmp_path):
    """The U-Net's `paper.yaml` changes the network too: what it trained is used with it on top."""
    root, output = find_bundle("unet").root, tmp_path / "out"
    small = {"image_size": [64, 64], "num_workers": 0, "output_dir": str(output), "device": "cpu"}
    data = {"dataset_dir": str(tiny_dataset)}
    checkpoint = {"checkpoint": str(output / "best_model.pt")}
    run(root, "train", "train.yaml", "paper.yaml", max_epochs=2, **small, **data)
    with (output / "history.csv").open(encoding="utf-8-sig") as file:
        assert [float(row["learning_rate"]) for row in csv.DictReader(file)] == [0.0005, 0.0005]
    run(root, "infer", "train.yaml", "paper.yaml", "evaluate.yaml", **checkpoint, **small, **data)
    assert 0 < json.loads((output / "summary.json").read_text())["tiny"]["loss"] < 3
    small |= {"dataset_dir": str(tiny_dataset / "images")}
    run(root, "infer", "inference.yaml", "paper.yaml", **checkpoint, **small)
    assert len(list(output.glob("*_lungs.png"))) == 6
