"""The commands of docs/fine-tuning.md, on phantoms whose masks follow another definition of the lung."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from skimage.morphology import convex_hull_image

from lungfield.bundles import find_bundle
from phantoms import prepare_phantoms

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "fine-tuning.md").read_text(encoding="utf-8")
SMALL = ("--image_size", "[128,128]", "--num_workers", "0", "--device", "cpu")

ONE_AFTER_THE_OTHER = """
import json, runpy, sys
for words in json.loads(sys.argv[1]):
    sys.argv = words
    runpy.run_module("monai.bundle", run_name="__main__")
"""

pytestmark = pytest.mark.slow


def commands(start):
    """The page's commands that begin with `start`, as lists of words."""
    blocks = re.findall(r"^```bash\n(.*?)^```", PAGE, flags=re.DOTALL | re.MULTILINE)
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    return [shlex.split(line) for line in lines if line.startswith(start)]


def run_monai(folder, *calls):
    """Run `monai.bundle` with each list of words, in one process, since its imports take longest."""
    program = [sys.executable, "-W", "ignore", "-c", ONE_AFTER_THE_OTHER, json.dumps(calls)]
    done = subprocess.run(
        program,
        cwd=folder,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def dice(one, other):
    return 2 * (one & other).sum() / (one.sum() + other.sum())


@pytest.fixture(scope="module")
def folder(call_lungfield, tmp_path_factory):
    """Images and masks of one's own beside the bundles: each lung with all that its convex hull takes in."""
    folder = tmp_path_factory.mktemp("mine")
    prepare_phantoms(folder / "phantoms", count=20, size=128)
    (folder / "my" / "masks").mkdir(parents=True)
    (folder / "my" / "images").symlink_to(folder / "phantoms" / "images")
    (folder / "bundles").symlink_to(ROOT / "bundles")
    for path in (folder / "phantoms" / "labels").iterdir():
        sides = np.asarray(Image.open(path))
        mask = convex_hull_image(sides == 1) | convex_hull_image(sides == 2)
        Image.fromarray(mask.astype(np.uint8) * 255).save(folder / "my" / "masks" / path.name)
    (folder / "my" / "hearts").symlink_to(folder / "phantoms" / "heart")
    (folder / "my" / "aortas").mkdir()
    for path in (folder / "phantoms" / "heart").iterdir():  # what lies above the heart
        heart = np.asarray(Image.open(path))
        Image.fromarray(np.roll(heart, -np.count_nonzero(heart.any(axis=1)), axis=0)).save(
            folder / "my" / "aortas" / path.name
        )
    for prepare in commands("lungfield prepare"):
        done = call_lungfield(*prepare[1:], cwd=folder)
        assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def measured(folder):
    """Mean Dice on the test section, of shipped and of fine-tuned weights; all training is done here."""
    training, structures, decoder_alone = commands("python -m monai.bundle run training")
    evaluations = commands("python -m monai.bundle run evaluating")
    evaluating = [word.replace("bundles/unet", "bundles/efficientnet_lite0_unet") for word in evaluations[0]]
    options = ["--dataset_dir", "data/structures", "--output_dir", "runs/structures/test"]
    options += ["--checkpoint", "runs/structures/best_model.pt", "--further", "[heart,aorta]"]
    run_monai(
        folder,
        [*training[2:], *SMALL, "--max_epochs", "3"],
        [*decoder_alone[2:], *SMALL, "--max_epochs", "1"],
        *([*words[2:], *SMALL] for words in evaluations),
        [*structures[2:], *SMALL, "--max_epochs", "4"],
        [*evaluating[2:], *SMALL, *options],
    )
    outputs = [folder / words[words.index("--output_dir") + 1] for words in evaluations]
    return [json.loads((output / "summary.json").read_text())["mine"]["dice"]["mean"] for output in outputs]


def test_dice_rises(measured):
    before, after = measured
    assert before < 0.95
    assert after > before + 0.015


def test_the_decoder_can_be_trained_alone(folder, measured):
    before, after = (
        torch.load(path, weights_only=True)
        for path in (find_bundle("unet").weights, folder / "runs" / "decoder" / "best_model.pt")
    )
    statistics = (
        "running_mean",
        "running_var",
        "num_batches_tracked",
    )  # of batch normalisation: no parameters
    names = [name for name in before if not name.endswith(statistics)]
    changed = {name for name in names if not torch.equal(before[name].float(), after[name])}
    assert changed == {name for name in names if not name.startswith("encoder")}


def test_structures_of_ones_own_are_learnt_beside_the_lungs(folder, measured):
    """And the lungs, of which nothing is trained, stay as they are."""
    trained = torch.load(folder / "runs" / "structures" / "best_model.pt", weights_only=True)
    shipped = torch.load(find_bundle("efficientnet_lite0_unet").weights, weights_only=True)
    for name, value in shipped.items():
        if not name.startswith("further."):
            assert torch.equal(trained[name].to(value.dtype), value), name
    assert len(trained["further.head.weight"]) == 2
    summary = json.loads((folder / "runs" / "structures" / "test" / "summary.json").read_text())["mine"]
    assert summary["heart_dice"]["mean"] > 0.6
    assert 0 < summary["aorta_dice"]["mean"] <= 1


def test_the_own_bundle_segments_by_the_own_definition(folder, measured, call_lungfield):
    for words in [*commands("mkdir"), *commands("cp")]:
        subprocess.run(words, cwd=folder, check=True)
    config = folder / "my_unet" / "configs" / "inference.yaml"
    content = yaml.safe_load(config.read_text(encoding="utf-8"))
    config.write_text(yaml.safe_dump(content | {"image_size": [128, 128]}), encoding="utf-8")
    name = json.loads((folder / "data" / "mine" / "dataset.json").read_text())["test"][0]["id"]
    (folder / "radiographs").mkdir()
    (folder / "radiographs" / f"{name}.dcm").symlink_to(folder / "phantoms" / "images" / f"{name}.dcm")
    (segment,) = commands("lungfield segment")
    done = call_lungfield(*segment[1:], cwd=folder)
    assert done.returncode == 0, done.stderr
    mask = np.asarray(Image.open(folder / "out" / "masks" / f"{name}.png")) > 0
    own = np.asarray(Image.open(folder / "my" / "masks" / f"{name}.png")) > 0
    exact = np.asarray(Image.open(folder / "phantoms" / "labels" / f"{name}.png")) > 0
    assert dice(mask, own) > max(0.955, dice(exact, own))
