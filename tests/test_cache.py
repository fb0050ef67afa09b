"""The user's cache folder."""

from pathlib import PurePath

import pytest

from lungfield.atomic import written_together
from lungfield.cache import cached

PLACE = PurePath("things", "one.bin")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("LUNGFIELD_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def never():
    raise AssertionError("made again")


def test_what_was_made_once_is_read(folder):
    assert cached(PLACE, lambda: b"content") == b"content"
    assert (folder / PLACE).is_file()
    assert cached(PLACE, never) == b"content"


def test_a_damaged_file_is_made_again(folder):
    cached(PLACE, lambda: b"content")
    (folder / PLACE).write_bytes((folder / PLACE).read_bytes()[:-1])
    assert cached(PLACE, lambda: b"new") == b"new"
    assert cached(PLACE, never) == b"new"


def test_a_folder_that_cannot_be_written_costs_time_only(folder):
    folder.write_bytes(b"a file in the folder's place")
    assert cached(PLACE, lambda: b"first") == b"first"
    assert cached(PLACE, lambda: b"second") == b"second"


def test_results_that_fail_together_do_not_take_it_along(folder):
    def fail():
        with written_together():
            cached(PLACE, lambda: b"content")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert cached(PLACE, never) == b"content"
