from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import tifffile
from PIL import Image

from lungfield.datasets import SetDescription, Split, load_data_list, prepare_folders
from lungfield.errors import DataError, LungfieldError, OutputError, UnreadableError
from lungfield.pose import Pose


@pytest.fixture
def folders(tmp_path: Path, save_picture: Any, make_picture: Any, make_lung: Any) -> Path:
    """Folders images, masks (both lungs), right and left, of three cases."""
    for number, name in enumerate(("one", "two", "three")):
        save_picture(tmp_path / "images" / f"{name}.png", make_picture(number))
        save_picture(tmp_path / "masks" / f"{name}.png", make_lung("right") | make_lung("left"))
        for side in ("right", "left"):
            save_picture(tmp_path / side / f"{name}_label.png", make_lung(side))
    return tmp_path


def label(folder: Path, name: str) -> np.ndarray:
    with Image.open(folder / "labels" / f"{name}.png") as image:
        return np.asarray(image)


def test_masks_of_both_lungs(folders: Path, make_lung: Any) -> None:
    result = prepare_folders(folders / "images", folders / "out", masks=[folders / "masks"])
    assert sum(result.counts.values()) == 3
    both = make_lung("right") | make_lung("left")
    np.testing.assert_array_equal(label(folders / "out", "one"), both * np.uint8(255))
    assert json.loads((folders / "out" / "dataset.json").read_text())["name"] == "out"


def test_a_mask_of_each_lung(folders: Path, make_lung: Any) -> None:
    result = prepare_folders(
        folders / "images", folders / "out", right_masks=folders / "right", left_masks=folders / "left"
    )
    assert result.sides_by_position == ()
    np.testing.assert_array_equal(label(folders / "out", "two"), make_lung("right") + 2 * make_lung("left"))


def test_sides_named_the_wrong_way_round(folders: Path, make_lung: Any) -> None:
    result = prepare_folders(
        folders / "images", folders / "out", right_masks=folders / "left", left_masks=folders / "right"
    )
    assert result.sides_by_position == ("one", "three", "two")
    np.testing.assert_array_equal(label(folders / "out", "two"), make_lung("right") + 2 * make_lung("left"))


def test_several_folders_of_masks_are_put_together(folders: Path, make_lung: Any) -> None:
    prepare_folders(folders / "images", folders / "out", masks=[folders / "left", folders / "right"])
    both = make_lung("right") | make_lung("left")
    np.testing.assert_array_equal(label(folders / "out", "one") == 255, both)


def test_label_maps_keep_their_sides(folders: Path, save_picture: Any, make_lung: Any) -> None:
    label_map = (make_lung("right") + 2 * make_lung("left")).astype(np.uint8)
    for name in ("one", "two", "three"):
        save_picture(folders / "maps" / f"{name}.png", label_map)
    prepare_folders(folders / "images", folders / "out", masks=[folders / "maps"])
    np.testing.assert_array_equal(label(folders / "out", "one"), label_map)


def test_dicom_images_keep_their_spacing(tmp_path: Path, make_dicom: Any, save_picture: Any) -> None:
    pixels = np.random.default_rng(0).integers(0, 4096, (128, 64)).astype(np.uint16)
    make_dicom(tmp_path / "images" / "1.2.3.dcm", pixels, PixelSpacing=[0.2, 0.3])
    mask = np.zeros((128, 64), dtype=bool)
    mask[40:80, 8:24] = True
    save_picture(tmp_path / "masks" / "1.2.3.png", mask)
    prepare_folders(
        tmp_path / "images", tmp_path / "out", masks=[tmp_path / "masks"], split=Split("1:0:0"), max_side=64
    )
    (item,) = load_data_list(tmp_path / "out", "training")
    assert item["id"] == "1.2.3"
    assert item["spacing_mm"] == pytest.approx([0.4, 0.6])
    np.testing.assert_array_equal(label(tmp_path / "out", "1.2.3") == 255, mask[::2, ::2])


def test_mask_counts_where_half_of_the_area_is(tmp_path: Path, save_picture: Any, make_picture: Any) -> None:
    save_picture(tmp_path / "images" / "a.png", make_picture(0, (128, 128)))
    mask = np.zeros((128, 128), dtype=bool)
    mask[:50, :51] = True  # the 26th column of the result is half covered
    mask[0, 60] = True  # a quarter of a pixel of the result
    save_picture(tmp_path / "masks" / "a.png", mask)
    prepare_folders(tmp_path / "images", tmp_path / "out", masks=[tmp_path / "masks"], max_side=64)
    expected = np.zeros((64, 64), dtype=bool)
    expected[:25, :26] = True
    np.testing.assert_array_equal(label(tmp_path / "out", "a") == 255, expected)


def test_unmatched_files_are_named(folders: Path, save_picture: Any, make_picture: Any) -> None:
    save_picture(folders / "images" / "alone.png", make_picture(9))
    save_picture(folders / "masks" / "orphan_mask.png", make_picture(9) > 128)
    (folders / "images" / "readme.txt").write_text("no picture")
    result = prepare_folders(folders / "images", folders / "out", masks=[folders / "masks"])
    assert result.images_without_mask == ("alone",)
    assert result.masks_without_image == ("orphan_mask.png",)


def test_images_in_no_section_are_counted(folders: Path) -> None:
    splits = folders / "splits.json"
    splits.write_text(json.dumps({"mine": {"training": ["one"], "test": ["three"]}}))
    result = prepare_folders(
        folders / "images",
        folders / "out",
        masks=[folders / "masks"],
        description=SetDescription("mine"),
        split=Split(file=splits),
    )
    assert result.counts == {"training": 1, "validation": 0, "test": 1}
    assert result.in_no_section == ("two",)
    assert not (folders / "out" / "images" / "two.png").exists()


def test_invert_and_spacing(folders: Path, make_picture: Any) -> None:
    prepare_folders(
        folders / "images",
        folders / "out",
        masks=[folders / "masks"],
        spacing_mm=(0.5, 0.25),
        invert=True,
        split=Split("1:0:0"),
    )
    items = {item["id"]: item for item in load_data_list(folders / "out", "training")}
    assert items["two"]["spacing_mm"] == [0.5, 0.25]
    with Image.open(items["two"]["image"]) as image:
        np.testing.assert_array_equal(np.asarray(image), 255 - make_picture(1))


def test_smaller_mask_of_the_same_aspect(folders: Path, save_picture: Any, make_lung: Any) -> None:
    save_picture(folders / "masks" / "one.png", make_lung("right", (48, 48)))
    prepare_folders(folders / "images", folders / "out", masks=[folders / "masks"])
    np.testing.assert_array_equal(label(folders / "out", "one") == 255, make_lung("right"))


Change = Callable[[Path, Any, Any], None]


def mask_of_another_aspect(folder: Path, save: Any, lung: Any) -> None:
    save(folder / "masks" / "one.png", lung("right", (96, 64)))


def empty_mask(folder: Path, save: Any, lung: Any) -> None:
    save(folder / "masks" / "one.png", lung("right") & False)


def two_images_of_a_name(folder: Path, save: Any, lung: Any) -> None:
    save(folder / "images" / "one.tif", lung("right"))


def two_masks_of_a_name(folder: Path, save: Any, lung: Any) -> None:
    save(folder / "masks" / "one_mask.png", lung("right"))


def no_mask_fits(folder: Path, save: Any, lung: Any) -> None:
    for path in sorted((folder / "masks").iterdir()):
        path.rename(path.with_name("x" + path.name))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (mask_of_another_aspect, r"one\.png has 96 x 64 .*same ratio"),
        (empty_mask, "is empty"),
        (two_images_of_a_name, "same name 'one'"),
        (two_masks_of_a_name, "same name 'one'"),
        (no_mask_fits, "no image with mask"),
    ],
)
def test_bad_input(folders: Path, save_picture: Any, make_lung: Any, change: Change, message: str) -> None:
    change(folders, save_picture, make_lung)
    with pytest.raises(DataError, match=message):
        prepare_folders(folders / "images", folders / "out", masks=[folders / "masks"])
    assert not (folders / "out" / "dataset.json").exists()


def test_overlapping_lungs(folders: Path) -> None:
    with pytest.raises(DataError, match="overlaps"):
        prepare_folders(
            folders / "images", folders / "out", right_masks=folders / "masks", left_masks=folders / "left"
        )


def test_unreadable_image_leaves_no_list(folders: Path) -> None:
    (folders / "images" / "two.png").write_bytes(b"no picture at all")
    with pytest.raises(UnreadableError, match=r"two\.png"):
        prepare_folders(folders / "images", folders / "out", masks=[folders / "masks"])
    assert not (folders / "out" / "dataset.json").exists()


def test_originals_are_never_overwritten(folders: Path) -> None:
    before = (folders / "images" / "one.png").read_bytes()
    with pytest.raises(DataError, match="holds the originals"):
        prepare_folders(folders / "images", folders, masks=[folders / "masks"], max_side=64)
    assert (folders / "images" / "one.png").read_bytes() == before


@pytest.mark.parametrize("given", [(), ("right",), ("masks", "right"), ("masks", "right", "left")])
def test_wrong_combination_of_masks(folders: Path, given: tuple[str, ...]) -> None:
    with pytest.raises(DataError, match="Give either"):
        prepare_folders(
            folders / "images",
            folders / "out",
            masks=[folders / "masks"] if "masks" in given else [],
            right_masks=folders / "right" if "right" in given else None,
            left_masks=folders / "left" if "left" in given else None,
        )


def test_output_that_is_a_file(folders: Path) -> None:
    (folders / "out").write_text("in the way")
    with pytest.raises(OutputError, match="Cannot write"):
        prepare_folders(folders / "images", folders / "out", masks=[folders / "masks"])


def test_missing_folder_of_images(folders: Path) -> None:
    with pytest.raises(LungfieldError, match="No folder"):
        prepare_folders(folders / "none", folders / "out", masks=[folders / "masks"])


def test_preparing_twice_gives_the_same_bytes(folders: Path) -> None:
    def run(name: str) -> dict[str, bytes]:
        out = folders / name
        prepare_folders(
            folders / "images", out, masks=[folders / "masks"], description=SetDescription("mine")
        )
        return {str(path.relative_to(out)): path.read_bytes() for path in out.rglob("*") if path.is_file()}

    first = run("out")
    assert len(first) == 7
    assert run("again") == first


@pytest.mark.parametrize("orientation", range(2, 9))
def test_turned_images_and_masks_come_upright(
    tmp_path: Path, make_picture: Any, make_lung: Any, save_picture: Any, orientation: int
) -> None:
    """Masks as PNG lie on the stored pixels of their image; one as NIfTI says itself how it lies."""
    picture, lung = make_picture(0, (96, 128)), make_lung("right", (96, 128))
    lung[:20] = False  # unlike its mirror image, head to feet
    pose = Pose.of_exif(orientation)
    assert pose is not None
    (tmp_path / "images").mkdir()
    for name in ("png", "nifti"):
        tifffile.imwrite(
            tmp_path / "images" / f"{name}.tif",
            np.ascontiguousarray(pose.stored(picture)),
            extratags=[(274, "H", 1, orientation, True)],
        )
    save_picture(tmp_path / "masks" / "png.png", np.ascontiguousarray(pose.stored(lung)))
    mask = nibabel.Nifti1Image(lung[::-1, ::-1].T.astype(np.uint8), np.diag([0.2, 0.2, 1, 1]))
    nibabel.save(mask, tmp_path / "masks" / "nifti.nii.gz")
    prepare_folders(tmp_path / "images", tmp_path / "out", masks=[tmp_path / "masks"])
    for name in ("png", "nifti"):
        with Image.open(tmp_path / "out" / "images" / f"{name}.png") as image:
            np.testing.assert_array_equal(np.asarray(image), picture)
        np.testing.assert_array_equal(label(tmp_path / "out", name) == 255, lung)


def test_without_masks_the_set_is_unlabelled(folders: Path) -> None:
    result = prepare_folders(folders / "images", folders / "out", unlabelled=True, split=Split("1:0:0"))
    assert result.counts["training"] == 3
    assert not list((folders / "out" / "labels").iterdir())
    items = load_data_list(folders / "out", "training")
    assert all("label" not in item for item in items)


def test_pixels_can_be_marked_as_unknown(folders: Path, save_picture: Any, make_lung: Any) -> None:
    ignored = np.zeros((96, 96), dtype=bool)
    ignored[40:60] = True
    save_picture(folders / "ignore" / "two.png", ignored)
    prepare_folders(
        folders / "images", folders / "out", masks=[folders / "masks"], ignore_masks=folders / "ignore"
    )
    both = make_lung("right") | make_lung("left")
    expected = np.where(ignored, 254, both * np.uint8(255))
    np.testing.assert_array_equal(label(folders / "out", "two"), expected)
    np.testing.assert_array_equal(label(folders / "out", "one"), both * np.uint8(255))
    names = json.loads((folders / "out" / "dataset.json").read_text())["label_values"]
    assert names == {"0": "background", "254": "unknown", "255": "lung, side unknown"}


def test_an_outer_contour_tells_the_lateral_part_alone(folders: Path, make_lung: Any) -> None:
    prepare_folders(folders / "images", folders / "out", outer_masks=folders / "masks")
    found = label(folders / "out", "one")
    right = make_lung("right")
    middle = found[48]
    columns = np.nonzero(right[48])[0]
    width = len(columns)
    assert (middle[columns[2 : int(0.4 * width)]] == 255).all()
    assert (middle[columns[int(0.4 * width) + 1 :]] == 254).all()
    np.testing.assert_array_equal(middle == 255, (middle == 255)[::-1])  # the left lung is its mirror image
    assert (found[:5] == 0).all()
    assert found[24, columns[3]] == 254  # along the contour nothing is certain


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"masks": ["masks"], "unlabelled": True},
        {"masks": ["masks"], "outer_masks": "masks"},
        {"right_masks": "right"},
        {"unlabelled": True, "ignore_masks": "masks"},
    ],
)
def test_ways_to_label_exclude_each_other(folders: Path, given: dict[str, Any]) -> None:
    paths = {
        key: [folders / one for one in value]
        if isinstance(value, list)
        else folders / value
        if isinstance(value, str)
        else value
        for key, value in given.items()
    }
    with pytest.raises(DataError, match="Give either"):
        prepare_folders(folders / "images", folders / "out", **paths)


def test_masks_of_further_structures(folders: Path, make_heart: Any, save_picture: Any) -> None:
    for name in ("one", "two_heart"):
        save_picture(folders / "hearts" / f"{name}.png", make_heart((48, 48)))
    result = prepare_folders(
        folders / "images",
        folders / "out",
        masks=[folders / "masks"],
        structures={"heart": folders / "hearts"},
        split=Split("3:0:0"),
    )
    assert result.masks_without_image == ()
    with Image.open(folders / "out" / "heart" / "two.png") as mask:
        assert mask.mode == "1"
        np.testing.assert_array_equal(np.asarray(mask)[::2, ::2], make_heart((48, 48)))
    items = load_data_list(folders / "out", "training", structures=["heart", "clavicles"])
    hearts = {item["id"]: item["structures"]["heart"] for item in items}
    assert hearts["one"] == str(folders / "out" / "heart" / "one.png")
    assert hearts["three"] == ""
    assert all(item["structures"].keys() == items[0]["structures"].keys() for item in items)
    assert items[0]["structures"]["right_clavicle"] == ""


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Heart", "lower-case letters"),
        ("../heart", "lower-case letters"),
        ("images", "is no valid name"),
        ("clavicles", "right_clavicle and left_clavicle"),
        ("lungs", "--masks"),
    ],
)
def test_names_of_structures(folders: Path, name: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        prepare_folders(
            folders / "images",
            folders / "out",
            masks=[folders / "masks"],
            structures={name: folders / "masks"},
        )


def test_structures_that_belong_to_no_image(folders: Path, make_heart: Any, save_picture: Any) -> None:
    save_picture(folders / "hearts" / "four.png", make_heart())
    with pytest.raises(DataError, match="No mask of the structure 'heart'"):
        prepare_folders(
            folders / "images",
            folders / "out",
            masks=[folders / "masks"],
            structures={"heart": folders / "hearts"},
        )


def test_originals_are_not_replaced_by_structures(folders: Path, make_heart: Any, save_picture: Any) -> None:
    for name in ("one", "two", "three"):
        save_picture(folders / "heart" / f"{name}.png", make_heart())
    with pytest.raises(DataError, match="holds the originals"):
        prepare_folders(
            folders / "images", folders, masks=[folders / "masks"], structures={"heart": folders / "heart"}
        )
