import os

import pytest

from lungfield.atomic import write_whole, written_together
from lungfield.errors import OutputError


def test_writes_and_replaces(tmp_path):
    path = tmp_path / "a.txt"
    write_whole(path, b"one")
    write_whole(path, b"two")
    assert path.read_bytes() == b"two"
    assert list(tmp_path.iterdir()) == [path]


def test_a_name_as_long_as_the_file_system_takes(tmp_path):
    path = tmp_path / ("x" * 250 + ".txt")
    write_whole(path, b"one")
    assert path.read_bytes() == b"one"


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, step):
    path = tmp_path / "a.txt"
    write_whole(path, b"old")

    def fail(*_args, **_options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(*((os, "fsync") if step == "fsync" else (type(path), "replace")), fail)
    with pytest.raises(OutputError, match=r"a\.txt: cannot be written: No space left on device"):
        write_whole(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_an_interrupt_leaves_nothing_either(tmp_path, monkeypatch):
    def interrupt(_descriptor):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_whole(tmp_path / "a.txt", b"new")
    assert list(tmp_path.iterdir()) == []


def test_missing_folders_are_made(tmp_path):
    write_whole(tmp_path / "new" / "newer" / "a.txt", b"one")
    assert (tmp_path / "new" / "newer" / "a.txt").read_bytes() == b"one"


def test_a_file_in_the_place_of_the_folder(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="check that its folder can be created"):
        write_whole(tmp_path / "file" / "a.txt", b"new")


def test_a_folder_in_the_way(tmp_path):
    (tmp_path / "a.txt").mkdir()
    with pytest.raises(OutputError):
        write_whole(tmp_path / "a.txt", b"new")
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]


def test_files_written_together_take_their_names_at_the_end(tmp_path):
    one, other = tmp_path / "a.txt", tmp_path / "b.txt"
    write_whole(one, b"old")
    with written_together():
        write_whole(one, b"new")
        write_whole(other, b"new")
        assert one.read_bytes() == b"old"
        assert not other.exists()
    assert one.read_bytes() == other.read_bytes() == b"new"
    write_whole(one, b"alone again")
    assert one.read_bytes() == b"alone again"
    assert sorted(tmp_path.iterdir()) == [one, other]


def test_a_block_that_fails_leaves_none_of_its_files(tmp_path):
    def write_and_fail():
        with written_together():
            write_whole(tmp_path / "a.txt", b"new")
            raise KeyError

    with pytest.raises(KeyError):
        write_and_fail()
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_at_the_end_of_a_block_names_the_file(tmp_path, monkeypatch):
    fsync, calls = os.fsync, []

    def fail_the_second_time(descriptor):
        calls.append(descriptor)
        if len(calls) == 2:
            raise OSError(28, "No space left on device")
        fsync(descriptor)

    def write_all():
        with written_together():
            for name in "abc":
                write_whole(tmp_path / name, b"new")

    monkeypatch.setattr(os, "fsync", fail_the_second_time)
    with pytest.raises(OutputError, match="b: cannot be written: No space left"):
        write_all()
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
