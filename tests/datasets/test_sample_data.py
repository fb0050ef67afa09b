from __future__ import annotations

import json
import runpy
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from PIL import Image

from lungfield.datasets import load_data_list
from lungfield.errors import NotFrontalChestError
from lungfield.radiograph import read_radiograph

ROOT = Path(__file__).parents[2]
SHIPPED = ROOT / "sample_data"
ACCEPTED = [
    item for section in ("training", "validation", "test") for item in load_data_list(SHIPPED, section)
]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("samples")
    runpy.run_path(str(ROOT / "scripts" / "make_sample_data.py"))["main"](folder)
    return folder


def files_in(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def header(path: Path) -> dict[str, Any]:
    dataset = pydicom.dcmread(path)
    return {element.tag: str(element.value) for element in dataset if element.keyword != "PixelData"}


def test_script_makes_what_is_shipped(made: Path) -> None:
    assert files_in(made) == files_in(SHIPPED)
    assert (made / "dataset.json").read_text() == (SHIPPED / "dataset.json").read_text()


@pytest.mark.parametrize("name", sorted(path.name for path in (SHIPPED / "images").glob("*.dcm")))
def test_script_makes_the_shipped_images(made: Path, name: str) -> None:
    ours, shipped = made / "images" / name, SHIPPED / "images" / name
    assert header(ours) == header(shipped)
    # Another processor or library may round the last bit the other way, no more.
    difference = pydicom.dcmread(ours).pixel_array.astype(int) - pydicom.dcmread(shipped).pixel_array
    highest = 2 ** pydicom.dcmread(shipped).BitsStored
    assert np.mean(np.abs(difference) > highest / 1000) < 1e-3


@pytest.mark.parametrize("name", sorted(path.name for path in (SHIPPED / "labels").glob("*.png")))
def test_script_makes_the_shipped_labels(made: Path, name: str) -> None:
    with Image.open(made / "labels" / name) as ours, Image.open(SHIPPED / "labels" / name) as shipped:
        assert np.mean(np.asarray(ours) != np.asarray(shipped)) < 1e-4


@pytest.mark.parametrize("item", ACCEPTED, ids=lambda item: item["id"])
def test_reader_takes_them(item: dict[str, Any]) -> None:
    radiograph = read_radiograph(Path(item["image"]))
    with Image.open(item["label"]) as image:
        label_map = np.asarray(image)
    assert radiograph.shape == label_map.shape
    lungs = label_map > 0
    assert radiograph.pixels[lungs].mean() < np.median(radiograph.pixels[~lungs])
    assert radiograph.warnings == ()
    if radiograph.valid is not None:
        assert not (lungs & ~radiograph.valid).any()
    if radiograph.spacing is None:
        assert np.isnan(item["spacing_mm"]).all()
    else:
        assert item["spacing_mm"] == pytest.approx(
            [radiograph.spacing.row_mm, radiograph.spacing.column_mm], abs=1e-4
        )


def test_they_differ_in_what_a_reader_must_cope_with() -> None:
    headers = [pydicom.dcmread(item["image"]) for item in ACCEPTED]
    assert len(headers) == 7
    assert len({file.file_meta.TransferSyntaxUID for file in headers}) == 7
    assert {file.PhotometricInterpretation for file in headers} == {"MONOCHROME1", "MONOCHROME2"}
    assert {file.get("PresentationLUTShape") for file in headers} == {"IDENTITY", "INVERSE", None}
    assert {file.BitsStored for file in headers} == {8, 10, 12, 14, 16}
    assert {np.sign(file.Rows - file.Columns) for file in headers} == {-1, 0, 1}
    assert {file.SOPClassUID.name.split()[0] for file in headers} == {"Digital", "Computed", "Secondary"}


def test_two_must_be_turned_down() -> None:
    items = load_data_list(SHIPPED, "turned_down")
    assert len(items) == 2
    for item in items:
        with pytest.raises(NotFrontalChestError):
            read_radiograph(Path(item["image"]))


def test_the_list_says_why_they_are_turned_down() -> None:
    content = json.loads((SHIPPED / "dataset.json").read_text())
    assert [item["reason"] for item in content["turned_down"]] == [
        "a lateral view",
        "a CT slice, not a radiograph",
    ]


def test_they_are_small() -> None:
    assert sum((SHIPPED / name).stat().st_size for name in files_in(SHIPPED)) < 3_000_000


@pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="needs dciodvfy (Debian package dicom3tools)")
@pytest.mark.parametrize("path", sorted((SHIPPED / "images").glob("*.dcm")), ids=lambda path: path.stem)
def test_they_are_valid_dicom(path: Path, tmp_path: Path) -> None:
    dataset = pydicom.dcmread(path)
    if dataset.file_meta.TransferSyntaxUID.is_deflated:
        # dciodvfy cannot inflate; what is inside can still be checked.
        dataset.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
        path = tmp_path / path.name
        dataset.save_as(path)
    check = subprocess.run(["dciodvfy", str(path)], capture_output=True, text=True, check=False)
    errors = [line for line in (check.stdout + check.stderr).splitlines() if line.startswith("Error")]
    assert errors == []
