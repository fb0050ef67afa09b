"""Which files are found in what the user names, in which order, and under which names."""

from __future__ import annotations

import os
from pathlib import Path, PurePath

import pytest

from lungfield.errors import DataError
from lungfield.radiograph import find_files

DICOM = bytes(128) + b"DICM"


def fill(folder: Path, names: dict[str, bytes]) -> None:
    for name, content in names.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def found(*inputs: Path) -> list[str]:
    return [file.relative.as_posix() for file in find_files(inputs)]


def test_a_folder_is_searched_by_suffix_and_by_content(tmp_path: Path) -> None:
    fill(
        tmp_path,
        {
            "b/IM0001": DICOM,
            "b/1.2.840.5": DICOM,
            "a.PNG": b"",
            "c.dcm": b"",
            "d.nii.gz": b"",
            "e.tiff": b"",
            "f.jpeg": b"",
            "notes.txt": b"text",
            "report.gz": b"",
            "README": b"",
            "DICOMDIR": DICOM,
            ".hidden.png": b"",
            ".git/x.png": b"",
            "__MACOSX/x.png": b"",
        },
    )
    assert found(tmp_path) == ["a.PNG", "b/1.2.840.5", "b/IM0001", "c.dcm", "d.nii.gz", "e.tiff", "f.jpeg"]


def test_a_named_file_is_always_taken(tmp_path: Path) -> None:
    fill(tmp_path, {"notes.txt": b"text", ".hidden": b""})
    assert found(tmp_path / "notes.txt", tmp_path / ".hidden") == ["notes.txt", ".hidden"]


def test_links(tmp_path: Path) -> None:
    fill(tmp_path, {"in/a.png": b"", "out/b.png": b""})
    (tmp_path / "in" / "folder").symlink_to(tmp_path / "out")
    (tmp_path / "in" / "loop").symlink_to(tmp_path / "in")
    (tmp_path / "in" / "dangling.png").symlink_to(tmp_path / "nowhere.png")
    (tmp_path / "in" / "c.png").symlink_to(tmp_path / "out" / "b.png")
    assert found(tmp_path / "in") == ["a.png", "c.png"]


def test_what_is_no_regular_file_is_left_out_of_folders(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.dcm")
    assert found(tmp_path) == []


def test_a_file_that_is_reached_twice_comes_once(tmp_path: Path) -> None:
    fill(tmp_path, {"a.png": b"", "b.png": b""})
    assert found(tmp_path / "b.png", tmp_path) == ["b.png", "a.png"]


def test_names_that_collide_get_longer(tmp_path: Path) -> None:
    fill(tmp_path, {"p1/s/image.dcm": DICOM, "p2/s/image.dcm": DICOM})
    assert found(tmp_path / "p1", tmp_path / "p2") == ["p1/s/image.dcm", "p2/s/image.dcm"]
    assert found(tmp_path / "p1/s/image.dcm", tmp_path / "p2/s/image.dcm") == [
        "p1/s/image.dcm",
        "p2/s/image.dcm",
    ]


def test_longer_names_never_leave_the_output_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(tmp_path, {"work/q/x.png": b"", "p/x.png": b""})
    monkeypatch.chdir(tmp_path / "work")
    assert found(Path("../p/x.png"), Path("q/x.png")) == ["p/x.png", "work/q/x.png"]


def test_paths_are_usable_and_relative_ones_stay_relative(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(tmp_path, {"in/a.png": b"content"})
    monkeypatch.chdir(tmp_path)
    (file,) = find_files([Path("in")])
    assert file.path == Path("in/a.png")
    assert file.relative == PurePath("a.png")


def test_a_missing_path_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere.*no such file"):
        find_files([tmp_path / "nowhere"])
