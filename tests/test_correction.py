"""Radiographs whose files do not say how they lie or which values are dark: found out by the mask."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lungfield import Segmenter, correction
from lungfield.batch import Options, segment_files
from lungfield.correction import Change, best_change, possible_changes, reduced
from lungfield.mask import Flag, Quality, agreement
from lungfield.pose import ALL_POSES, MIRRORED, QUARTER_TURNS, UPRIGHT, UPSIDE_DOWN, Pose
from lungfield.records import Radiograph, Spacing
from phantoms import make_phantom

PHANTOM = make_phantom(7, shape=(640, 560))


@pytest.fixture(scope="module")
def segmenter():
    return Segmenter("unet", device="cpu")


@pytest.fixture(scope="module")
def upright(segmenter):
    return segmenter(Radiograph(Path("a.png"), PHANTOM.pixels)).label_map


def stored(pose: Pose, *, inverted: bool = False, **told: bool) -> Radiograph:
    """The phantom as a file stores it, taken as upright as that says nothing."""
    pixels = 1 - PHANTOM.pixels if inverted else PHANTOM.pixels
    return Radiograph(Path("a.png"), np.ascontiguousarray(pose.stored(pixels)), **told)


def test_the_upright_phantom_is_segmented_well(upright):
    assert agreement(upright, PHANTOM.label_map, spacing=None).dice > 0.95


POSES = [pose for pose in ALL_POSES if pose != MIRRORED]
QUICK = {
    (pose, bool(number % 2))
    for number, pose in enumerate(POSES)
    if pose not in (UPSIDE_DOWN, QUARTER_TURNS[1])
}
"""Each pose that no test below has, with one polarity or the other."""


@pytest.mark.parametrize(
    ("pose", "inverted"),
    [
        pytest.param(pose, inverted, marks=[] if (pose, inverted) in QUICK else pytest.mark.slow)
        for pose in POSES
        for inverted in (False, True)
    ],
    ids=str,
)
def test_every_pose_and_polarity_gives_the_upright_mask_on_the_stored_pixels(
    segmenter, upright, pose, inverted
):
    lungs = segmenter(stored(pose, inverted=inverted))
    assert lungs.label_map.shape == pose.stored_pair(PHANTOM.pixels.shape)
    # Right and left are the patient's: the phantom's heart tells a mirror image from a turned one.
    assert np.mean(pose.upright(lungs.label_map) == upright) > 0.999
    flags = lungs.quality.flags
    assert (Flag.ORIENTATION_CORRECTED in flags) is (pose != UPRIGHT)
    assert (Flag.POLARITY_CORRECTED in flags) is inverted
    assert len(lungs.radiograph.warnings) == (pose != UPRIGHT) + inverted
    # Measured upright: height is along the patient.
    assert lungs.measurements.right_lung.height_px > 1.2 * lungs.measurements.right_lung.width_px


def test_a_mirror_image_without_a_word_keeps_the_sides_of_an_upright_picture(segmenter, upright):
    lungs = segmenter(stored(MIRRORED))
    assert not lungs.quality.flags
    swapped = np.where(upright > 0, 3 - upright, 0)
    assert np.mean(MIRRORED.upright(lungs.label_map) == swapped) > 0.98


def test_what_the_file_says_is_not_doubted(segmenter):
    lungs = segmenter(stored(UPSIDE_DOWN, pose_is_known=True, polarity_is_known=True))
    assert lungs.radiograph.pose == UPRIGHT
    assert Flag.ORIENTATION_CORRECTED not in lungs.quality.flags
    assert lungs.quality.flags  # which is what there is for such masks


def test_a_picture_that_contradicts_its_file_is_inverted_all_the_same(segmenter, upright):
    lungs = segmenter(stored(UPRIGHT, inverted=True, pose_is_known=True, polarity_is_known=True))
    assert Flag.POLARITY_CORRECTED in lungs.quality.flags
    assert np.mean(lungs.label_map == upright) > 0.999


def test_a_good_first_mask_costs_one_run_of_the_network(segmenter, monkeypatch):
    runs = []
    logits = segmenter._predictor.logits
    monkeypatch.setattr(segmenter._predictor, "logits", lambda batch: runs.append(1) or logits(batch))
    segmenter(stored(UPRIGHT))
    assert len(runs) == 1
    assert segmenter(stored(UPSIDE_DOWN)).quality.flags == (Flag.ORIENTATION_CORRECTED,)
    assert len(runs) == 1 + 1 + 7 + 1  # first mask, trials, final mask


def test_the_batch_corrects_as_the_segmenter_does(segmenter, tmp_path):
    pixels = np.rint(255 * stored(QUARTER_TURNS[1], inverted=True).pixels).astype(np.uint8)
    folder = tmp_path / "in"
    folder.mkdir()
    Image.fromarray(pixels).save(folder / "a.png")
    Image.fromarray(np.rint(255 * PHANTOM.pixels).astype(np.uint8)).save(folder / "b.png")
    batch = segment_files([folder], tmp_path / "out", bundle="unet", options=Options(workers=1, device="cpu"))
    turned, plain = batch.files
    assert turned["flags"] == ["orientation-corrected", "polarity-corrected"]
    assert "PatientOrientation" in turned["warnings"]
    assert (turned["rows"], turned["columns"]) == pixels.shape
    assert plain["flags"] == []
    expected = segmenter(folder / "a.png")
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "out/masks/a.png")), expected.label_map)
    report = (tmp_path / "out/report.html").read_text()
    assert "orientation-corrected" in report


# What is tried, and what is believed ------------------------------------------------------------------------


def quality(confidence: float, *flags: Flag) -> Quality:
    """A quality whose features are those of a mask of this plausibility."""
    features = {"area_fraction": float(confidence > 0), "shape_likeness": 0.0, "lung_contrast": 0.0}
    log_odds = math.log(confidence / (1 - confidence)) if 0 < confidence < 1 else 30.0
    contour = (log_odds - correction._INTERCEPT) / correction._COEFFICIENTS["contour_confidence"]
    return Quality(flags, confidence, features | {"contour_confidence": contour})


def plain_radiograph(**told: bool) -> Radiograph:
    return Radiograph(Path("a.png"), np.zeros((80, 60), np.float32), **told)


@pytest.mark.parametrize(
    "flags", [(), (Flag.ASYMMETRIC,), (Flag.TOUCHES_BORDER,), (Flag.DOUBTFUL_WINDOW,)], ids=str
)
def test_nothing_is_tried_where_the_mask_is_plausible(flags):
    assert possible_changes(plain_radiograph(), quality(0.9, *flags)) == []


@pytest.mark.parametrize(
    ("told", "flag", "count"),
    [
        ({}, Flag.ODD_SHAPE, 7),
        ({"polarity_is_known": True}, Flag.ODD_SHAPE, 3),
        ({"pose_is_known": True}, Flag.ODD_SHAPE, 1),
        ({"pose_is_known": True, "polarity_is_known": True}, Flag.ODD_SHAPE, 0),
        ({"pose_is_known": True, "polarity_is_known": True}, Flag.BRIGHT_LUNGS, 1),
        ({"polarity_is_known": True}, Flag.BRIGHT_LUNGS, 7),
    ],
)
def test_what_is_tried_is_what_the_file_leaves_open(told, flag, count):
    changes = possible_changes(plain_radiograph(**told), quality(0.95, flag))
    assert len(set(changes)) == len(changes) == count
    assert Change() not in changes


def test_low_confidence_alone_is_doubted():
    assert len(possible_changes(plain_radiograph(), quality(0.7))) == 7


@pytest.mark.parametrize(
    ("first", "best", "believed"),
    [(0.01, 0.95, True), (0.5, 0.95, True), (0.7, 0.8, False), (0.001, 0.2, False), (0.05, 0.4, True)],
)
def test_only_what_is_clearly_better_is_believed(first, best, believed):
    tried = [
        (Change(UPSIDE_DOWN), quality(best / 2), "second"),
        (Change(inverted=True), quality(best), "best"),
        (Change(QUARTER_TURNS[1]), quality(best / 3), "third"),
    ]
    found = best_change(quality(first, Flag.ODD_SHAPE), tried)
    assert found == ((Change(inverted=True), "best") if believed else None)


def test_a_change_turns_what_belongs_to_the_pixels_and_says_so():
    pixels = np.linspace(0, 1, 24, dtype=np.float32).reshape(4, 6)
    valid = np.ones((4, 6), dtype=bool)
    valid[0] = False
    radiograph = Radiograph(
        Path("a.png"), pixels, valid=valid, spacing=Spacing(0.2, 0.3, "PixelSpacing"), pose=MIRRORED
    )
    turn = QUARTER_TURNS[1]
    changed = Change(turn, inverted=True).applied_to(radiograph)
    np.testing.assert_array_equal(changed.valid, turn.upright(valid))
    np.testing.assert_allclose(changed.pixels, np.where(turn.upright(valid), 1 - turn.upright(pixels), 0))
    assert changed.pose == MIRRORED.then(turn)
    assert (changed.spacing.row_mm, changed.spacing.column_mm) == (0.3, 0.2)
    assert changed.corrections == ("orientation-corrected", "polarity-corrected")
    assert "\\".join(changed.pose.directions) in changed.warnings[0]
    assert radiograph.corrections == ()


def test_the_reduced_copy_is_the_mean_of_squares():
    pixels = np.random.default_rng(0).random((1203, 1605)).astype(np.float32)
    radiograph = replace(plain_radiograph(), pixels=pixels, spacing=Spacing(0.1, 0.1, "PixelSpacing"))
    small = reduced(radiograph)
    assert small.shape == (401, 535)
    assert small.pixels.dtype == np.float32
    np.testing.assert_allclose(small.pixels[7, 11], pixels[21:24, 33:36].mean(), rtol=1e-5)
    assert small.spacing.row_mm == pytest.approx(0.3)
    assert reduced(small) is small
