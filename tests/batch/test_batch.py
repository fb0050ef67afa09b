"""The batch: names, tables, references, formats, and calls that make no sense."""

import contextlib
import csv
import json
import shutil

import misbehaving
import numpy as np
import pyarrow.parquet
import pytest
import torch
from PIL import Image
from pydicom import dcmread
from pydicom.fileset import FileSet
from pydicom.uid import CTImageStorage

from grey_bundle import write_bundle
from lungfield.batch import Options, segment_files
from lungfield.batch import run as run_module
from lungfield.batch.gpu import BatchedNetwork
from lungfield.batch.journal import FOLDER
from lungfield.bundles.predictor import Predictor
from lungfield.errors import BundleError, DataError, OutputError
from lungfield.radiograph.files import RUN_FOLDER


def rows_of(batch):
    return {row["file"]: row for row in batch.files}


def test_outputs_mirror_the_inputs(inputs, tmp_path, chest, run):
    batch = run(inputs, tmp_path / "out", report=True)
    assert {row["file"]: (row["status"], row["reason_code"]) for row in batch.files} == {
        "a.png": ("done", ""),
        "broken.dcm": ("failed", "damaged"),
        "lateral.dcm": ("skipped", "other-view"),
        "ward/a.dcm": ("done", ""),
    }
    written = {
        path.relative_to(tmp_path / "out").as_posix()
        for path in (tmp_path / "out").rglob("*.*")
        if path.is_file() and ".lungfield" not in path.parts
    }
    assert written == {
        "masks/a.png",
        "masks/ward/a.png",
        "overlays/a.jpg",
        "overlays/ward/a.jpg",
        "previews/a.svg",
        "previews/ward/a.svg",
        "seg/ward/a.dcm",
        "results.csv",
        "results.json",
        "results.parquet",
        "report.html",
    }
    for mask in ("a.png", "ward/a.png"):
        np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "out" / "masks" / mask)), chest[1])
    seg = dcmread(tmp_path / "out" / "seg" / "ward" / "a.dcm")
    assert seg.Modality == "SEG"
    assert seg.StudyInstanceUID == dcmread(inputs / "ward" / "a.dcm").StudyInstanceUID


def test_every_format_is_written_and_only_for_dicom_where_it_has_to_be(inputs, tmp_path, run):
    formats = ("sc", "nifti", "sr", "seg", "mask", "overlay", "preview")
    rows = rows_of(run(inputs, tmp_path / "out", formats=formats))
    assert {name for name in formats if rows["a.png"].get(name)} == {"nifti", "mask", "overlay", "preview"}
    places = {name: rows["ward/a.dcm"][name] for name in formats}
    assert places == {
        "sc": "sc/ward/a.dcm",
        "nifti": "nifti/ward/a.nii.gz",
        "sr": "sr/ward/a.dcm",
        "seg": "seg/ward/a.dcm",
        "mask": "masks/ward/a.png",
        "overlay": "overlays/ward/a.jpg",
        "preview": "previews/ward/a.svg",
    }
    read = {name: dcmread(tmp_path / "out" / places[name]) for name in ("seg", "sr", "sc")}
    assert [read[name].Modality for name in ("seg", "sr")] == ["SEG", "SR"]
    assert len({dataset.StudyInstanceUID for dataset in read.values()}) == 1
    assert read["seg"].SOPInstanceUID in str(read["sr"])


def test_tables_say_what_was_measured(inputs, tmp_path, run):
    run(inputs, tmp_path / "out")
    rows = {
        row["file"]: row
        for row in csv.DictReader((tmp_path / "out" / "results.csv").read_text("utf-8-sig").splitlines())
    }
    assert float(rows["ward/a.dcm"]["right_lung_area_mm2"]) == 80 * 25 * 2
    assert float(rows["a.png"]["left_lung_area_px"]) == 60 * 20
    assert rows["a.png"]["left_lung_area_mm2"] == ""
    assert float(rows["a.png"]["right_lung_mean_density"]) == pytest.approx(20 / 255, abs=1e-4)
    assert "lateral" in rows["lateral.dcm"]["reason"]
    assert str(inputs) not in rows["lateral.dcm"]["reason"]
    content = json.loads((tmp_path / "out" / "results.json").read_text())
    assert content["summary"]["done"] == 2
    assert [row["file"] for row in content["files"]] == sorted(rows)
    parquet = pyarrow.parquet.read_table(tmp_path / "out" / "results.parquet").to_pylist()
    assert [row["file"] for row in parquet] == sorted(rows)
    assert parquet[0]["left_lung_area_px"] == 60 * 20


def test_no_identity_in_what_is_written_about_files(inputs, tmp_path, run):
    run(inputs, tmp_path / "out", report=True)
    uid = dcmread(inputs / "ward" / "a.dcm").SOPInstanceUID
    for name in ("results.csv", "results.json", "report.html", ".lungfield/journal.sqlite"):
        text = (tmp_path / "out" / name).read_bytes()
        for secret in (b"Secret", b"ID-77", str(uid).encode()):
            assert secret not in text


def test_references_are_matched_and_compared(inputs, tmp_path, chest, run):
    references = tmp_path / "references"
    (references / "ward").mkdir(parents=True)
    Image.fromarray(chest[1]).save(references / "ward" / "a.png")
    half = np.where(np.arange(100) < 50, chest[1], 0).astype(np.uint8)
    Image.fromarray(half).save(references / "a.png")
    batch = run(inputs, tmp_path / "out", references=references)
    rows = rows_of(batch)
    # Of two references with one name, each file gets the one in its own place.
    assert rows["ward/a.dcm"]["dice"] == 1
    left, right = 80 * 25, 60 * 20
    assert rows["a.png"]["dice"] == pytest.approx(2 * left / (2 * left + right))
    summary = batch.to_json()
    assert summary["compared"] == 2
    assert summary["agreement"]["dice"]["count"] == 2
    assert summary["agreement"]["hd95_mm"]["mean"] == 0
    assert summary["agreement"]["hd95_px"]["count"] == 1


def test_a_dicom_seg_is_matched_by_the_image_it_refers_to(inputs, tmp_path, run):
    run(inputs, tmp_path / "first")
    references = tmp_path / "references"
    references.mkdir()
    (tmp_path / "first" / "seg" / "ward" / "a.dcm").rename(references / "of_another_name.dcm")
    rows = rows_of(run(inputs, tmp_path / "second", references=references))
    assert rows["ward/a.dcm"]["dice"] == 1
    assert "no reference mask named a" in rows["a.png"]["warnings"]


def test_wrong_reference_is_a_warning_not_a_failure(inputs, tmp_path, run):
    references = tmp_path / "references"
    references.mkdir()
    Image.fromarray(np.zeros((7, 9), dtype=np.uint8)).save(references / "a.png")
    rows = rows_of(run(inputs, tmp_path / "out", references=references))
    assert rows["a.png"]["status"] == "done"
    assert "reference (7, 9)" in rows["a.png"]["warnings"]


def test_several_references_of_one_place_are_refused(inputs, tmp_path, chest, run):
    references = tmp_path / "references"
    references.mkdir()
    Image.fromarray(chest[1]).save(references / "a.png")
    Image.fromarray(chest[1]).save(references / "a.tif")
    rows = rows_of(run(inputs, tmp_path / "out", references=references))
    assert "2 reference masks named a" in rows["a.png"]["warnings"]


def test_names_that_would_collide_keep_their_suffix(tmp_path, chest, make_dicom, run):
    folder = tmp_path / "in"
    folder.mkdir()
    Image.fromarray(chest[0]).save(folder / "x.png")
    make_dicom(folder / "X.dcm", chest[0].astype(np.uint16))
    Image.fromarray(chest[0]).save(folder / "1.2.840.png")
    run(folder, tmp_path / "out")
    names = sorted(path.name for path in (tmp_path / "out" / "masks").iterdir())
    assert names == ["1.2.840.png", "X.dcm.png", "x.png.png"]


def test_a_name_like_anothers_full_name_does_not_replace_it(tmp_path, chest, make_dicom, run):
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


def test_results_below_the_inputs_are_no_inputs(inputs, run):
    first = run(inputs, inputs / "out", report=True)
    second = run(inputs, inputs / "out", overwrite=True)
    assert [row["file"] for row in first.files] == [row["file"] for row in second.files]


def test_duplicate_instances_are_flagged(tmp_path, chest, make_dicom, run):
    pixels = chest[0].astype(np.uint16)
    for name, uid in (("a", "1.2.3.4"), ("b", "1.2.3.5"), ("c", "1.2.3.4"), ("d", None), ("e", None)):
        make_dicom(tmp_path / "in" / f"{name}.dcm", pixels, SOPInstanceUID=uid)
    rows = rows_of(run(tmp_path / "in", tmp_path / "out", formats=("mask",)))
    assert [name for name, row in rows.items() if "duplicate" in row["flags"]] == ["a.dcm", "c.dcm"]
    assert "same SOP Instance UID as c.dcm" in rows["a.dcm"]["warnings"]
    assert "1.2.3.4" not in str(rows)


def test_a_header_that_allows_no_seg_is_a_warning(tmp_path, chest, make_dicom, run):
    make_dicom(tmp_path / "in" / "a.dcm", chest[0].astype(np.uint16), StudyInstanceUID=None)
    (row,) = run(tmp_path / "in", tmp_path / "one").files
    assert row["status"] == "done"
    assert "StudyInstanceUID" in row["warnings"]


def test_no_lung_is_flagged(tmp_path, make_dicom, run):
    bright = np.tile(np.linspace(1800, 2300, 90), (80, 1)).astype(np.uint16)  # and not dark when inverted
    make_dicom(tmp_path / "in" / "bright.dcm", bright, WindowCenter=2000, WindowWidth=4000)
    (row,) = run(tmp_path / "in", tmp_path / "out").files
    assert row["status"] == "done"
    assert "no-lung" in row["flags"]


def test_the_same_masks_whatever_the_number_of_workers(inputs, tmp_path, run):
    for workers in (1, 3):
        run(inputs, tmp_path / str(workers), workers=workers)
    for name in ("masks/a.png", "masks/ward/a.png"):
        assert (tmp_path / "1" / name).read_bytes() == (tmp_path / "3" / name).read_bytes()


def test_a_second_opinion_is_asked_of_the_mirrored_radiograph(inputs, tmp_path, run, leaning):
    rows = rows_of(run(inputs, tmp_path / "out", check_mirrored=True))
    assert "unstable" not in rows["a.png"]["flags"]  # what is dark is dark on both sides
    for asked, found in ((True, True), (False, False)):
        options = Options(workers=1, report=False, formats=("mask",), check_mirrored=asked)
        batch = segment_files([inputs], tmp_path / f"leaning {asked}", leaning, options=options)
        assert ("unstable" in rows_of(batch)["a.png"]["flags"]) is found


def test_progress_is_told(inputs, tmp_path, dark_is_lung):
    told = []
    options = Options(workers=1, report=False)
    segment_files(
        [inputs], tmp_path / "out", dark_is_lung, options=options, progress=lambda *what: told.append(what)
    )
    assert told[0] == (0, 4, None)
    assert [ended for ended, _, _ in told] == [0, 1, 2, 3, 4]
    assert {row["file"] for _, _, row in told[1:]} == {"a.png", "broken.dcm", "lateral.dcm", "ward/a.dcm"}


def test_wrong_calls_are_refused(tmp_path, run, dark_is_lung):
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(DataError, match="No DICOM or NIfTI"):
        run(empty, tmp_path / "out")
    with pytest.raises(DataError, match="no such file"):
        run(tmp_path / "nowhere", tmp_path / "out")
    (tmp_path / "a.png").write_bytes(b"x")
    with pytest.raises(DataError, match=r"reference masks .* does not exist"):
        run(tmp_path / "a.png", tmp_path / "out", references=tmp_path / "nowhere")
    with pytest.raises(DataError, match="Unknown output format 'gif'"):
        run(tmp_path / "a.png", tmp_path / "out", formats=("gif",))
    with pytest.raises(DataError, match="resumed or overwritten"):
        run(tmp_path / "a.png", tmp_path / "out", resume=True, overwrite=True)
    with pytest.raises(DataError, match="number of workers is 0"):
        run(tmp_path / "a.png", tmp_path / "out", workers=0)
    with pytest.raises(BundleError, match="no bundle 'nonsense'"):
        segment_files([tmp_path / "a.png"], tmp_path / "out", "nonsense")
    with pytest.raises(BundleError, match="device 'tpu'"):
        run(tmp_path / "a.png", tmp_path / "out", device="tpu")
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match="cannot be written to"):
        run(tmp_path / "a.png", tmp_path / "file" / "out")


def test_any_view_is_taken_if_asked_for_but_no_other_object(inputs, tmp_path, chest, make_dicom, run):
    pixels = chest[0].astype(np.uint16)
    make_dicom(inputs / "hand.dcm", pixels, BodyPartExamined="HAND")
    make_dicom(inputs / "ct.dcm", pixels, SOPClassUID=CTImageStorage, Modality="CT")
    frontal = rows_of(run(inputs, tmp_path / "frontal"))
    assert {name: frontal[name]["status"] for name in ("hand.dcm", "lateral.dcm", "ct.dcm")} == {
        "hand.dcm": "skipped",
        "lateral.dcm": "skipped",
        "ct.dcm": "skipped",
    }
    batch = run(inputs, tmp_path / "any", views="any")
    rows = rows_of(batch)
    assert rows["hand.dcm"]["status"] == rows["lateral.dcm"]["status"] == "done"
    assert (rows["ct.dcm"]["status"], rows["ct.dcm"]["reason_code"]) == ("skipped", "other-object")
    assert batch.settings["views"] == "any"
    with pytest.raises(DataError, match="views: any instead of frontal"):
        run(inputs, tmp_path / "any", resume=True)
    with pytest.raises(DataError, match="views: frontal instead of any"):
        run(inputs, tmp_path / "frontal", views="any", resume=True)
    with pytest.raises(DataError, match=r"'sideways'.*frontal, any"):
        run(inputs, tmp_path / "other", views="sideways")


def test_what_is_no_input_is_counted_in_the_summary(inputs, tmp_path, run):
    (inputs / "more.zip").write_bytes(b"PK")
    (inputs / "notes.txt").write_text("text")
    batch = run(inputs, tmp_path / "out")
    assert batch.left_out == {"archives": 1, "others": 1}
    summary = json.loads((tmp_path / "out" / "results.json").read_text("utf-8"))["summary"]
    assert summary["left_out"] == {"archives": 1, "others": 1}
    assert batch.remarks[0] == "left out: 1 archives (.zip): unpack them first"


def test_results_of_an_earlier_run_are_no_inputs(inputs, tmp_path, run):
    assert RUN_FOLDER == FOLDER
    first = run(inputs, inputs / "earlier")
    second = run(inputs, tmp_path / "second")
    assert rows_of(second).keys() == rows_of(first).keys()
    assert second.left_out == {"earlier_runs": 1}
    # In place: the folder that is named holds results beside its radiographs.
    run(inputs, inputs)
    assert rows_of(run(inputs, tmp_path / "third")).keys() == rows_of(first).keys()
    assert rows_of(run(inputs, inputs, resume=True)).keys() == rows_of(first).keys()


def test_an_error_without_inputs_says_what_was_left_out(tmp_path, run):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "images.zip").write_bytes(b"PK")
    with pytest.raises(DataError, match=r"left out: 1 archives \(\.zip\): unpack them first"):
        run(tmp_path / "in", tmp_path / "out")


def test_a_dicomdir_is_segmented_by_what_it_lists(tmp_path, chest, make_dicom, run):
    pixels = chest[0].astype(np.uint16)
    image = dcmread(make_dicom(tmp_path / "one.dcm", pixels))
    image.file_meta.MediaStorageSOPClassUID = image.SOPClassUID
    image.file_meta.MediaStorageSOPInstanceUID = image.SOPInstanceUID
    file_set = FileSet()
    file_set.add(image)
    file_set.write(tmp_path / "disc")
    (row,) = run(tmp_path / "disc" / "DICOMDIR", tmp_path / "out").files
    assert row["status"] == "done"


@contextlib.contextmanager
def network_of_all(settings, _device, *, batch_size):
    """What a run on a GPU has from `shared_network`, its predictor on the CPU."""
    predictor = Predictor(
        settings.bundle, device="cpu", backend="torch", check_mirrored=settings.check_mirrored
    )
    network = BatchedNetwork(predictor, batch_size=batch_size)
    try:
        yield network
    finally:
        network.close()


@pytest.mark.parametrize("check_mirrored", [False, True])
def test_one_network_for_all_workers_gives_what_one_each_gives(
    inputs, tmp_path, run, monkeypatch, check_mirrored
):
    by_each = run(inputs, tmp_path / "each", check_mirrored=check_mirrored)
    monkeypatch.setattr(run_module, "shared_network", network_of_all)
    by_one = run(inputs, tmp_path / "one", check_mirrored=check_mirrored, workers=2)
    assert by_one.count("done") == by_each.count("done") == 2
    for row, row_of_each in zip(by_one.files, by_each.files, strict=True):
        assert {**row, "seconds": 0} == {**row_of_each, "seconds": 0}
    for mask in (tmp_path / "each" / "masks").rglob("*.png"):
        same = tmp_path / "one" / mask.relative_to(tmp_path / "each")
        assert same.read_bytes() == mask.read_bytes()


def test_a_worker_that_dies_leaves_the_network_to_the_others(tmp_path, chest, run, monkeypatch):
    folder = tmp_path / "in"
    folder.mkdir()
    for name, first in {"a": 180, "b": misbehaving.ABORT, "c": 180, "d": 180}.items():
        pixels = chest[0].copy()
        pixels[0, 0] = first
        Image.fromarray(pixels).save(folder / f"{name}.png")
    monkeypatch.setattr(run_module, "shared_network", network_of_all)
    rows = run(folder, tmp_path / "out", workers=2).files
    assert [row["status"] for row in rows] == ["done", "failed", "done", "done"]


def test_a_bundle_that_cannot_be_loaded_is_said_once_and_plainly(inputs, tmp_path, dark_is_lung):
    broken = tmp_path / "broken"
    shutil.copytree(dark_is_lung, broken)
    torch.save({"other": torch.zeros(1)}, broken / "models" / "model.pt")
    with pytest.raises(BundleError, match="does not hold the weights of Conv2d"):
        segment_files([inputs], tmp_path / "out", broken, options=Options(backend="torch", workers=2))


def test_classes_are_those_of_the_metadata(inputs, tmp_path, run):
    """A network of two classes, the lung first, gives the masks of the one of a single channel."""
    greys = {"lung": (-100.0, 0.3), "background": (0.0, 0.0)}
    root = write_bundle(tmp_path / "two", greys, size=(120, 100))
    run(inputs, tmp_path / "one-out", formats=("mask",))
    options = Options(workers=1, report=False, backend="torch", formats=("mask",))
    segment_files([inputs], tmp_path / "two-out", root, options=options)
    for name in ("a.png", "ward/a.png"):
        masks = [np.asarray(Image.open(tmp_path / out / "masks" / name)) for out in ("one-out", "two-out")]
        np.testing.assert_array_equal(*masks)
        assert set(np.unique(masks[0])) == {0, 1, 2}
