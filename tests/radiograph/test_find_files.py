"""Which files are found in what the user names, in which order, and under which names."""

from __future__ import annotations

import gzip
import json
import os
import zipfile
from pathlib import Path, PurePath
from typing import Any

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.fileset import FileSet
from pydicom.uid import (
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    MediaStorageDirectoryStorage,
    generate_uid,
)

from lungfield.errors import DataError
from lungfield.formats import RADIOGRAPHS
from lungfield.radiograph import find_files, read_radiograph, search
from lungfield.radiograph.sniffing import starts_with_elements

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


@pytest.mark.parametrize(
    "transfer_syntax", [ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian], ids=str
)
def test_bare_dicom_without_a_suffix_is_found(
    transfer_syntax: Any, tmp_path: Path, picture: Any, make_dicom: Any
) -> None:
    make_dicom(tmp_path / "in" / "IM0001", picture, transfer_syntax=transfer_syntax, preamble=False)
    assert found(tmp_path / "in") == ["IM0001"]


def test_bare_dicom_with_group_lengths_and_with_the_prefix_alone_is_found(
    tmp_path: Path, picture: Any, make_dicom: Any
) -> None:
    whole = make_dicom(tmp_path / "whole", picture).read_bytes()
    bare = make_dicom(tmp_path / "bare", picture, transfer_syntax=ImplicitVRLittleEndian, preamble=False)
    group_length = b"\x08\0\0\0" + (4).to_bytes(4, "little") + (200).to_bytes(4, "little")
    fill(
        tmp_path,
        {"in/meta": whole[132:], "in/prefix": whole[128:], "in/acr": group_length + bare.read_bytes()},
    )
    assert found(tmp_path / "in") == ["acr", "meta", "prefix"]


def test_other_content_is_not_taken_for_dicom(tmp_path: Path) -> None:
    random = np.random.default_rng(3).integers(0, 256, 4096, dtype=np.uint8).tobytes()
    fill(
        tmp_path,
        {
            "text": b"DICM is the prefix of DICOM files, which a text may name.",
            "json": json.dumps({"a": 1}).encode(),
            "numbers16": np.arange(8, 3000, dtype=np.uint16).tobytes(),
            "constant16": np.full(3000, 8, dtype=np.uint16).tobytes(),
            "numbers32": np.arange(8, 3000, dtype=np.uint32).tobytes(),
            "eight": b"\x08\0" + random,
            "two": b"\x02\0" + random,
            "big": b"\0\x08" + random,
            "first_element_alone": b"\x08\0\x05\0CS\x0a\0ISO_IR 100",
            "length_beyond_the_end": b"\x08\0\x05\0CS\x0a\0ISO_IR 100\x08\0\x08\0CS\xf0\xff",
            "short": b"\x08\0",
            "empty": b"",
        },
    )
    assert found(tmp_path) == []


def test_random_content_is_seldom_taken_for_dicom() -> None:
    random = np.random.default_rng(5).integers(0, 256, (20000, 64), dtype=np.uint8)
    random[:, 1] = 0
    random[:, 0] = 8
    assert not any(starts_with_elements(one.tobytes(), 4096) for one in random)


def test_every_suffix_is_taken_and_second_files_of_pairs_are_not(tmp_path: Path) -> None:
    names = [f"a{suffix}" for suffix in RADIOGRAPHS]
    fill(tmp_path, dict.fromkeys([*names, "a.img", "B.HDR", "B.IMG"], b""))
    assert {".dcm.gz", ".bmp", ".webp", ".gif", ".jp2", ".hdr"} < set(RADIOGRAPHS)
    assert sorted(found(tmp_path)) == sorted([*names, "B.HDR"])
    assert search([tmp_path]).left_out == {}


def test_names_that_are_not_utf_8_are_found(tmp_path: Path) -> None:
    raw = os.fsencode(tmp_path) + b"/chest_\xe9.dcm"
    with open(raw, "wb") as file:  # noqa: PTH123
        file.write(DICOM)
    (one,) = find_files([tmp_path])
    assert os.fsencode(one.path) == raw
    assert os.fsencode(one.relative) == b"chest_\xe9.dcm"


def test_what_is_left_out_is_counted_by_kind(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    fill(
        tmp_path,
        dict.fromkeys(
            ["a.zip", "sub/b.7Z", "c.tar.gz", "d.heic", "e.mp4", "f.mha", "g.nrrd", "lone.img", "h.pdf"], b""
        )
        | dict.fromkeys(["i.npy", "notes.txt", "README", ".hidden.zip", "x.png", "DICOMDIR"], b""),
    )
    result = search([tmp_path, tmp_path / "sub"])
    assert [file.relative.name for file in result.files] == ["x.png"]
    assert result.left_out == {
        "archives": 3,
        "pictures": 1,
        "videos": 1,
        "volumes": 3,
        "documents": 1,
        "arrays": 1,
        "others": 2,
    }
    assert result.remarks[0] == "left out: 3 archives (.7z, .gz, .zip): unpack them first"
    assert len(result.remarks) == len(result.left_out)
    find_files([tmp_path])
    assert "3 archives" in caplog.text


def test_a_named_archive_gets_a_row_of_its_own(tmp_path: Path, picture: Any, make_dicom: Any) -> None:
    image = make_dicom(tmp_path / "image", picture)
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.write(image, "image.dcm")
    assert found(tmp_path / "a.zip") == ["a.zip"]


def test_folders_of_earlier_runs_are_left_out_with_a_remark(tmp_path: Path) -> None:
    fill(
        tmp_path,
        {
            "in/a.png": b"",
            "in/out1/masks/a.png": b"",
            "in/out1/.lungfield/journal.sqlite": b"",
            "in/b/out2/overlays/a.jpg": b"",
            "in/b/out2/.lungfield/journal.sqlite": b"",
            "in/b/b.png": b"",
            "in/own/masks/a.png": b"",
            "in/own/c.png": b"",
            "in/own/.lungfield/journal.sqlite": b"",
        },
    )
    own = tmp_path / "in" / "own"
    result = search([tmp_path / "in", tmp_path / "in" / "b"], exclude=[own / "masks", own / ".lungfield"])
    assert [file.relative.as_posix() for file in result.files] == ["a.png", "b/b.png", "own/c.png"]
    assert result.left_out == {"earlier_runs": 2}
    assert result.remarks == ("left out: 2 folders with the results of an earlier run",)


def write_dicomdir(folder: Path, references: list[Any]) -> Path:
    """A DICOMDIR with one record for each ReferencedFileID."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = MediaStorageDirectoryStorage
    meta.MediaStorageSOPInstanceUID = generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset = Dataset()
    dataset.file_meta = meta
    records = []
    for reference in references:
        record = Dataset()
        record.DirectoryRecordType = "IMAGE"
        record.ReferencedFileID = reference
        records.append(record)
    dataset.DirectoryRecordSequence = records
    folder.mkdir(parents=True, exist_ok=True)
    dataset.save_as(folder / "DICOMDIR", enforce_file_format=True)
    return folder / "DICOMDIR"


def test_a_dicomdir_stands_for_the_files_that_it_lists(tmp_path: Path, picture: Any, make_dicom: Any) -> None:
    file_set = FileSet()
    for number in range(3):
        image = dcmread(make_dicom(tmp_path / f"{number}.dcm", picture))
        image.file_meta.MediaStorageSOPClassUID = image.SOPClassUID
        image.file_meta.MediaStorageSOPInstanceUID = image.SOPInstanceUID
        image.InstanceNumber = number + 1
        file_set.add(image)
    file_set.write(tmp_path / "disc")
    listed = search([tmp_path / "disc" / "DICOMDIR"])
    assert len(listed.files) == 3
    assert {file.path.resolve() for file in listed.files} == {
        file.path.resolve() for file in find_files([tmp_path / "disc"])
    }
    assert all(read_radiograph(file.path).shape == picture.shape for file in listed.files)
    assert all(len(file.relative.parts) > 1 for file in listed.files)
    assert len(find_files([tmp_path / "disc" / "DICOMDIR", tmp_path / "disc"])) == 3


def test_references_that_leave_the_folder_of_a_dicomdir_are_refused(tmp_path: Path) -> None:
    fill(tmp_path, {"secret.dcm": DICOM, "disc/IMAGES/IM1": DICOM})
    outside = [["..", "secret.dcm"], str(tmp_path / "secret.dcm"), "../secret.dcm", ["IMAGES", "..", ".."]]
    outside += [["C:", "IM1"], ["", "etc", "passwd"]]
    dicomdir = write_dicomdir(tmp_path / "disc", [["IMAGES", "IM1"], *outside])
    result = search([dicomdir])
    assert [file.relative.as_posix() for file in result.files] == ["IMAGES/IM1"]
    assert result.left_out == {"dicomdir_references": len(outside)}
    assert len(result.remarks) == 1


def test_files_that_a_dicomdir_lists_get_a_row_even_if_missing(tmp_path: Path) -> None:
    fill(tmp_path, {"disc/images/im1": DICOM})
    dicomdir = write_dicomdir(tmp_path / "disc", [["IMAGES", "IM1"], ["IMAGES", "IM2"], "IM3", "IM3"])
    listed = [file.relative.as_posix() for file in find_files([dicomdir])]
    assert listed == ["images/im1", "IMAGES/IM2", "IM3"]


@pytest.mark.parametrize(
    "content", [b"", b"text", bytes(128) + b"DICM\1\2\3", DICOM, gzip.compress(DICOM, mtime=0)], ids=repr
)
def test_a_dicomdir_that_lists_nothing_gets_a_row_of_its_own(tmp_path: Path, content: bytes) -> None:
    fill(tmp_path, {"DICOMDIR": content})
    assert found(tmp_path / "DICOMDIR") == ["DICOMDIR"]


def test_a_dicomdir_with_refused_references_only_gets_a_row_of_its_own(tmp_path: Path) -> None:
    dicomdir = write_dicomdir(tmp_path, [["..", "a"]])
    assert found(dicomdir) == ["DICOMDIR"]
