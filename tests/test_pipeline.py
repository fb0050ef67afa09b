"""The batch: names, tables, references and failures, with a segmenter that takes what is dark for lung."""

import csv
import json

import numpy as np
import pytest
from PIL import Image
from pydicom import dcmread

from lungfield.errors import DataError, OutputError
from lungfield.inference import find_bundle
from lungfield.mask import clean_mask, split_lungs
from lungfield.pipeline import Segmentation, segment_files


class DarkIsLung:
    """Stands in for a `Segmenter`: no network, the same results every time."""

    bundle = find_bundle("unet")

    def __call__(self, radiograph):
        label_map = split_lungs(clean_mask(radiograph.pixels < 0.3), mirrored=radiograph.mirrored)
        return Segmentation(radiograph, label_map, self.bundle)


@pytest.fixture
def chest():
    """(120, 100) uint8: two dark blocks, the larger on the image's left; and their label map."""
    label_map = np.zeros((120, 100), dtype=np.uint8)
    label_map[20:100, 15:40] = 1
    label_map[30:90, 60:80] = 2
    return np.where(label_map > 0, 20, 180).astype(np.uint8), label_map


@pytest.fixture
def inputs(tmp_path, chest, make_dicom):
    pixels, _ = chest
    folder = tmp_path / "in"
    (folder / "ward").mkdir(parents=True)
    pixels = pixels.astype(np.uint16)
    make_dicom(
        folder / "ward" / "a.dcm", pixels, PixelSpacing=[2, 1], PatientName="Secret^Name", PatientID="ID-77"
    )
    make_dicom(folder / "lateral.dcm", pixels, ViewPosition="LL", PatientName="Secret^Name")
    Image.fromarray(pixels.astype(np.uint8)).save(folder / "a.png")
    (folder / "broken.dcm").write_bytes(b"\0" * 128 + b"DICM" + b"\1\2\3")
    return folder


def run(inputs, output, **options):
    return segment_files([inputs], output, DarkIsLung(), **options)


def test_outputs_mirror_the_inputs(inputs, tmp_path, chest):
    batch = run(inputs, tmp_path / "out")
    assert {file.file: file.status for file in batch.files} == {
        "a.png": "done",
        "broken.dcm": "failed",
        "lateral.dcm": "skipped",
        "ward/a.dcm": "done",
    }
    written = {path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*.*")}
    assert written == {
        "masks/a.png",
        "masks/ward/a.png",
        "overlays/a.jpg",
        "overlays/ward/a.jpg",
        "seg/ward/a.dcm",
        "results.csv",
        "results.json",
    }
    for mask in ("a.png", "ward/a.png"):
        np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "out" / "masks" / mask)), chest[1])
    seg = dcmread(tmp_path / "out" / "seg" / "ward" / "a.dcm")
    source = dcmread(inputs / "ward" / "a.dcm")
    assert seg.Modality == "SEG"
    assert seg.StudyInstanceUID == source.StudyInstanceUID


def test_tables_say_what_was_measured(inputs, tmp_path):
    run(inputs, tmp_path / "out")
    rows = {
        row["file"]: row
        for row in csv.DictReader((tmp_path / "out" / "results.csv").read_text().splitlines())
    }
    assert float(rows["ward/a.dcm"]["right_lung_area_mm2"]) == 80 * 25 * 2
    assert float(rows["a.png"]["left_lung_area_px"]) == 60 * 20
    assert rows["a.png"]["left_lung_area_mm2"] == ""
    assert rows["broken.dcm"]["reason"]
    assert "lateral" in rows["lateral.dcm"]["reason"]
    assert str(inputs) not in rows["lateral.dcm"]["reason"]
    content = json.loads((tmp_path / "out" / "results.json").read_text())
    assert content["summary"]["done"] == 2
    assert [row["file"] for row in content["files"]] == sorted(rows)


def test_no_identity_in_tables(inputs, tmp_path):
    run(inputs, tmp_path / "out")
    for name in ("results.csv", "results.json"):
        text = (tmp_path / "out" / name).read_text()
        assert "Secret" not in text
        assert "ID-77" not in text


def test_references_are_matched_and_compared(inputs, tmp_path, chest):
    references = tmp_path / "references"
    (references / "ward").mkdir(parents=True)
    Image.fromarray(chest[1]).save(references / "ward" / "a.png")
    half = np.where(np.arange(100) < 50, chest[1], 0).astype(np.uint8)
    Image.fromarray(half).save(references / "a.png")
    batch = run(inputs, tmp_path / "out", references=references)
    dice = {file.file: file.agreement.dice for file in batch.files if file.agreement}
    # Of two references with one name, each file gets the one in its own place.
    assert dice["ward/a.dcm"] == 1
    left, right = 80 * 25, 60 * 20
    assert dice["a.png"] == pytest.approx(2 * left / (2 * left + right))
    summary = batch.to_json()
    assert summary["compared"] == 2
    assert summary["agreement"]["dice"]["count"] == 2
    assert summary["agreement"]["hd95_mm"]["mean"] == 0
    assert summary["agreement"]["hd95_px"]["count"] == 1


def test_wrong_reference_is_a_warning_not_a_failure(inputs, tmp_path):
    references = tmp_path / "references"
    references.mkdir()
    Image.fromarray(np.zeros((7, 9), dtype=np.uint8)).save(references / "a.png")
    batch = run(inputs, tmp_path / "out", references=references)
    rows = {file.file: file for file in batch.files}
    assert rows["a.png"].status == "done"
    assert "reference (7, 9)" in rows["a.png"].row["warnings"]


def test_names_that_would_collide_keep_their_suffix(tmp_path, chest, make_dicom):
    folder = tmp_path / "in"
    folder.mkdir()
    Image.fromarray(chest[0]).save(folder / "x.png")
    make_dicom(folder / "X.dcm", chest[0].astype(np.uint16))
    Image.fromarray(chest[0]).save(folder / "1.2.840.png")
    run(folder, tmp_path / "out")
    names = sorted(path.name for path in (tmp_path / "out" / "masks").iterdir())
    assert names == ["1.2.840.png", "X.dcm.png", "x.png.png"]


def test_a_name_like_anothers_full_name_does_not_replace_it(tmp_path, chest, make_dicom):
    folder = tmp_path / "in"
    folder.mkdir()
    for name in ("x.png", "x.dcm", "x.dcm.png", "1.2.840.1", "1.2.840.2"):
        if name.endswith(".png"):
            Image.fromarray(chest[0]).save(folder / name)
        else:
            make_dicom(folder / name, chest[0].astype(np.uint16))
    run(folder, tmp_path / "out")
    names = {path.name for path in (tmp_path / "out" / "masks").iterdir()}
    assert names == {"x.png.png", "x.dcm.png", "x.dcm.png.png", "1.2.840.1.png", "1.2.840.2.png"}


def test_a_second_run_leaves_the_results_of_the_first_alone(inputs):
    first = run(inputs, inputs / "out")
    second = run(inputs, inputs / "out")
    assert [file.file for file in first.files] == [file.file for file in second.files]


class _Breaks(DarkIsLung):
    def __init__(self, error):
        self.error = error

    def __call__(self, radiograph):
        if radiograph.path.name == "a.dcm":
            raise self.error
        return super().__call__(radiograph)


def test_an_unexpected_error_is_one_failed_file(inputs, tmp_path):
    batch = segment_files([inputs], tmp_path / "out", _Breaks(MemoryError("Secret^Name")))
    results = {file.file: file for file in batch.files}
    assert results["ward/a.dcm"].status == "failed"
    assert results["ward/a.dcm"].reason == "unexpected MemoryError; please report it"
    assert results["a.png"].status == "done"


def test_an_interrupt_leaves_tables_of_what_was_done(inputs, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        segment_files([inputs], tmp_path / "out", _Breaks(KeyboardInterrupt()))
    rows = list(csv.DictReader((tmp_path / "out" / "results.csv").read_text().splitlines()))
    assert [row["file"] for row in rows] == ["a.png", "broken.dcm", "lateral.dcm"]


def test_a_header_that_allows_no_seg_is_a_warning_and_a_full_disk_a_failure(
    tmp_path, chest, make_dicom, monkeypatch
):
    make_dicom(tmp_path / "in" / "a.dcm", chest[0].astype(np.uint16), StudyInstanceUID=None)
    batch = run(tmp_path / "in", tmp_path / "one")
    assert batch.files[0].status == "done"
    assert "StudyInstanceUID" in batch.files[0].row["warnings"]

    def full(*_arguments, **_options):
        raise OutputError("no space left")

    monkeypatch.setattr("lungfield.export.save_dicom_seg", full)
    assert run(tmp_path / "in", tmp_path / "two").files[0].status == "failed"


def test_several_references_of_one_place_are_refused(inputs, tmp_path, chest):
    references = tmp_path / "references"
    references.mkdir()
    Image.fromarray(chest[1]).save(references / "a.png")
    Image.fromarray(chest[1]).save(references / "a.tif")
    rows = {file.file: file.row for file in run(inputs, tmp_path / "out", references=references).files}
    assert rows["a.png"]["warnings"] == "2 reference masks named a"


def test_no_lung_is_said(tmp_path, make_dicom):
    bright = np.tile(np.linspace(2000, 4000, 90), (80, 1)).astype(np.uint16)
    bright[0, 0] = 0
    make_dicom(tmp_path / "bright.dcm", bright)
    batch = segment_files([tmp_path / "bright.dcm"], tmp_path / "out", _Nothing())
    assert batch.files[0].status == "done"
    assert "no lung was found" in batch.files[0].row["warnings"]


class _Nothing(DarkIsLung):
    def __call__(self, radiograph):
        return Segmentation(radiograph, np.zeros(radiograph.shape, np.uint8), self.bundle)


def test_wrong_calls_are_refused(tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(DataError, match="No DICOM, PNG"):
        run(empty, tmp_path / "out")
    with pytest.raises(DataError, match="no such file"):
        run(tmp_path / "nowhere", tmp_path / "out")
    (tmp_path / "a.png").write_bytes(b"x")
    with pytest.raises(DataError, match=r"reference masks .* does not exist"):
        run(tmp_path / "a.png", tmp_path / "out", references=tmp_path / "nowhere")
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match="cannot be written to"):
        run(tmp_path / "a.png", tmp_path / "file" / "out")


def test_segmentation_saves_what_it_says(tmp_path, chest, make_dicom):
    from lungfield.radiograph import read_radiograph

    lungs = DarkIsLung()(read_radiograph(make_dicom(tmp_path / "a.dcm", chest[0].astype(np.uint16))))
    lungs.save_mask(tmp_path / "m.png")
    lungs.save_mask(tmp_path / "m.nii.gz")
    lungs.save_overlay(tmp_path / "o.jpg")
    lungs.save_seg(tmp_path / "s.dcm")
    with pytest.raises(OutputError, match=r"\.png, \.nii or \.nii\.gz"):
        lungs.save_mask(tmp_path / "m.jpg")
    for name in ("m.png", "m.nii.gz", "s.dcm"):
        assert lungs.agreement(tmp_path / name).dice == 1
    assert lungs.agreement(chest[1] == 1).recall == 1
    assert Image.open(tmp_path / "o.jpg").size == (100, 120)
