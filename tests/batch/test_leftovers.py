"""Nothing but what a run vouches for, and nothing of others, is removed from an output folder."""

from __future__ import annotations

import json
import os
import sqlite3

import pytest

from lungfield.batch.interrupts import Interrupted
from lungfield.batch.journal import Entry, Fingerprint, Journal

BROKEN = b"\0" * 128 + b"DICM" + b"\1\2\3"


def journal_of(output):
    return sqlite3.connect(output / ".lungfield" / "journal.sqlite", isolation_level=None)


def test_a_file_that_was_there_before_the_first_run_stays(inputs, tmp_path, run):
    mine = tmp_path / "out" / "seg" / "broken.dcm"
    mine.parent.mkdir(parents=True)
    mine.write_bytes(b"mine")
    run(inputs, tmp_path / "out")  # which makes no SEG of broken.dcm
    run(inputs, tmp_path / "out", overwrite=True)
    assert mine.read_bytes() == b"mine"


def test_a_file_that_a_run_replaced_is_a_result(inputs, tmp_path, run):
    mask = tmp_path / "out" / "masks" / "a.png"
    mask.parent.mkdir(parents=True)
    mask.write_bytes(b"from elsewhere")
    run(inputs, tmp_path / "out")
    (inputs / "a.png").unlink()
    run(inputs, tmp_path / "out", resume=True)
    assert not mask.exists()


@pytest.mark.parametrize("path", ["../precious.txt", "masks/../../precious.txt", "notes.txt"])
def test_a_journal_from_elsewhere_removes_nothing_but_results(inputs, tmp_path, run, path):
    output = tmp_path / "out"
    run(inputs, output, formats=("mask",))
    precious = output / path
    precious.write_text("mine")
    with journal_of(output) as database:
        database.execute("INSERT INTO outputs VALUES (?)", (path,))
    run(inputs, output, formats=("mask",), overwrite=True)
    assert precious.read_text() == "mine"


def test_results_in_a_journal_of_an_older_version_are_known(inputs, tmp_path, run):
    output = tmp_path / "out"
    run(inputs, output)
    with journal_of(output) as database:
        database.execute("DROP TABLE outputs")
    run(inputs, output, overwrite=True, formats=("mask",))
    assert not (output / "overlays").exists()
    assert not (output / "seg").exists()


def test_rows_of_inputs_that_are_gone_are_no_duplicates(tmp_path, chest, make_dicom, run):
    pixels = chest[0].astype("uint16")
    for name in "ab":
        make_dicom(tmp_path / "in" / f"{name}.dcm", pixels, SOPInstanceUID="1.2.3.4")
    run(tmp_path / "in", tmp_path / "out", formats=("mask",))
    (tmp_path / "in" / "b.dcm").unlink()
    (row,) = run(tmp_path / "in", tmp_path / "out", formats=("mask",), resume=True).files
    assert "duplicate" not in row["flags"]
    assert "b.dcm" not in row["warnings"]


def test_a_report_that_is_not_asked_for_any_more_goes(inputs, tmp_path, run):
    report = tmp_path / "out" / "report.html"
    run(inputs, tmp_path / "out", report=True)
    assert report.exists()
    run(inputs, tmp_path / "out", overwrite=True, report=False)
    assert not report.exists()


def test_what_cannot_be_removed_is_said(inputs, tmp_path, run, caplog):
    output = tmp_path / "out"
    run(inputs, output)
    (output / "overlays" / "a.jpg").unlink()
    (output / "overlays" / "a.jpg").mkdir()  # unlink() fails on a folder, whoever asks
    (output / "overlays" / "a.jpg" / "mine.txt").write_text("mine")
    run(inputs, output, overwrite=True, formats=("mask",))
    assert "could not be removed, such as overlays/a.jpg" in caplog.text
    assert (output / "overlays" / "a.jpg" / "mine.txt").exists()


def test_an_interrupt_within_a_transaction_undoes_it(tmp_path):
    (tmp_path / "out").mkdir()

    def outputs():
        yield "masks/a.png"
        raise Interrupted(2)

    with Journal(tmp_path / "out") as journal:
        with pytest.raises(Interrupted):
            journal.announce(outputs())
        with pytest.raises(Interrupted):
            journal.forget(outputs())
        with pytest.raises(Interrupted):
            journal.add(Entry("a.png", Fingerprint(1, 2), None, {}), outputs())
        assert journal.announced() == []
        assert journal.find("a.png") is None
        journal.announce(["masks/b.png"])
        assert journal.announced() == ["masks/b.png"]


def test_an_interrupted_run_keeps_what_resuming_needs(inputs, tmp_path, run, dark_is_lung):
    from lungfield.batch import Options, segment_files

    output = tmp_path / "out"
    run(inputs, output)
    times = {
        path: path.stat().st_mtime_ns
        for kind in ("masks", "overlays", "previews", "seg")
        for path in (output / kind).rglob("*.*")
    }
    (inputs / "broken.dcm").write_bytes(BROKEN + b"\4")  # the one file that is to be done again

    def interrupt(_ended, _files, row):
        if row is not None:
            raise Interrupted(2)

    options = Options(workers=1, report=False, resume=True)
    with pytest.raises(Interrupted) as caught:
        segment_files([inputs], output, dark_is_lung, options=options, progress=interrupt)
    assert caught.value.batch is not None
    assert {path: path.stat().st_mtime_ns for path in times} == times
    assert run(inputs, output, resume=True).resumed == 4


def test_a_run_with_nothing_to_do_starts_no_process(inputs, tmp_path, run, monkeypatch):
    from lungfield.batch import segment

    run(inputs, tmp_path / "out")
    monkeypatch.setattr(segment, "start_forkserver", lambda *_: pytest.fail("a process was started"))
    assert run(inputs, tmp_path / "out", resume=True).resumed == 4


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif", ".nii.gz", ".dcm"])
def test_every_format_takes_a_name_that_is_no_text(tmp_path, chest, make_dicom, run, suffix):
    import nibabel
    import numpy as np
    from PIL import Image

    folder = tmp_path / os.fsdecode(b"in_\xe9")
    folder.mkdir()
    made = tmp_path / f"made{suffix}"
    if suffix == ".dcm":
        make_dicom(made, chest[0].astype(np.uint16))
    elif suffix == ".nii.gz":
        nibabel.Nifti1Image(chest[0].T[:, :, None], np.diag([-1, -1, 1, 1])).to_filename(made)
    else:
        Image.fromarray(chest[0]).save(made)
    for byte in (b"\xe9", b"\xea"):
        made_name = os.fsdecode(b"x_" + byte + suffix.encode())
        (folder / made_name).write_bytes(made.read_bytes())
    output = tmp_path / os.fsdecode(b"out_\xe9")
    formats = ("mask", "nifti", "overlay", "seg", "sr", "sc")
    rows = list(run(folder, output, formats=formats, report=True).files)
    assert [row["status"] for row in rows] == ["done", "done"]
    written = [row[name] for row in rows for name in formats if row.get(name)]
    assert len(set(written)) == len(written) == (12 if suffix == ".dcm" else 6)
    assert all((output / place).is_file() for place in written)
    again = run(folder, output, formats=formats, resume=True)
    assert again.resumed == 2
    exact = json.loads((output / "results.json").read_text(encoding="utf-8"))["files"]
    assert [os.fsencode(row["file"]) for row in exact] == sorted(
        os.fsencode(path.name) for path in folder.iterdir()
    )
