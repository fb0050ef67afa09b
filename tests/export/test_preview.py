"""The picture in layers: plain pixels, and contours that lie on the masks."""

import base64
import io
import re
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image, ImageDraw

from lungfield.errors import OutputError
from lungfield.export import save_preview
from lungfield.labels import HEART, LUNGS
from lungfield.mask.regions import Regions
from lungfield.pose import UPRIGHT, Pose
from lungfield.records import Radiograph

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture
def drawn(tmp_path):
    """A function that saves a preview, and what it holds: the size, the picture, and paths by layer."""

    def draw(label_map, pixels=None, pose=UPRIGHT, structures=None, **options):
        pixels = np.full(label_map.shape, 0.25, np.float32) if pixels is None else pixels
        radiograph = Radiograph(tmp_path / "a.png", np.ascontiguousarray(pose.upright(pixels)), pose=pose)
        save_preview(radiograph, Regions(label_map, structures), tmp_path / "a.svg", **options)
        root = ElementTree.parse(tmp_path / "a.svg").getroot()  # noqa: S314 - written above
        layers = {layer.get("id"): layer for layer in root if layer.get("class") == "layer"}
        jpeg = base64.b64decode(layers["picture"].get("href").partition(",")[2])
        paths = {
            name: {path.get("data-structure"): path for path in layers[name]}
            for name in ("prediction", "reference")
        }
        return np.asarray(Image.open(io.BytesIO(jpeg))), paths

    return draw


def filled(path, shape):
    """The pixels whose centres lie within the contours of a path."""
    inside = np.zeros(shape, bool)
    for line in path.get("d").split("M")[1:]:
        start, ways = re.fullmatch(r"(.*)l(.*)z", line).groups()
        steps = np.fromstring(f"{start} {ways}", sep=" ").reshape(-1, 2)
        points = np.cumsum(steps, axis=0)
        image = Image.new("1", shape[::-1])
        ImageDraw.Draw(image).polygon([tuple(point - 0.5) for point in points], fill=1, outline=1)
        inside ^= np.asarray(image)
    return inside


def disk(shape, row, column, radius):
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    return (rows - row) ** 2 + (columns - column) ** 2 <= radius**2


def test_contours_lie_on_the_masks(drawn):
    shape = (200, 300)
    label_map = (disk(shape, 90, 80, 50) * 1 + disk(shape, 100, 210, 60) * 2).astype(np.uint8)
    heart, reference = disk(shape, 140, 150, 40), disk(shape, 95, 150, 90)
    picture, paths = drawn(label_map, structures={"heart": heart}, reference=reference)
    assert picture.shape == shape
    assert np.abs(picture.astype(int) - 64).max() <= 2
    assert list(paths["prediction"]) == ["right_lung", "left_lung", "heart"]
    masks = {label.name: label_map == label.value for label in LUNGS} | {"heart": heart}
    for label in (*LUNGS, HEART):
        path = paths["prediction"][label.name]
        assert path.get("stroke") == f"rgb{label.colour_rgb}"
        assert np.mean(filled(path, shape) != masks[label.name]) < 0.003
    assert np.mean(filled(paths["reference"]["reference_lungs"], shape) != reference) < 0.003


def test_large_pictures_are_reduced_and_their_contours_too(drawn):
    shape = (1600, 1500)
    mask = disk(shape, 800, 700, 500)
    picture, paths = drawn(mask.astype(np.uint8))
    assert picture.shape == (800, 750)
    found = filled(paths["prediction"]["right_lung"], picture.shape)
    assert np.mean(found != mask[::2, ::2]) < 0.004
    assert len(paths["prediction"]["right_lung"].get("d")) < 1500
    assert paths["reference"] == {}


def test_it_lies_as_the_file_does(drawn):
    pixels = np.zeros((200, 300), np.float32)
    pixels[:, :150] = 1
    mask = np.zeros((200, 300), np.uint8)
    mask[20:60, 200:280] = 1
    picture, paths = drawn(mask, pixels, Pose(True, False, True))
    assert picture[100, 50] > 250
    assert picture[100, 250] < 5
    assert filled(paths["prediction"]["right_lung"], mask.shape)[40, 240]


def test_no_lung_and_no_folder(drawn, tmp_path):
    _, paths = drawn(np.zeros((100, 100), np.uint8), reference=np.zeros((100, 100), bool))
    assert paths == {"prediction": {}, "reference": {}}
    (tmp_path / "file").touch()
    radiograph = Radiograph(tmp_path / "a.png", np.zeros((100, 100), np.float32))
    with pytest.raises(OutputError):
        save_preview(radiograph, Regions(np.zeros((100, 100), np.uint8)), tmp_path / "file" / "a.svg")
