from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from lungfield.datasets import load_data_list
from lungfield.errors import DataError


def make_set(folder: Path, **sections: list[str]) -> Path:
    """A prepared set of empty files; names that end in '!' are listed but have no files."""
    content: dict[str, Any] = {"name": folder.name}
    for section, names in sections.items():
        content[section] = []
        for name in names:
            for kind in ("images", "labels"):
                (folder / kind).mkdir(parents=True, exist_ok=True)
                if not name.endswith("!"):
                    (folder / kind / f"{name}.png").touch()
            paths = {"image": f"images/{name}.png", "label": f"labels/{name}.png"}
            content[section].append({"id": name, **paths, "dataset": folder.name, "spacing_mm": [0.5, 0.25]})
    folder.mkdir(exist_ok=True)
    (folder / "dataset.json").write_text(json.dumps(content))
    return folder


def test_one_set(tmp_path: Path) -> None:
    folder = make_set(tmp_path / "a", training=["one", "two"], validation=["three"])
    items = load_data_list(folder, "training")
    assert items == [
        {
            "id": name,
            "dataset": "a",
            "image": str(folder / "images" / f"{name}.png"),
            "label": str(folder / "labels" / f"{name}.png"),
            "spacing_mm": [0.5, 0.25],
        }
        for name in ("one", "two")
    ]


def test_paths_are_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_set(tmp_path / "a", training=["one"])
    monkeypatch.chdir(tmp_path)
    assert load_data_list("a", "training")[0]["image"] == str(tmp_path / "a" / "images" / "one.png")


def test_sets_in_sub_folders_are_joined(tmp_path: Path) -> None:
    make_set(tmp_path / "b", training=["two"], extra=["five"])
    make_set(tmp_path / "a", training=["one"], validation=["three"])
    assert [item["id"] for item in load_data_list(tmp_path, "training")] == ["one", "two"]
    assert [item["id"] for item in load_data_list(tmp_path, "extra")] == ["five"]


def test_base_replaces_the_folder_of_the_list(tmp_path: Path) -> None:
    make_set(tmp_path / "elsewhere", training=["one"])
    folder = make_set(tmp_path / "a", training=["one"])
    (folder / "images" / "one.png").unlink()
    items = load_data_list(folder, "training", base=tmp_path / "elsewhere")
    assert items[0]["image"] == str(tmp_path / "elsewhere" / "images" / "one.png")


def test_unknown_spacing_is_no_none(tmp_path: Path) -> None:
    """None would stop a data loader that makes a batch of items with and without spacing."""
    folder = make_set(tmp_path / "a", training=["one"])
    content = json.loads((folder / "dataset.json").read_text())
    content["training"][0]["spacing_mm"] = None
    (folder / "dataset.json").write_text(json.dumps(content))
    assert all(math.isnan(value) for value in load_data_list(folder, "training")[0]["spacing_mm"])


def test_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="No folder"):
        load_data_list(tmp_path / "none", "training")


def test_no_list(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="lungfield prepare"):
        load_data_list(tmp_path, "training")


def test_unknown_section_offers_those_there_are(tmp_path: Path) -> None:
    make_set(tmp_path / "a", training=["one"], test=["two"])
    with pytest.raises(DataError, match=r"no section 'validation'\. There are: test, training"):
        load_data_list(tmp_path / "a", "validation")


def test_empty_section(tmp_path: Path) -> None:
    make_set(tmp_path / "a", training=["one"], test=[])
    with pytest.raises(DataError, match=r"'test'.*empty"):
        load_data_list(tmp_path / "a", "test")


def test_missing_files_are_counted(tmp_path: Path) -> None:
    folder = make_set(tmp_path / "a", training=["one", "two!", "three!"])
    with pytest.raises(DataError, match=r"4 of 6 files .* the first: .*two!\.png"):
        load_data_list(folder, "training")


@pytest.mark.parametrize("content", ["{broken", "[]", '{"training": [{"id": "x"}]}', '{"training": [3]}'])
def test_broken_list(tmp_path: Path, content: str) -> None:
    (tmp_path / "dataset.json").write_text(content)
    with pytest.raises(DataError, match=r"dataset\.json"):
        load_data_list(tmp_path, "training")


def set_folds(folder: Path, *folds: int | None) -> None:
    """Write these folds into the entries of training and validation, one after the other."""
    content = json.loads((folder / "dataset.json").read_text())
    entries = [*content["training"], *content["validation"]]
    for entry, fold in zip(entries, folds, strict=True):
        entry |= {} if fold is None else {"fold": fold}
    (folder / "dataset.json").write_text(json.dumps(content))


def test_a_fold_is_validated_on_and_the_others_learnt(tmp_path: Path) -> None:
    folder = make_set(tmp_path / "a", training=["one", "two"], validation=["three"], test=["four"])
    set_folds(folder, 0, 1, 0)

    def names(section: str, fold: int | None) -> list[str]:
        return [item["id"] for item in load_data_list(folder, section, fold=fold)]

    assert (names("training", 0), names("validation", 0)) == (["two"], ["one", "three"])
    assert (names("training", 1), names("validation", 1)) == (["one", "three"], ["two"])
    assert (names("training", None), names("validation", None)) == (["one", "two"], ["three"])
    assert names("test", 0) == ["four"]


def test_folds_that_are_not_there(tmp_path: Path) -> None:
    folder = make_set(tmp_path / "a", training=["one", "two"], validation=["three"])
    set_folds(folder, 0, 1, None)
    with pytest.raises(DataError, match=r"1 of 3 entries .* have no 'fold'"):
        load_data_list(folder, "training", fold=0)
    set_folds(folder, 0, 1, 1)
    with pytest.raises(DataError, match=r"no fold 2\. There are: 0, 1\."):
        load_data_list(folder, "training", fold=2)


def test_a_structure_of_ones_own_must_be_somewhere(tmp_path: Path) -> None:
    folder = make_set(tmp_path / "a", training=["one"])
    items = load_data_list(folder, "training", structures=["heart"])
    assert items[0]["structures"] == {"heart": ""}
    with pytest.raises(DataError, match="--structure aorta=FOLDER"):
        load_data_list(folder, "training", structures=["heart", "aorta"])


def test_masks_of_structures_must_be_there(tmp_path: Path) -> None:
    folder = make_set(tmp_path / "a", training=["one"])
    content = json.loads((folder / "dataset.json").read_text())
    content["training"][0]["structures"] = {"heart": "heart/one.png"}
    (folder / "dataset.json").write_text(json.dumps(content))
    assert len(load_data_list(folder, "training")) == 1
    with pytest.raises(DataError, match=r"1 of 3 files .* missing"):
        load_data_list(folder, "training", structures=["heart"])
