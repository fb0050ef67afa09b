"""Names of every kind, references by the right way, and no result that a run does not vouch for."""

from __future__ import annotations

import csv
import getpass
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path, PurePath

import numpy as np
import pyarrow.parquet
import pytest
import torch
from PIL import Image
from pydicom import dcmread
from pydicom.uid import generate_uid

import lungfield
from lungfield.batch import run as run_module
from lungfield.batch.references import find_references
from lungfield.bundles import shipped
from lungfield.errors import DataError

NAMES = [b"chest_\xe9.png", b"chest_\xea.png", b"esc\x1b[31m.png", "dé胸.png".encode(), b"plain.png"]


@pytest.fixture
def odd(tmp_path, chest):
    folder = tmp_path / "in"
    folder.mkdir()
    for name in NAMES:
        Image.fromarray(chest[0]).save(tmp_path / "one.png")
        (tmp_path / "one.png").rename(folder / os.fsdecode(name))
    return folder


def done(batch):
    return [row["file"] for row in batch.files if row["status"] == "done"]


def test_every_name_is_segmented_told_and_resumed(odd, tmp_path, run):
    output = tmp_path / "out"
    batch = run(odd, output, formats=("mask", "overlay"), report=True)
    expected = sorted(map(os.fsdecode, NAMES))
    assert sorted(done(batch)) == expected
    assert len(list((output / "masks").iterdir())) == len(NAMES)
    # Programs get the exact name, people one that a terminal survives.
    rows = json.loads((output / "results.json").read_text(encoding="utf-8"))["files"]
    assert sorted(row["file"] for row in rows) == expected
    assert all((output / row["mask"]).is_file() for row in rows)
    table = (output / "results.csv").read_text(encoding="utf-8-sig")
    assert r"chest_\xe9.png" in table
    assert r"esc\x1b[31m.png" in table
    assert "\x1b" not in table
    assert len({row["file"] for row in csv.DictReader(table.splitlines())}) == len(NAMES)
    parquet = set(pyarrow.parquet.read_table(output / "results.parquet").column("file").to_pylist())
    assert parquet >= {r"chest_\xe9.png", "esc\x1b[31m.png", "dé胸.png"}
    assert len(parquet) == len(NAMES)
    report = (output / "report.html").read_bytes()
    assert b"\x1b" not in report
    assert b"chest_\\\\xe9.png" in report
    again = run(odd, output, formats=("mask", "overlay"), resume=True)
    assert again.resumed == len(NAMES)
    assert sorted(done(again)) == expected


@pytest.mark.slow
def test_the_terminal_and_the_log_show_names_escaped(odd, tmp_path, call_lungfield):
    (odd / os.fsdecode(b"broken_\xe9\x1b[2J.dcm")).write_bytes(bytes(128) + b"DICM\1\2")
    log = tmp_path / "log.jsonl"
    options = ["--workers", 1, "--backend", "torch", "--log-file", log, "--json"]
    ended = call_lungfield("segment", odd, "-o", tmp_path / "out", *options)
    assert ended.returncode == 1, ended.stderr
    assert r"broken_\xe9\x1b[2J.dcm" in ended.stderr
    assert "\x1b" not in ended.stderr
    assert "Traceback" not in ended.stderr
    files = {json.loads(line).get("file") for line in log.read_text(encoding="utf-8").splitlines()}
    assert r"chest_\xe9.png" in files


def test_duplicates_with_odd_names(tmp_path, chest, make_dicom, run):
    folder = tmp_path / "in"
    plain = make_dicom(folder / "a.dcm", chest[0].astype(np.uint16))
    (folder / os.fsdecode(b"b_\xe9.dcm")).write_bytes(plain.read_bytes())
    first, second = run(folder, tmp_path / "out", formats=("mask",)).files
    assert first["flags"][-1] == second["flags"][-1] == "duplicate"
    assert r"b_\xe9.dcm" in first["warnings"]


# References -------------------------------------------------------------------------------------------------


def masks(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.eye(8, dtype=np.uint8) * 255).save(folder / name)
    return folder


@pytest.mark.parametrize(
    ("references", "radiographs", "asked", "expected"),
    [
        (["p1/chest.png"], ["p1/chest.dcm", "p2/chest.dcm"], "p1/chest.dcm", ("p1/chest.png", "path")),
        (["p1/chest.png"], ["p1/chest.dcm", "p2/chest.dcm"], "p2/chest.dcm", None),
        (["p1/chest.png"], ["chest.dcm"], "chest.dcm", None),
        (["chest.png"], ["p1/chest.dcm"], "p1/chest.dcm", ("chest.png", "name")),
        (["chest.png"], ["p1/chest.dcm", "p2/chest.dcm"], "p1/chest.dcm", None),
        (["chest.png", "chest.tif"], ["p1/chest.dcm"], "p1/chest.dcm", None),
        (["chest.png", "p1/other.png"], ["p1/chest.dcm"], "p1/chest.dcm", None),
        (["chest.png", "p1/chest.png"], ["p1/chest.dcm"], "p1/chest.dcm", ("p1/chest.png", "path")),
        (["a.png"], ["a.png", "a.dcm"], "a.dcm", None),
        (["a.png"], ["a.png", "a.dcm"], "a.png", None),
        (["a.dcm.png", "a.png"], ["a.png", "a.dcm"], "a.dcm", ("a.dcm.png", "path")),
        (["a.dcm.png"], ["a.dcm"], "a.dcm", ("a.dcm.png", "path")),
    ],
)
def test_which_reference_belongs_to_which_radiograph(tmp_path, references, radiographs, asked, expected):
    folder = masks(tmp_path / "references", *references)
    found = find_references(folder, map(PurePath, radiographs))
    if expected is None:
        with pytest.raises(DataError, match="reference mask"):
            found.match(PurePath(asked), None)
    else:
        path, how = found.match(PurePath(asked), None)
        assert (path.relative_to(folder).as_posix(), how) == expected


def test_a_dicom_seg_of_another_image_is_no_reference(inputs, tmp_path, run):
    run(inputs, tmp_path / "first", formats=("seg",))
    references = tmp_path / "references"
    (references / "ward").mkdir(parents=True)
    (tmp_path / "first" / "seg" / "ward" / "a.dcm").rename(references / "ward" / "a.dcm")
    dataset = dcmread(inputs / "ward" / "a.dcm")
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    dataset.save_as(inputs / "ward" / "a.dcm")
    rows = {row["file"]: row for row in run(inputs, tmp_path / "second", references=references).files}
    assert "dice" not in rows["ward/a.dcm"]
    assert "refers to another image" in rows["ward/a.dcm"]["warnings"]


def test_the_row_says_how_the_reference_was_found(inputs, tmp_path, chest, run):
    first = run(inputs, tmp_path / "first", formats=("seg",))
    assert {row.get("reference_match") for row in first.files} == {None}
    references = tmp_path / "references"
    references.mkdir()
    (tmp_path / "first" / "seg" / "ward" / "a.dcm").rename(references / "b.dcm")
    Image.fromarray(chest[1]).save(references / "a.png")
    rows = {row["file"]: row for row in run(inputs, tmp_path / "second", references=references).files}
    assert rows["ward/a.dcm"]["reference_match"] == "uid"
    assert rows["a.png"]["reference_match"] == "path"
    with (tmp_path / "second" / "results.csv").open(newline="") as table:
        assert {row["reference_match"] for row in csv.DictReader(table)} == {"uid", "path", ""}


# What a run vouches for -------------------------------------------------------------------------------------


def outputs_in(folder: Path) -> set[str]:
    places = (folder / name for name in ("masks", "overlays", "previews", "seg", "nifti"))
    return {
        path.relative_to(folder).as_posix() for place in places for path in place.rglob("*") if path.is_file()
    }


def test_a_file_that_fails_on_resume_leaves_no_old_result(inputs, tmp_path, run):
    output = tmp_path / "out"
    run(inputs, output)
    before = outputs_in(output)
    assert {"masks/a.png", "seg/ward/a.dcm", "masks/ward/a.png"} <= before
    (inputs / "ward" / "a.dcm").write_bytes(b"\0" * 128 + b"DICM" + b"\1\2\3")
    run(inputs, output, resume=True)
    assert outputs_in(output) == {path for path in before if "ward" not in path}
    assert not (output / "seg").exists()
    assert not (output / "masks" / "ward").exists()


@pytest.mark.parametrize("how", [{"overwrite": True}, {"resume": True}])
def test_an_input_that_is_gone_leaves_no_old_result(inputs, tmp_path, run, how):
    output = tmp_path / "out"
    run(inputs, output)
    (inputs / "a.png").unlink()
    batch = run(inputs, output, **how)
    assert done(batch) == ["ward/a.dcm"]
    assert outputs_in(output) == {
        "masks/ward/a.png",
        "overlays/ward/a.jpg",
        "previews/ward/a.svg",
        "seg/ward/a.dcm",
    }


def test_formats_that_are_not_asked_for_any_more_go(inputs, tmp_path, run):
    output = tmp_path / "out"
    run(inputs, output)
    run(inputs, output, formats=("mask",), overwrite=True)
    assert outputs_in(output) == {"masks/a.png", "masks/ward/a.png"}


def test_what_others_put_there_stays(inputs, tmp_path, run):
    output = tmp_path / "out"
    run(inputs, output)
    (output / "masks" / "ward" / "corrected by hand.png").write_bytes(b"mine")
    (output / "notes.txt").write_text("mine")
    (inputs / "ward" / "a.dcm").unlink()
    run(inputs, output, overwrite=True)
    assert outputs_in(output) == {
        "masks/a.png",
        "overlays/a.jpg",
        "previews/a.svg",
        "masks/ward/corrected by hand.png",
    }
    assert (output / "notes.txt").exists()


def test_results_that_come_back_are_made_again(inputs, tmp_path, run):
    output = tmp_path / "out"
    run(inputs, output)
    whole = outputs_in(output)
    content = (inputs / "a.png").read_bytes()
    status = (inputs / "a.png").stat()
    (inputs / "a.png").unlink()
    run(inputs, output, resume=True)
    (inputs / "a.png").write_bytes(content)
    os.utime(inputs / "a.png", ns=(status.st_atime_ns, status.st_mtime_ns))
    run(inputs, output, resume=True)
    assert outputs_in(output) == whole


# Devices, users ---------------------------------------------------------------------------------------------


def test_the_second_gpu_is_named_where_it_is_used(monkeypatch):
    asked = []
    monkeypatch.setattr(
        torch.cuda, "get_device_name", lambda place=None: asked.append(str(place)) or f"GPU {place.index}"
    )
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _place=None: (9, 0))
    environment = run_module.environment_of(torch.device("cuda:1"))
    assert asked == ["cuda:1"]
    assert environment["device"] == "GPU 1"
    assert environment["precision"] == "bfloat16"


@pytest.mark.slow
@pytest.mark.skipif(
    shutil.which("setpriv") is None or os.getuid() != 0, reason="only root can become another user"
)
def test_a_container_under_any_number_of_a_user_works():
    """As in `docker run --user 54321`: no entry in passwd, no home, no name."""
    # The user may read everything, as this Python can lie in root's home.
    become = ["setpriv", "--reuid", "54321", "--regid", "54321", "--clear-groups"]
    become += ["--inh-caps", "+dac_read_search", "--ambient-caps", "+dac_read_search"]
    folder = Path(tempfile.mkdtemp())
    try:
        folder.chmod(0o777)
        kept = ("PATH", "PYTHONPATH", "LD_LIBRARY_PATH", "OMP_NUM_THREADS")
        # What the user names has to be readable without that privilege, which `access` leaves out.
        shutil.copytree(shipped("sample_data") / "images", folder / "images")
        done = subprocess.run(
            [*become, sys.executable, *("-m", "lungfield.cli", "segment", "images", "-o", "out", "--json")],
            cwd=folder,
            env={name: os.environ[name] for name in kept if name in os.environ},
            capture_output=True,
            text=True,
            timeout=280,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert "Traceback" not in done.stderr
        assert json.loads(done.stdout.splitlines()[-1])["failed"] == 0
        assert sorted(path.name for path in folder.iterdir()) == ["images", "out"]  # no folder '~', for one
        assert (folder / "out").stat().st_uid == 54321
    finally:
        shutil.rmtree(folder)


@pytest.mark.skipif(os.name != "posix", reason="users have numbers on POSIX")
def test_a_user_whom_the_system_does_not_know_gets_a_name(monkeypatch):
    import pwd

    def unknown(uid):
        raise KeyError(uid)

    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    lungfield._name_unknown_user()
    assert "USER" not in os.environ  # the system knows this one
    monkeypatch.setattr(pwd, "getpwuid", unknown)
    with pytest.raises((KeyError, OSError)):
        getpass.getuser()
    lungfield._name_unknown_user()
    assert getpass.getuser() == os.environ["USER"] == f"uid{os.getuid()}"
    monkeypatch.setenv("USER", "somebody")
    lungfield._name_unknown_user()
    assert getpass.getuser() == "somebody"
