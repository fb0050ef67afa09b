from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pydicom
import pytest
from PIL import Image
from scipy import ndimage

from lungfield.datasets import Split, load_data_list
from lungfield.errors import DataError
from lungfield.radiograph import read_radiograph
from phantoms import Phantom, make_phantom, prepare_phantoms

SHAPES = [(160, 160), (200, 160), (160, 208)]


@pytest.fixture(scope="module", params=range(6))
def phantom(request: pytest.FixtureRequest) -> Phantom:
    return make_phantom(request.param, shape=SHAPES[request.param % 3])


def test_pixels(phantom: Phantom) -> None:
    assert phantom.pixels.dtype == np.float32
    assert phantom.pixels.min() >= 0
    assert phantom.pixels.max() <= 1
    assert phantom.pixels.std() > 0.1


def test_two_lungs_in_one_piece_each(phantom: Phantom) -> None:
    assert phantom.label_map.dtype == np.uint8
    assert phantom.label_map.shape == phantom.pixels.shape
    assert set(np.unique(phantom.label_map)) == {0, 1, 2}
    for value in (1, 2):
        areas = np.bincount(ndimage.label(phantom.label_map == value)[0].ravel())[1:]
        assert areas.max() > 0.99 * areas.sum()


def test_right_lung_is_on_the_left_side_of_the_image(phantom: Phantom) -> None:
    right, left = (np.nonzero(phantom.label_map == value)[1] for value in (1, 2))
    assert right.max() < left.min()


def test_areas_are_those_of_adults(phantom: Phantom) -> None:
    fraction = np.count_nonzero(phantom.label_map) / phantom.label_map.size
    assert 0.14 < fraction < 0.36
    pixel_cm2 = (phantom.spacing_mm / 10) ** 2
    right, left = (np.count_nonzero(phantom.label_map == value) * pixel_cm2 for value in (1, 2))
    assert 120 < left < 240
    assert 1.0 < right / left < 1.35


def test_lungs_are_darker_than_what_is_around_them(phantom: Phantom) -> None:
    lungs = phantom.label_map > 0
    around = ndimage.binary_dilation(lungs, iterations=8) & ~ndimage.binary_dilation(lungs, iterations=2)
    assert phantom.pixels[lungs].mean() < phantom.pixels[around].mean() - 0.08


def test_right_dome_is_higher(phantom: Phantom) -> None:
    lowest = [np.nonzero((phantom.label_map == value).any(axis=1))[0].max() for value in (1, 2)]
    assert lowest[0] <= lowest[1] + 3


def test_same_seed_same_phantom() -> None:
    first, again, other = (make_phantom(seed, shape=(96, 96)) for seed in (5, 5, 6))
    np.testing.assert_array_equal(first.pixels, again.pixels)
    np.testing.assert_array_equal(first.label_map, again.label_map)
    assert not np.array_equal(first.label_map, other.label_map)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("phantoms")
    prepare_phantoms(folder, count=5, size=96, seed=1, split=Split("3:1:1"))
    return folder


def test_prepared_set(prepared: Path) -> None:
    assert [len(load_data_list(prepared, name)) for name in ("training", "validation", "test")] == [3, 1, 1]
    (item,) = load_data_list(prepared, "test")
    radiograph = read_radiograph(item["image"])
    number = int(item["id"].removeprefix("phantom_"))
    phantom = make_phantom([1, number], shape=(96, 96))
    np.testing.assert_allclose(radiograph.pixels, phantom.pixels, atol=0.5 / 4095 + 1e-6)
    assert radiograph.view == "PA"
    assert radiograph.spacing is not None
    assert radiograph.spacing.row_mm == item["spacing_mm"][0] == phantom.spacing_mm
    with Image.open(item["label"]) as label:
        np.testing.assert_array_equal(np.asarray(label), phantom.label_map)


def test_more_phantoms_begin_with_the_same(prepared: Path, tmp_path: Path) -> None:
    prepare_phantoms(tmp_path, count=1, size=96, seed=1, split=Split("1:0:0"))
    name = "images/phantom_0001.dcm"
    assert (tmp_path / name).read_bytes() == (prepared / name).read_bytes()


def test_identifiers_are_unique(prepared: Path) -> None:
    files = [pydicom.dcmread(path, stop_before_pixels=True) for path in (prepared / "images").iterdir()]
    for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "PatientID"):
        assert len({file[keyword].value for file in files}) == 5


@pytest.mark.parametrize("wrong", [{"count": 0}, {"size": 32}, {"seed": -1}])
def test_wrong_numbers(tmp_path: Path, wrong: dict[str, int]) -> None:
    with pytest.raises(DataError):
        prepare_phantoms(tmp_path, **wrong)


def test_the_command(tmp_path: Path) -> None:
    words = ["--count", "2", "--size", "64", "--split", "1:0:1", "-o", "out"]
    script = Path(__file__).parents[2] / "scripts" / "make_phantoms.py"
    done = subprocess.run(
        [sys.executable, script, *words], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "out: 1 training, 0 validation, 1 test\n"
    assert len(list((tmp_path / "out" / "images").glob("*.dcm"))) == 2
    again = subprocess.run(
        [sys.executable, script, *words], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert again.returncode == 1
    assert again.stderr.startswith("The output folder out holds a data set")
