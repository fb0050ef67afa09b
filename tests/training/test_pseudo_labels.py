"""A teacher whose answer is known: what is dark enough is lung."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lungfield.bundles import find_bundle
from lungfield.bundles.predictor import Processing
from lungfield.datasets import Split, load_data_list, prepare_folders
from lungfield.errors import DataError
from lungfield.mask import read_mask, read_reference
from lungfield.pose import UPRIGHT
from lungfield.training.pseudo_labels import make_pseudo_labels

SIDE = 256


class Teacher:
    """Takes what is darker than half for lung, by the unet's own steps before and after the network."""

    def __init__(self, blind_on_the_right=False):
        self.bundle = find_bundle("unet")
        self.processing = Processing(self.bundle)
        self.blind = blind_on_the_right

    def drive(self, steps):
        try:
            image = next(steps)
            while True:
                logits = 20 * (0.35 - image)
                if self.blind:
                    logits[..., SIDE // 2 :] = -20
                image = steps.send((logits, None))
        except StopIteration as end:
            return end.value


def boxes():
    """(H, W) bool: two lungs."""
    mask = np.zeros((SIDE, SIDE), dtype=bool)
    mask[60:200, 40:110] = mask[60:200, 146:216] = True
    return mask


def picture():
    noise = np.random.default_rng(0).uniform(0, 30, (SIDE, SIDE))
    return np.where(boxes(), 40 + noise, 180 + noise).astype(np.uint8)


def save(path: Path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array.astype(np.uint8) * 255 if array.dtype == bool else array).save(path)


@pytest.fixture
def unlabelled(tmp_path):
    save(tmp_path / "images" / "one.png", picture())
    prepare_folders(tmp_path / "images", tmp_path / "set", unlabelled=True, split=Split("1:0:0"))
    return tmp_path / "set"


def partly_ignored(tmp_path, mask, ignored, *, name):
    """Prepare a set of one radiograph whose label is unknown in places."""
    save(tmp_path / "images" / "one.png", picture())
    save(tmp_path / "masks" / "one.png", mask)
    save(tmp_path / "ignore" / name, ignored)
    prepare_folders(
        tmp_path / "images",
        tmp_path / "set",
        masks=[tmp_path / "masks"],
        ignore_masks=tmp_path / "ignore",
        split=Split("1:0:0"),
    )


def label(folder, name="one"):
    return np.asarray(Image.open(folder / "labels" / f"{name}.png"))


def test_a_radiograph_without_a_label_gets_the_teachers(tmp_path, unlabelled):
    with pytest.raises(DataError, match=r"1 of 1 images .* have no label.*pseudo-labels"):
        load_data_list(unlabelled, "training", labelled=True)
    result = make_pseudo_labels(unlabelled, tmp_path / "out", Teacher())
    assert (result.counts["training"], result.doubtful) == (1, ())
    (item,) = load_data_list(tmp_path / "out", "training", labelled=True)
    assert item["dataset"] == "set"
    found = label(tmp_path / "out")
    assert ((found != 0) != boxes()).mean() < 0.02
    assert set(np.unique(found)) <= {0, 1, 2, 254}
    content = json.loads((tmp_path / "out" / "dataset.json").read_text())
    assert content["teacher"]["bundle"] == "unet"
    assert len(content["teacher"]["weights_sha256"]) == 64
    np.testing.assert_array_equal(np.asarray(Image.open(item["image"])), picture())


def test_a_radiograph_on_which_the_views_disagree_is_left_out(tmp_path, unlabelled):
    result = make_pseudo_labels(unlabelled, tmp_path / "out", Teacher(blind_on_the_right=True))
    assert (result.counts["training"], result.doubtful) == (0, ("one",))
    assert not list((tmp_path / "out" / "labels").iterdir())


def test_a_partial_label_is_filled_in_where_it_is_unknown(tmp_path):
    ignored = np.zeros((SIDE, SIDE), dtype=bool)
    ignored[:, 100:160] = True
    partly_ignored(tmp_path, boxes() & ~ignored, ignored, name="one.png")
    make_pseudo_labels(tmp_path / "set", tmp_path / "out", Teacher())
    before, after = label(tmp_path / "set"), label(tmp_path / "out")
    assert (before[ignored] == 254).all()
    np.testing.assert_array_equal(after[~ignored], before[~ignored])
    lung = boxes() & ignored
    assert (after[lung] != 254).mean() > 0.95
    assert (after[ignored & ~boxes()] == 254).mean() > 0.95  # what is no lung to the teacher stays unknown


def test_a_whole_label_stays(tmp_path):
    save(tmp_path / "images" / "one.png", picture())
    save(tmp_path / "masks" / "one.png", np.roll(boxes(), 20, axis=0))
    prepare_folders(tmp_path / "images", tmp_path / "set", masks=[tmp_path / "masks"], split=Split("1:0:0"))
    make_pseudo_labels(tmp_path / "set", tmp_path / "out", Teacher())
    np.testing.assert_array_equal(label(tmp_path / "out"), label(tmp_path / "set"))


def test_the_set_itself_is_never_written_to(unlabelled):
    with pytest.raises(DataError, match="is the set itself"):
        make_pseudo_labels(unlabelled, unlabelled, Teacher())
    assert (unlabelled / "dataset.json").is_file()


def test_a_region_that_the_teacher_fills_completely_is_read_as_lung(tmp_path):
    ignored = np.zeros((SIDE, SIDE), dtype=bool)
    ignored[100:140, 60:90] = True  # within a lung
    partly_ignored(tmp_path, boxes(), ignored, name="one_ignore.png")
    make_pseudo_labels(tmp_path / "set", tmp_path / "out", Teacher())
    read = read_reference(tmp_path / "out" / "labels" / "one.png", UPRIGHT, partial=True)
    np.testing.assert_array_equal(read != 0, boxes())


def test_a_partial_label_is_refused_as_a_mask(tmp_path):
    values = np.zeros((SIDE, SIDE), dtype=np.uint8)
    values[60:200, 40:110], values[60:200, 110:120] = 255, 254
    save(tmp_path / "one.png", values)
    with pytest.raises(DataError, match="has unknown pixels"):
        read_mask(tmp_path / "one.png")
    np.testing.assert_array_equal(read_reference(tmp_path / "one.png", UPRIGHT, partial=True), values)


def test_masks_of_further_structures_are_taken_over(tmp_path):
    save(tmp_path / "images" / "one.png", picture())
    heart = np.zeros((SIDE, SIDE), dtype=bool)
    heart[120:200, 90:180] = True
    save(tmp_path / "hearts" / "one.png", heart)
    prepare_folders(
        tmp_path / "images",
        tmp_path / "set",
        unlabelled=True,
        structures={"heart": tmp_path / "hearts"},
        split=Split("1:0:0"),
    )
    make_pseudo_labels(tmp_path / "set", tmp_path / "out", Teacher())
    (item,) = load_data_list(tmp_path / "out", "training", labelled=True, structures=["heart"])
    assert Path(item["structures"]["heart"]).is_relative_to(tmp_path / "out")
    np.testing.assert_array_equal(np.asarray(Image.open(item["structures"]["heart"])), heart)
