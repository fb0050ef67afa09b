"""Which files a run takes: lists of them, globs, and never a mask."""

import io
import json
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

from lungfield.batch import Options, read_inputs
from lungfield.batch.inputs import find_inputs
from lungfield.cli.main import app
from lungfield.errors import DataError


@pytest.fixture
def folder(tmp_path, chest):
    root = tmp_path / "in"
    for name in ("PA/a.png", "PA/b.png", "PA/deep/c.png", "masks/a.png", "masks/deep/b.png"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        array = chest[1] if name.startswith("masks") else chest[0]
        Image.fromarray(array * 100 if name.startswith("masks") else array).save(root / name)
    return root


def names(folder, **options):
    found = find_inputs([folder], folder.parent / "out", Options(**options).checked())
    return {file.relative.as_posix() for file in found.files}, found


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"include": ("PA/*.png",)}, {"PA/a.png", "PA/b.png"}),
        ({"include": ("a.png", "c.*")}, {"PA/a.png", "PA/deep/c.png", "masks/a.png"}),
        ({"exclude": ("masks",)}, {"PA/a.png", "PA/b.png", "PA/deep/c.png"}),
        ({"exclude": ("deep", "b.png")}, {"PA/a.png", "masks/a.png"}),
        ({"include": ("a.png",), "exclude": ("mask*",)}, {"PA/a.png"}),
    ],
)
def test_globs_choose_files(folder, options, expected):
    chosen, found = names(folder, **options)
    assert chosen == expected
    assert found.left_out == {"filtered": 5 - len(expected)}
    assert found.remarks == (f"left out: {5 - len(expected)} files by --include and --exclude",)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"include": ("*.dcm",)}, "leave none of the 5 files"),
        ({"exclude": ("/data/*",)}, "'/data/.*below the inputs"),
        ({"include": ("",)}, "'' cannot be included"),
    ],
)
def test_globs_that_choose_nothing_are_an_error(folder, options, message):
    with pytest.raises(DataError, match=message):
        names(folder, **options)


def test_a_list_names_files(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "list.txt").write_bytes(b"in/PA/a.png\r\n\nin/masks\n")
    assert read_inputs(Path("list.txt")) == [Path("in/PA/a.png"), Path("in/masks")]
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"in/PA/b.png")))
    assert read_inputs(Path("-")) == [Path("in/PA/b.png")]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\n\n", "is empty"),
        (b"list.txt\nno.png\n", "Line 2 of the list of files list.txt names no.png"),
        (b"a\0b\n", "Line 1"),
        (None, "cannot be read: No such file"),
    ],
)
def test_a_list_that_cannot_be_followed_is_an_error(content, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    if content is not None:
        (tmp_path / "list.txt").write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_inputs(Path("list.txt"))


def test_masks_are_skipped_and_the_command_takes_lists_and_globs(folder, tmp_path, dark_is_lung):
    call = ["segment", "-o", str(tmp_path / "out"), "--bundle", str(dark_is_lung), "--workers", "1"]
    call += ["--no-report", "--formats", "mask", "--json"]
    listed = f"{folder / 'PA'}\n{folder / 'masks'}\n"
    done = CliRunner().invoke(app, [*call, "--files-from", "-", "--exclude", "deep"], input=listed)
    assert done.exit_code == 0, done.output
    summary = json.loads(done.stdout.splitlines()[-1])
    assert (summary["done"], summary["skipped"], summary["left_out"]) == (2, 1, {"filtered": 2})
    rows = json.loads((tmp_path / "out" / "results.json").read_text())["files"]
    assert {row["reason_code"] for row in rows if row["status"] == "skipped"} == {"label-map"}


def test_without_an_input_the_call_is_wrong(tmp_path):
    with pytest.raises(DataError, match="--files-from"):
        CliRunner().invoke(app, ["segment", "-o", str(tmp_path / "out")], catch_exceptions=False)
