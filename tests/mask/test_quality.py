"""Flags on masks: each provoked on its own, and by the shipped network on what it should fail on."""

import math
import re
from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset
from scipy import ndimage

import hard_cases
from lungfield import Segmenter
from lungfield.mask import Flag, HeartMeasurements, NoRatio, assess, flip_agreement
from lungfield.mask import quality as quality_module
from lungfield.mask.components import bounding_box
from lungfield.pipeline import segmenting
from lungfield.radiograph import read_radiograph
from lungfield.records import Radiograph, Spacing
from phantoms import make_phantom

ROOT = Path(__file__).parents[2]
SAMPLES = sorted((ROOT / "sample_data/images").glob("0[1-7]*.dcm"))
REAL = ROOT / "../shared/data"


class Chest:
    """A phantom, its mask and probabilities: everything as it should be, until a test spoils it."""

    def __init__(self, phantom):
        self.label_map = phantom.label_map.copy()
        self.pixels = phantom.pixels.copy()
        self.probabilities = self.probabilities_of(self.label_map)
        self.flipped = None
        self.heart = HeartMeasurements(None, 5000, cardiothoracic_ratio=0.45)
        self.radiograph = {"spacing": Spacing(phantom.spacing_mm, phantom.spacing_mm, "PixelSpacing")}

    @staticmethod
    def probabilities_of(label_map):
        smooth = ndimage.gaussian_filter((label_map > 0).astype(np.float32), 2)
        rows, columns = (np.linspace(0, side - 1, 256).astype(int) for side in label_map.shape)
        return smooth[np.ix_(rows, columns)]

    def reshape(self, change):
        """Do the same to the picture and to the mask."""
        self.pixels, self.label_map = change(self.pixels), change(self.label_map)
        self.probabilities = self.probabilities_of(self.label_map)

    def redraw(self, label_map):
        """Take another mask."""
        self.label_map, self.probabilities = label_map, self.probabilities_of(label_map)

    def assess(self):
        radiograph = Radiograph(Path("chest.png"), self.pixels, **self.radiograph)
        return assess(self.label_map, self.probabilities, radiograph, flipped=self.flipped, heart=self.heart)


@pytest.fixture(scope="module")
def phantom():
    return make_phantom(3)


@pytest.fixture
def chest(phantom):
    return Chest(phantom)


def no_lung(chest):
    chest.redraw(np.zeros_like(chest.label_map))


def one_lung(chest):
    chest.redraw(np.where(chest.label_map == 2, 0, chest.label_map))


def lost_lobe(chest):
    shorter = chest.label_map.copy()
    rows = np.flatnonzero((shorter == 2).any(axis=1))
    shorter[rows[len(rows) * 2 // 5] :][shorter[rows[len(rows) * 2 // 5] :] == 2] = 0
    chest.redraw(shorter)


def wide_frame(chest):
    chest.reshape(lambda array: np.pad(array, 256))


def close_crop(chest):
    rows, columns = bounding_box(chest.label_map > 0)
    chest.reshape(lambda array: array[rows, columns])


def cut_off(chest):
    rows, _ = bounding_box(chest.label_map > 0)
    chest.reshape(lambda array: array[: (rows.start + rows.stop) // 2])


def off_centre(chest):
    chest.reshape(lambda array: np.pad(array, ((0, 0), (200, 0))))


def upside_down(chest):
    chest.redraw(np.ascontiguousarray(chest.label_map[::-1]))


def unsure(chest):
    chest.probabilities = np.where(chest.probabilities > 0.5, 0.55, 0.45).astype(np.float32)


def another_opinion(chest):
    chest.flipped = np.roll(chest.probabilities, 20, axis=0)


def negative(chest):
    chest.pixels = 1 - chest.pixels


def flat(chest):
    chest.pixels = 0.5 + 0.02 * chest.pixels


def narrow_window(chest):
    chest.pixels = np.clip((chest.pixels - np.median(chest.pixels)) * 20 + 0.5, 0, 1)


def spacing_of_a_mouse(chest):
    chest.radiograph["spacing"] = Spacing(0.02, 0.02, "PixelSpacing")


def turned_by_its_mask(chest):
    chest.radiograph["corrections"] = ("orientation-corrected",)


def inverted_by_its_mask(chest):
    chest.radiograph["corrections"] = ("polarity-corrected",)


def seen_from_the_side(chest):
    chest.radiograph["header"] = Dataset()
    chest.radiograph["header"].PatientOrientation = ["A", "F"]


def without_heart(chest):
    chest.heart = HeartMeasurements(NoRatio.NO_HEART, 0)


def cut_heart(chest):
    chest.heart = HeartMeasurements(NoRatio.CUT_OFF, 5000, heart_touches_edge=True)


def huge_heart(chest):
    chest.heart = HeartMeasurements(None, 5000, cardiothoracic_ratio=0.76)


def tiny_heart(chest):
    chest.heart = HeartMeasurements(None, 5000, cardiothoracic_ratio=0.29)


def seen_from_the_front(chest):
    chest.radiograph["view"] = "AP"


PROVOKED = (
    (no_lung, Flag.NO_LUNG),
    (one_lung, Flag.ONE_LUNG),
    (lost_lobe, Flag.ASYMMETRIC),
    (wide_frame, Flag.AREA_SMALL),
    (close_crop, Flag.AREA_LARGE),
    (cut_off, Flag.TOUCHES_BORDER),
    (off_centre, Flag.MISPLACED),
    (upside_down, Flag.ODD_SHAPE),
    (unsure, Flag.LOW_CONFIDENCE),
    (another_opinion, Flag.UNSTABLE),
    (negative, Flag.BRIGHT_LUNGS),
    (flat, Flag.FLAT_CONTRAST),
    (narrow_window, Flag.DOUBTFUL_WINDOW),
    (spacing_of_a_mouse, Flag.TAG_CONTRADICTION),
    (seen_from_the_side, Flag.TAG_CONTRADICTION),
    (turned_by_its_mask, Flag.ORIENTATION_CORRECTED),
    (inverted_by_its_mask, Flag.POLARITY_CORRECTED),
    (without_heart, Flag.NO_HEART),
    (cut_heart, Flag.HEART_TOUCHES_BORDER),
    (huge_heart, Flag.UNUSUAL_RATIO),
    (tiny_heart, Flag.UNUSUAL_RATIO),
    (seen_from_the_front, Flag.AP_RATIO),
)


def test_what_is_as_it_should_be_has_no_flag(chest):
    chest.flipped = chest.probabilities
    quality = chest.assess()
    assert quality.flags == ()
    assert quality.confidence > 0.8


@pytest.mark.parametrize(("spoil", "flag"), PROVOKED, ids=lambda one: getattr(one, "__name__", str(one)))
def test_every_flag_has_its_reason(chest, spoil, flag):
    spoil(chest)
    quality = chest.assess()
    assert flag in quality.flags
    assert 0 <= quality.confidence <= 1
    assert all(math.isfinite(value) for value in quality.features.values())


def test_no_flag_is_left_out_above_or_in_the_documentation():
    assert {flag for _, flag in PROVOKED} == set(Flag)
    text = (ROOT / "docs/quality-flags.md").read_text(encoding="utf-8")
    text = text[text.index("## The flags") : text.index("## The features")]
    documented = re.findall(r"^\| `([a-z-]+)` \|", text, flags=re.MULTILINE)
    assert documented == [str(flag) for flag in Flag]


def test_every_feature_is_documented(chest):
    chest.flipped = chest.probabilities
    text = (ROOT / "docs/quality-flags.md").read_text(encoding="utf-8")
    assert [name for name in chest.assess().features if f"`{name}`" not in text] == []


def test_flags_come_in_their_order_and_once(chest):
    negative(chest)
    no_lung(chest)
    assert chest.assess().flags == (Flag.NO_LUNG, Flag.LOW_CONFIDENCE, Flag.BRIGHT_LUNGS)


def test_confidence_falls_as_the_network_gets_less_sure(chest):
    certain = chest.probabilities
    confidences = []
    for certainty in (1.0, 0.8, 0.6, 0.4, 0.2):
        chest.probabilities = (0.5 + certainty * (certain - 0.5)).astype(np.float32)
        confidences.append(chest.assess().confidence)
    assert confidences == sorted(confidences, reverse=True)
    assert confidences[-1] < 0.2


def test_features_of_rectangles_by_hand():
    label_map = np.zeros((128, 256), np.uint8)
    label_map[32:80, 64:112] = 1
    label_map[56:80, 160:208] = 2
    pixels = np.where(label_map > 0, 0.25, 0.75).astype(np.float32)
    probabilities = (label_map[:, ::2] > 0).astype(np.float32)
    features = assess(label_map, probabilities, Radiograph(Path("x.png"), pixels)).features
    assert features["area_fraction"] == (48 + 24) * 48 / (128 * 256)
    assert features["left_right_ratio"] == 0.5
    assert features["row"] == pytest.approx((2 * 56 + 68) / 3 / 128)
    assert features["column"] == pytest.approx((2 * 88 + 184) / 3 / 256)
    assert features["height"] == 48 / 128
    assert (features["right_aspect"], features["left_aspect"]) == (1.0, 0.5)
    assert features["right_solidity"] == features["left_solidity"] == 1.0
    assert features["row_overlap"] == 1.0
    assert features["border_contact"] == 0.0
    assert features["lung_contrast"] == 1.0
    assert features["contour_confidence"] == features["expected_dice"] == 1.0


def test_a_coarser_label_map_gives_the_same_answer(chest):
    native = chest.assess()
    chest.label_map = chest.label_map[2::4, 2::4]
    coarse = chest.assess()
    assert coarse.flags == native.flags
    assert coarse.confidence == pytest.approx(native.confidence, abs=0.01)


def test_what_lies_outside_of_the_shutter_does_not_count(chest):
    inside = np.ones(chest.pixels.shape, bool)
    inside[:60] = inside[-60:] = False
    chest.pixels[~inside] = 0
    chest.radiograph["valid"] = inside
    assert chest.assess().flags == ()
    chest.radiograph["valid"] = np.zeros_like(inside)  # nothing to see, and no crash
    assert Flag.BRIGHT_LUNGS in chest.assess().flags


def test_anisotropic_pixels_have_the_shape_that_they_have_in_the_patient(chest):
    squeezed = chest.pixels[::3]
    chest.label_map, chest.probabilities = chest.label_map[::3], chest.probabilities[::3]
    chest.pixels = np.ascontiguousarray(squeezed)
    assert Flag.ODD_SHAPE in chest.assess().flags
    chest.radiograph["spacing"] = Spacing(1.2, 0.4, "PixelSpacing")
    assert Flag.ODD_SHAPE not in chest.assess().flags


def test_agreement_with_the_mirrored_picture():
    one = np.array([[0.9, 0.8, 0.1, 0.2]])
    other = np.array([[0.9, 0.1, 0.6, 0.2]])
    assert flip_agreement(one, other) == 0.5
    assert flip_agreement(one, one) == 1.0
    assert flip_agreement(np.zeros((2, 2)), np.zeros((2, 2))) == 1.0


@pytest.fixture(scope="module")
def flags_of():
    segmenter = Segmenter("unet", device="cpu")

    def flags_of(picture):
        if isinstance(picture, np.ndarray):
            picture = Radiograph(Path("picture.png"), np.ascontiguousarray(picture, dtype=np.float32))
        predictor = segmenter._predictor
        return predictor.drive(segmenting(picture, predictor.processing, correct=False)).quality.flags

    return flags_of


@pytest.mark.parametrize("sign", ["positive", "negative"])
@pytest.mark.parametrize("draw", hard_cases.DRAWINGS, ids=lambda draw: draw.__name__)
def test_what_is_drawn_and_no_frontal_chest_is_flagged(flags_of, draw, sign):
    picture = draw(100)
    assert flags_of(picture if sign == "positive" else 1 - picture)


@pytest.mark.parametrize("name", ["camera.png", "chelsea.png", "coins.png", "horse.png", "page.png"])
def test_photographs_are_flagged(flags_of, name):
    assert flags_of(hard_cases.photograph(name))


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.stem)
def test_samples_have_no_flag_and_their_negatives_do(flags_of, path):
    radiograph = read_radiograph(path)
    assert flags_of(radiograph) == ()
    assert Flag.BRIGHT_LUNGS in flags_of(1 - radiograph.pixels)


@pytest.mark.skipif(not REAL.is_dir(), reason="no real radiographs beside the checkout")
@pytest.mark.parametrize("dataset", ["jsrt", "shenzhen"])
def test_real_radiographs_are_flagged_where_they_are_spoiled(flags_of, dataset):
    paths = sorted((REAL / dataset / "images").glob("*.png"))[:3]
    assert len(paths) == 3
    for path in paths:
        pixels = read_radiograph(path, require_frontal=False).pixels
        assert flags_of(pixels) == (), path.name
        assert Flag.BRIGHT_LUNGS in flags_of(1 - pixels), path.name
        assert flags_of(pixels[::-1]), path.name


@pytest.mark.parametrize(
    ("feature", "value", "flag"),
    [
        ("row_overlap", 0.5, Flag.MISPLACED),
        ("row", 0.2, Flag.MISPLACED),
        ("row", 0.7, Flag.MISPLACED),
        ("column", 0.3, Flag.MISPLACED),
        ("column", 0.7, Flag.MISPLACED),
        ("left_right_ratio", 0.05, Flag.ONE_LUNG),
        ("left_right_ratio", 0.3, Flag.ASYMMETRIC),
        ("area_fraction", 0.05, Flag.AREA_SMALL),
        ("area_fraction", 0.6, Flag.AREA_LARGE),
        ("border_contact", 0.1, Flag.TOUCHES_BORDER),
        ("shape_likeness", 0.5, Flag.ODD_SHAPE),
        ("right_solidity", 0.5, Flag.ODD_SHAPE),
        ("left_aspect", 4.0, Flag.ODD_SHAPE),
        ("midline_brightness", 0.2, Flag.BRIGHT_LUNGS),
        ("lung_contrast", 0.1, Flag.BRIGHT_LUNGS),
        ("clipped_fraction", 0.5, Flag.DOUBTFUL_WINDOW),
        ("grey_spread", 0.01, Flag.FLAT_CONTRAST),
    ],
)
def test_each_feature_alone_sets_its_flag(chest, feature, value, flag):
    features = chest.assess().features
    assert quality_module._flags(features, 0.9) == set()
    assert quality_module._flags(features | {feature: value}, 0.9) == {flag}
