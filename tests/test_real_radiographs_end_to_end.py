"""The shipped weights on real radiographs of the test split, where these are at hand."""

import json
from pathlib import Path

import numpy as np
import pytest

from lungfield import Segmenter, read_radiograph
from lungfield.bundles import DEFAULT_BUNDLE
from lungfield.mask import read_mask

DATA = Path(__file__).parents[2] / "shared" / "data"

pytestmark = pytest.mark.skipif(
    not (DATA / "splits.json").is_file(), reason="no real radiographs beside the checkout"
)


@pytest.fixture(scope="module")
def segmenter():
    return Segmenter(DEFAULT_BUNDLE, device="cpu")


def first_of_test_split(dataset, count):
    names = json.loads((DATA / "splits.json").read_text())[dataset]["test"]
    return names[:: len(names) // count][:count]


def test_jsrt_right_and_left(segmenter):
    scores = []
    for name in first_of_test_split("jsrt", 6):
        lungs = segmenter(DATA / "jsrt" / "images" / f"{name}.png")
        for value, side in ((1, "right_lung"), (2, "left_lung")):
            reference = read_mask(DATA / "jsrt" / "masks" / side / f"{name}.png") > 0
            found = lungs.label_map == value
            scores.append(2 * np.count_nonzero(found & reference) / (found.sum() + reference.sum()))
    assert np.mean(scores) > 0.96
    assert min(scores) > 0.90


def test_shenzhen(segmenter):
    scores = []
    for name in first_of_test_split("shenzhen", 8):
        lungs = segmenter(read_radiograph(DATA / "shenzhen" / "images" / f"{name}.png"))
        scores.append(lungs.agreement(DATA / "shenzhen" / "masks" / f"{name}.png").dice)
    assert np.mean(scores) > 0.94
