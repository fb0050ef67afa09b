"""From the sample radiographs to results, with the shipped weights."""

import csv
import json
import re
import shlex
import sys
from pathlib import Path

import monai.bundle
import numpy as np
import pytest
from PIL import Image

import lungfield
from lungfield.bundles import DEFAULT_BUNDLE, find_bundle, shipped
from lungfield.mask import read_mask
from lungfield.radiograph import read_radiograph

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def samples():
    return shipped("sample_data")


@pytest.fixture(scope="module")
def run(call_lungfield, tmp_path_factory):
    """The README's command on the samples, taken from its text: the process and the folder of its results."""
    output = tmp_path_factory.mktemp("out")
    (command,) = re.findall(r"lungfield (segment .*--reference .*)", README)
    words = shlex.split(command)
    words[words.index("-o") + 1] = output
    return call_lungfield(*words, "--json", cwd=ROOT), output


def test_ends_well_and_the_last_line_is_json(run):
    done, _ = run
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout.splitlines()[-1])
    assert (summary["files"], summary["done"], summary["skipped"], summary["failed"]) == (9, 7, 2, 0)
    assert summary["compared"] == 7
    # In a pipe there is no progress bar, nor anything else that moves.
    assert "\r" not in done.stderr
    assert "\x1b" not in done.stderr


def test_writes_what_the_readme_says(run):
    _, output = run
    results = ("report.html", "results.csv", "results.json", "results.parquet")
    for pattern in ("masks/*.png", "seg/*.dcm", "overlays/*.jpg", "previews/*.svg", *results):
        assert f"`{pattern}`" in README
        assert list(output.glob(pattern))


def test_each_phantom_is_found(run):
    """The network never saw a phantom in training; Dice 0.90 on each is what is asked."""
    _, output = run
    rows = list(csv.DictReader((output / "results.csv").read_text().splitlines()))
    dice = {row["file"]: float(row["dice"]) for row in rows if row["status"] == "done"}
    assert len(dice) == 7
    assert min(dice.values()) >= 0.90, dice


def test_right_and_left_are_the_references(run, samples):
    _, output = run
    for path in sorted((output / "masks").glob("*.png")):
        reference = read_mask(samples / "labels" / path.name)
        mask = np.asarray(Image.open(path))
        assert mask.shape == reference.shape
        for side in (1, 2):
            assert np.count_nonzero((mask == side) & (reference == side)) > 0.8 * np.count_nonzero(
                reference == side
            )


def test_what_is_no_frontal_chest_is_turned_down_with_a_reason(run):
    _, output = run
    rows = {row["file"]: row for row in csv.DictReader((output / "results.csv").read_text().splitlines())}
    skipped = {name: row["reason"] for name, row in rows.items() if row["status"] == "skipped"}
    assert len(skipped) == 2
    assert all(skipped.values())
    assert not [path for path in output.rglob("*.*") if path.stem in {name.split(".")[0] for name in skipped}]


def test_python_gives_the_same_mask_as_the_command(run, samples):
    _, output = run
    source = sorted((samples / "images").glob("*.dcm"))[0]
    lungs = lungfield.Segmenter(DEFAULT_BUNDLE, device="cpu")(source)
    expected = np.asarray(Image.open(output / "masks" / f"{source.stem}.png"))
    np.testing.assert_array_equal(lungs.label_map, expected)
    assert lungs.measurements.total.area_px == np.count_nonzero(expected)


def test_the_stock_workflow_gives_the_same_mask(run, samples, tmp_path, monkeypatch):
    """`monai.bundle run` of the inference config, file by file, against `lungfield segment`."""
    _, output = run
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)  # the config replaces it
    config = str(find_bundle(DEFAULT_BUNDLE).inference_config)
    monai.bundle.run(config_file=config, output_dir=str(tmp_path), logging_file=False)
    masks = sorted(tmp_path.rglob("*_lungs.png"))
    assert len(masks) == 7
    for path in masks:
        ours = np.asarray(Image.open(output / "masks" / path.name.replace("_lungs", "")))
        stock = np.asarray(Image.open(path))
        assert (
            stock.shape == ours.shape == read_radiograph(samples / "images" / f"{path.stem[:-6]}.dcm").shape
        )
        # The sliding window's batch may round differently on other processors; a handful of pixels at most.
        assert np.count_nonzero(stock != ours) <= 0.0005 * ours.size
