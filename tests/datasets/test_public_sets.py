from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from lungfield.datasets import Split, load_data_list, prepare_jsrt, prepare_montgomery, prepare_shenzhen
from lungfield.datasets.public_sets import read_jsrt_image
from lungfield.errors import DataError, UnreadableError


def read(path: Path | str) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


def items_of(folder: Path) -> dict[str, dict[str, Any]]:
    content = json.loads((folder / "dataset.json").read_text())
    return {item["id"]: item for section in ("training", "validation", "test") for item in content[section]}


def test_shenzhen(shenzhen_originals: Path, tmp_path: Path, make_picture: Any, make_lung: Any) -> None:
    out = tmp_path / "out"
    result = prepare_shenzhen(shenzhen_originals, out, split=Split("6:2:2"))
    assert result.counts == {"training": 6, "validation": 2, "test": 2}
    assert result.images_without_mask == ("CHNCXR_0011_1", "CHNCXR_0012_0")
    items = items_of(out)
    assert len(items) == 10
    assert {item["group"] for item in items.values()} == {"normal", "abnormal"}
    assert items["CHNCXR_0003_1"]["spacing_mm"] is None
    np.testing.assert_array_equal(read(out / "images" / "CHNCXR_0003_1.png"), make_picture(3))
    both = make_lung("right") | make_lung("left")
    np.testing.assert_array_equal(read(out / "labels" / "CHNCXR_0003_1.png"), both * np.uint8(255))
    assert json.loads((out / "dataset.json").read_text())["label_values"] == {
        "0": "background",
        "255": "lung, side unknown",
    }
    assert len(load_data_list(out, "training")) == 6


def test_shenzhen_halves_are_stratified(shenzhen_originals: Path, tmp_path: Path) -> None:
    prepare_shenzhen(shenzhen_originals, tmp_path / "out", split=Split("6:2:2"))
    for section, size in (("training", 6), ("validation", 2), ("test", 2)):
        items = load_data_list(tmp_path / "out", section)
        assert sum(item["id"].endswith("_1") for item in items) == size // 2


def test_shenzhen_masks_from_another_place(shenzhen_originals: Path, tmp_path: Path) -> None:
    moved = (shenzhen_originals / "mask").rename(tmp_path / "somewhere")
    result = prepare_shenzhen(shenzhen_originals, tmp_path / "out", masks=moved)
    assert sum(result.counts.values()) == 10


def test_montgomery(montgomery_originals: Path, tmp_path: Path, make_lung: Any) -> None:
    out = tmp_path / "out"
    result = prepare_montgomery(montgomery_originals, out, split=Split("2:1:1"), max_side=60)
    assert result.counts == {"training": 2, "validation": 1, "test": 1}
    assert result.sides_by_position == ()
    label_map = read(out / "labels" / "MCUCXR_0001_1.png")
    assert label_map.shape == (60, 48)  # half of 120 x 96
    np.testing.assert_array_equal(label_map == 1, make_lung("right", (120, 96))[::2, ::2])
    np.testing.assert_array_equal(label_map == 2, make_lung("left", (120, 96))[::2, ::2])
    assert read(out / "images" / "MCUCXR_0002_0.png").shape == (48, 60)


def test_montgomery_sides_are_told_by_position(montgomery_originals: Path, tmp_path: Path) -> None:
    masks = montgomery_originals / "MontgomerySet" / "ManualMask"
    (masks / "leftMask").rename(masks / "other")
    (masks / "rightMask").rename(masks / "leftMask")
    (masks / "other").rename(masks / "rightMask")
    result = prepare_montgomery(montgomery_originals, tmp_path / "out")
    assert len(result.sides_by_position) == 4
    columns = np.nonzero(read(tmp_path / "out" / "labels" / "MCUCXR_0001_1.png") == 1)[1]
    assert columns.max() < 48  # the right lung, on the left half


def test_jsrt(
    jsrt_originals: Path,
    tmp_path: Path,
    make_lung: Any,
    make_heart: Any,
    make_clavicle: Any,
    side: int,
) -> None:
    out = tmp_path / "out"
    result = prepare_jsrt(jsrt_originals, out, split=Split("2:1:1"), max_side=None)
    assert result.counts == {"training": 2, "validation": 1, "test": 1}
    item = items_of(out)["JPCLN002"]
    assert item["group"] == "abnormal"
    assert item["spacing_mm"] == pytest.approx([358.4 / side, 358.4 / side])
    label_map = read(out / "labels" / "JPCLN002.png")
    np.testing.assert_array_equal(label_map == 1, make_lung("right"))
    np.testing.assert_array_equal(label_map == 2, make_lung("left"))
    masks = {"heart": make_heart()} | {f"{one}_clavicle": make_clavicle(one) for one in ("right", "left")}
    assert item["structures"] == {name: f"{name}/JPCLN002.png" for name in masks}
    for name, mask in masks.items():
        assert read(out / name / "JPCLN002.png").dtype == bool
        np.testing.assert_array_equal(read(out / name / "JPCLN002.png"), mask)
    stored = np.frombuffer((jsrt_originals / "All247images" / "JPCLN002.IMG").read_bytes(), ">u2")
    image = read(out / "images" / "JPCLN002.png")
    assert image.dtype == np.uint16
    expected = (4095 - stored.reshape(side, side)) / 4095 * 65535
    np.testing.assert_allclose(image, expected, atol=1)


def test_jsrt_pixels_are_averaged_and_spacing_grows(jsrt_originals: Path, tmp_path: Path, side: int) -> None:
    out = tmp_path / "out"
    prepare_jsrt(jsrt_originals, out, max_side=side // 2)
    stored = np.frombuffer((jsrt_originals / "All247images" / "JPCNN001.IMG").read_bytes(), ">u2")
    pixels = 1 - stored.reshape(side // 2, 2, side // 2, 2).mean(axis=(1, 3)) / 4095
    np.testing.assert_allclose(read(out / "images" / "JPCNN001.png"), pixels * 65535, atol=1)
    assert items_of(out)["JPCNN001"]["spacing_mm"] == pytest.approx([716.8 / side] * 2)


def test_jsrt_without_heart_and_clavicles(jsrt_originals: Path, tmp_path: Path) -> None:
    for folder in jsrt_originals.glob("scratch/*/masks/*"):
        if "lung" not in folder.name:
            shutil.rmtree(folder)
    prepare_jsrt(jsrt_originals, tmp_path / "out", max_side=None)
    assert "structures" not in items_of(tmp_path / "out")["JPCLN002"]


def test_clavicles_go_by_their_place(jsrt_originals: Path, tmp_path: Path, make_clavicle: Any) -> None:
    for masks in jsrt_originals.glob("scratch/*/masks"):
        (masks / "right clavicle").rename(masks / "kept")
        (masks / "left clavicle").rename(masks / "right clavicle")
        (masks / "kept").rename(masks / "left clavicle")
    prepare_jsrt(jsrt_originals, tmp_path / "out", max_side=None)
    found = read(tmp_path / "out" / "right_clavicle" / "JPCLN002.png")
    np.testing.assert_array_equal(found, make_clavicle("right"))


def test_jsrt_air_is_high_on_disk(tmp_path: Path) -> None:
    path = tmp_path / "a.IMG"
    path.write_bytes(np.array([[4095, 0], [0, 0]], ">u2").tobytes())
    np.testing.assert_array_equal(read_jsrt_image(path).pixels, [[0, 1], [1, 1]])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "no square"),
        (b"\0" * 31, "no square"),
        (b"\0" * 33, "no square"),
        (b"\0" * 40, "no square"),
        (b"\x01\x10" * 16 + b"\x10\x01" * 9, "above 4095"),
    ],
)
def test_jsrt_bad_files(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "a.IMG").write_bytes(content)
    with pytest.raises(UnreadableError, match=message):
        read_jsrt_image(tmp_path / "a.IMG")


def test_jsrt_without_masks(jsrt_originals: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"\.gif"):
        prepare_jsrt(jsrt_originals / "All247images", tmp_path / "out")


@pytest.mark.parametrize("prepare", [prepare_shenzhen, prepare_montgomery, prepare_jsrt])
def test_wrong_folder(prepare: Callable[..., Any], tmp_path: Path) -> None:
    with pytest.raises(DataError):
        prepare(tmp_path, tmp_path / "out")
    with pytest.raises(DataError, match="No folder"):
        prepare(tmp_path / "none", tmp_path / "out")


def test_sets_in_other_layouts_are_shown_the_way(
    tmp_path: Path, save_picture: Any, make_picture: Any
) -> None:
    """What people often have: the same radiographs as PNG, in folders of their own."""
    for number in range(3):
        save_picture(tmp_path / "jsrt" / "png images" / f"JPCLN00{number}.png", make_picture(number))
        save_picture(tmp_path / "jsrt" / "masks" / f"JPCLN00{number}.png", make_picture(number))
        save_picture(tmp_path / "lungs" / "img" / f"CHNCXR_000{number}_0.png", make_picture(number))
    with pytest.raises(DataError, match=r"No \.img files") as caught:
        prepare_jsrt(tmp_path / "jsrt", tmp_path / "out")
    folder = tmp_path / "jsrt"
    assert f"folders --images '{folder / 'png images'}' --masks {folder / 'masks'} -o OUT" in str(
        caught.value
    )
    with pytest.raises(DataError, match="No folder 'masks'") as caught:
        prepare_shenzhen(tmp_path / "lungs", tmp_path / "out")
    assert f"folders --images {tmp_path / 'lungs' / 'img'} --masks MASKS -o OUT" in str(caught.value)
    with pytest.raises(DataError, match="No folder 'CXR_png'") as caught:
        prepare_shenzhen(tmp_path / "lungs", tmp_path / "out", masks=folder / "masks")
    assert "lungfield prepare folders" in str(caught.value)


def test_folds_spread_each_group(shenzhen_originals: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    prepare_shenzhen(shenzhen_originals, out, split=Split("8:0:2", folds=4))
    held_out = []
    for fold in range(4):
        validation = [item["id"] for item in load_data_list(out, "validation", fold=fold)]
        training = [item["id"] for item in load_data_list(out, "training", fold=fold)]
        assert (len(training), len(validation)) == (6, 2)
        assert not set(training) & set(validation)
        assert {name[-1] for name in validation} == {"0", "1"}
        held_out += validation
    assert len(set(held_out)) == 8
    assert not set(held_out) & {item["id"] for item in load_data_list(out, "test", fold=0)}


def test_folds_that_cannot_be_made(shenzhen_originals: Path, tmp_path: Path) -> None:
    for folds in (1, 9):
        with pytest.raises(DataError, match=f"{folds} folds cannot be made of the 8 images"):
            prepare_shenzhen(shenzhen_originals, tmp_path / "out", split=Split("8:0:2", folds=folds))
    assert not (tmp_path / "out").exists()
