from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lungfield.errors import OutputError
from lungfield.export import save_overlay
from lungfield.export.overlay import reduced_picture, render_overlay
from lungfield.labels import LEFT_LUNG, RIGHT_LUNG
from lungfield.mask.regions import Regions
from lungfield.records import Radiograph

IDENTITY = (b"Doe", b"PID-4711", b"19501231", b"ACC-0815", b"20240229")


@pytest.fixture
def grey():
    return Radiograph(Path("a.png"), np.full((300, 400), 0.5, dtype=np.float32))


@pytest.fixture
def lungs():
    labels = np.zeros((300, 400), dtype=np.uint8)
    labels[50:250, 60:160], labels[60:240, 250:340] = 1, 2
    return labels


def load(path):
    with Image.open(path) as image:
        assert image.format == "JPEG"
        return np.asarray(image.convert("RGB")).astype(int)


def test_contours_lie_on_the_edges_in_the_labels_colours(tmp_path, grey, lungs):
    save_overlay(grey, Regions(lungs), tmp_path / "a.jpg")
    picture = load(tmp_path / "a.jpg")
    assert picture.shape == (300, 400, 3)
    right, left = np.array(RIGHT_LUNG.colour_rgb), np.array(LEFT_LUNG.colour_rgb)
    # The edges of the right lung lie between columns 59 and 60, and rows 249 and 250.
    for place in ((150, slice(59, 61)), (slice(249, 251), 110)):
        assert np.abs(picture[place] - right).max() < 40
    assert np.abs(picture[150, 249:251] - left).max() < 40
    # A light fill: tinted, and nearer to the radiograph than to the colour.
    inside = picture[150, 110]
    assert 5 < inside[2] - inside[0] < 60
    # Away from lungs and letters, the radiograph is as it was.
    assert np.abs(picture[270:, :] - 128).max() <= 3
    assert np.abs(picture[100:230, 200] - 128).max() <= 3


@pytest.mark.parametrize("shape", [(600, 800), (731, 977), (1201, 1601), (299, 401)])
def test_reduced_contours_lie_where_they_do_at_full_size(tmp_path, shape):
    """Ends of the lung at two fifths and four fifths of the height, a fifth and two fifths of the width."""
    rows, columns = (np.arange(length) + 0.5 for length in shape)
    within = [
        (rows / shape[0] > 0.4) & (rows / shape[0] < 0.8),
        (columns / shape[1] > 0.2) & (columns / shape[1] < 0.4),
    ]
    radiograph = Radiograph(Path("a.png"), np.full(shape, 0.5, dtype=np.float32))
    save_overlay(
        radiograph, Regions(np.outer(*within).astype(np.uint8)), tmp_path / "a.jpg", longest_side=400
    )
    picture = load(tmp_path / "a.jpg")
    blue = np.abs(picture - RIGHT_LUNG.colour_rgb).max(axis=2)
    height, width = picture.shape[:2]
    for line, expected in (
        (blue[round(0.6 * height)], (0.2 * width, 0.4 * width)),
        (blue[:, round(0.25 * width)], (0.4 * height, 0.8 * height)),
    ):
        first, last = np.flatnonzero(line < 40)[[0, -1]]
        assert abs(first + 0.5 - expected[0]) <= 1.5
        assert abs(last + 0.5 - expected[1]) <= 1.5


def test_the_border_of_the_picture_is_no_contour(tmp_path, grey):
    save_overlay(grey, Regions(np.ones((300, 400), np.uint8)), tmp_path / "a.jpg")
    picture = load(tmp_path / "a.jpg")[150:, 100:]  # away from the letter
    assert np.abs(picture - picture[75, 150]).max() <= 4
    assert 5 < picture[75, 150, 2] - picture[75, 150, 0] < 60


def test_the_same_radiograph_gives_the_same_file(tmp_path, radiograph, label_map):
    for name in ("a.jpg", "b.jpg"):
        save_overlay(radiograph, Regions(label_map), tmp_path / name)
    assert (tmp_path / "a.jpg").read_bytes() == (tmp_path / "b.jpg").read_bytes()


def test_letters_stand_outside_on_the_lungs_own_side(tmp_path, grey, lungs):
    save_overlay(grey, Regions(lungs), tmp_path / "a.jpg")
    changed = np.abs(load(tmp_path / "a.jpg") - 128).max(axis=2) > 60
    changed[48:252, 56:164] = changed[58:242, 246:344] = False
    columns = np.flatnonzero(changed.any(axis=0))
    assert columns.size
    assert set(columns < 60) == {True, False}
    assert not ((columns > 60) & (columns < 340)).any()


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((300, 400), (75, 100)),
        ((400, 300), (100, 75)),
        ((120, 149), (120, 149)),  # nearer to 100 than half of it is
        ((120, 151), (60, 76)),
        ((301, 362), (76, 91)),
    ],
)
def test_reduced_by_the_whole_number_that_comes_nearest(tmp_path, shape, expected):
    radiograph = Radiograph(Path("a.png"), np.zeros(shape, dtype=np.float32))
    save_overlay(radiograph, Regions(np.zeros(shape, np.uint8)), tmp_path / "a.jpg", longest_side=100)
    assert load(tmp_path / "a.jpg").shape[:2] == expected


def test_a_reduced_pixel_is_the_mean_of_a_square(tmp_path):
    rng = np.random.default_rng(2)
    squares = rng.integers(0, 256, (12, 16))
    spread = rng.integers(-9, 10, (12, 3, 16, 3))
    spread -= spread.mean(axis=(1, 3), keepdims=True).round().astype(int)
    pixels = np.clip(squares[:, None, :, None] + spread, 0, 255).reshape(36, 48)
    radiograph = Radiograph(Path("a.png"), (pixels / 255).astype(np.float32))
    picture = render_overlay(radiograph, Regions(np.zeros((36, 48), np.uint8)), longest_side=16)
    means = pixels.reshape(12, 3, 16, 3).mean(axis=(1, 3))
    assert np.abs(np.asarray(picture).astype(int) - means[..., None]).max() <= 1


@pytest.mark.parametrize("shape", [(36, 48), (37, 47), (38, 49)])
def test_squares_at_the_edge_are_means_of_what_is_there(shape):
    pixels = np.random.default_rng(3).random(shape, dtype=np.float32)
    picture = np.asarray(reduced_picture(Radiograph(Path("a.png"), pixels), longest_side=16).picture)
    padded = np.pad(pixels, [(0, -length % 3) for length in shape], constant_values=np.nan)
    squares = padded.reshape(padded.shape[0] // 3, 3, -1, 3)
    np.testing.assert_allclose(picture, 255 * np.nanmean(squares, axis=(1, 3)), atol=0.51)


def test_a_lung_that_ends_within_a_square_covers_its_part_of_it(tmp_path):
    """The middle of the contour runs where the lung ends, to a part of a reduced pixel."""
    white = Radiograph(Path("a.png"), np.ones((240, 240), dtype=np.float32))
    middles = []
    for end in (80, 81, 82, 83, 84):
        labels = np.zeros((240, 240), dtype=np.uint8)
        labels[40:200, 40:end] = 1
        line = np.asarray(render_overlay(white, Regions(labels), longest_side=60)).astype(float)[30, 15:28, 0]
        strength = np.clip(line[-1] - line, 0, None) * (line < 200)  # the contour alone, not the light fill
        middles.append(15.5 + (strength * np.arange(strength.size)).sum() / strength.sum())
    np.testing.assert_allclose(middles, np.array([80, 81, 82, 83, 84]) / 4, atol=0.3)
    assert (np.diff(middles) > 0.1).all()


def test_colour_is_stored_at_full_resolution(tmp_path, grey, lungs):
    save_overlay(grey, Regions(lungs), tmp_path / "a.jpg")
    with Image.open(tmp_path / "a.jpg") as image:
        assert [layer[1:3] for layer in image.layer] == [(1, 1)] * 3  # sampling factors of Y, Cb and Cr


def test_rows_and_columns_are_not_swapped(tmp_path):
    pixels = np.zeros((40, 60), dtype=np.float32)
    pixels[:10, 40:] = 1
    save_overlay(Radiograph(Path("a.png"), pixels), Regions(np.zeros((40, 60), np.uint8)), tmp_path / "a.jpg")
    picture = load(tmp_path / "a.jpg")[..., 0]
    assert picture[4, 50] > 200
    assert picture[30, 50] < 50
    assert picture[4, 10] < 50


def test_caption_is_below_and_cut_off(tmp_path, grey, lungs):
    save_overlay(grey, Regions(lungs), tmp_path / "plain.jpg")
    save_overlay(grey, Regions(lungs), tmp_path / "a.jpg", caption="research use only " * 50)
    plain, captioned = load(tmp_path / "plain.jpg"), load(tmp_path / "a.jpg")
    assert captioned.shape[0] > plain.shape[0]
    assert captioned.shape[1] == plain.shape[1]
    assert np.abs(captioned[:290] - plain[:290]).max() < 30
    strip = captioned[302:]
    assert strip.max() > 150
    assert strip[:, -5:].max() < 60


def test_no_lung_one_lung_and_a_side_not_told(tmp_path, grey, lungs):
    save_overlay(grey, Regions(np.zeros_like(lungs)), tmp_path / "none.jpg")
    assert np.abs(load(tmp_path / "none.jpg") - 128).max() <= 3
    save_overlay(grey, Regions(np.where(lungs == 1, lungs, 0).astype(np.uint8)), tmp_path / "one.jpg")
    assert np.abs(load(tmp_path / "one.jpg")[:, 200:] - 128).max() <= 3
    save_overlay(grey, Regions(np.where(lungs > 0, 255, 0).astype(np.uint8)), tmp_path / "both.jpg")
    assert np.abs(load(tmp_path / "both.jpg") - 128).max() > 60


@pytest.mark.parametrize("shape", [(1, 1), (1, 50), (50, 1), (3, 3)])
def test_tiny_pictures(tmp_path, shape):
    radiograph = Radiograph(Path("a.png"), np.zeros(shape, dtype=np.float32))
    save_overlay(radiograph, Regions(np.ones(shape, np.uint8)), tmp_path / "a.jpg", caption="x")
    assert load(tmp_path / "a.jpg").shape[1] == shape[1]


def test_no_identity(tmp_path, radiograph, label_map):
    save_overlay(radiograph, Regions(label_map), tmp_path / "a.jpg", caption="unet")
    content = (tmp_path / "a.jpg").read_bytes()
    assert not [text for text in IDENTITY if text in content]
    with Image.open(tmp_path / "a.jpg") as image:
        assert set(image.info) <= {"jfif", "jfif_version", "jfif_unit", "jfif_density", "dpi"}


def test_the_label_map_of_another_radiograph(tmp_path, radiograph, label_map):
    with pytest.raises(OutputError, match="label map of this radiograph"):
        save_overlay(radiograph, Regions(label_map.T), tmp_path / "a.jpg")
    assert not (tmp_path / "a.jpg").exists()
    save_overlay(replace(radiograph, header=None), Regions(label_map), tmp_path / "a.jpg")
    assert (tmp_path / "a.jpg").exists()
