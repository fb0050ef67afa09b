"""Watched folders: each file once, when it is complete, however it is written."""

from __future__ import annotations

import logging
import shutil
import time
from dataclasses import replace
from pathlib import Path

import pydicom
import pytest
from pydicom.uid import generate_uid
from sending import SAMPLE, wait_until

from lungfield.node.incoming import Incoming
from lungfield.node.records import State
from lungfield.node.settings import Limits
from lungfield.node.sources import Sources
from lungfield.node.watching import Watcher

SAMPLES = SAMPLE.parent


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "watched").mkdir()
    return tmp_path / "watched"


@pytest.fixture
def watcher(settings, store, incoming, folder):
    return Watcher(settings, store, incoming, folder, every_s=0.05)


def received(store) -> int:
    return store.counts()[State.RECEIVED]


def radiograph(path: Path) -> Path:
    dataset = pydicom.dcmread(SAMPLE)
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset.save_as(path)
    return path


def test_a_file_is_taken_at_the_second_look_and_never_again(watcher, store, folder, incoming, settings):
    path = radiograph(folder / "a" / "b" / "x.dcm")
    watcher.look()
    assert received(store) == 0
    for _ in range(4):
        watcher.look()
    assert received(store) == 1
    assert path.exists()
    later = Watcher(settings, store, incoming, folder)  # another process
    reads = []
    later._copied = lambda *_: reads.append(1)
    later.look()
    later.look()
    assert not reads


def test_every_kind_of_file_that_we_read_is_taken(watcher, store, folder):
    for one in SAMPLES.glob("*.dcm"):
        shutil.copy(one, folder)
    watcher.look()
    watcher.look()
    ct = 1  # no radiograph by its class
    assert received(store) == len(list(SAMPLES.glob("*.dcm"))) - ct


def test_a_file_that_grows_is_taken_when_it_is_whole(watcher, store, folder, tmp_path):
    whole = radiograph(tmp_path / "whole.dcm").read_bytes()
    with (folder / "x.dcm").open("wb") as file:
        for start in range(0, len(whole), len(whole) // 7 + 1):
            file.write(whole[start : start + len(whole) // 7 + 1])
            file.flush()
            watcher.look()
    assert received(store) == 0
    watcher.look()
    watcher.look()
    assert received(store) == 1
    assert store.counts()[State.PARKED] == 0


@pytest.mark.parametrize("share", [0.02, 0.3, 0.9, 0.9999])
@pytest.mark.parametrize(
    "sample", ["01_dx_explicit.dcm", "02_dx_inverse_jpeg2000.dcm", "05_capture_deflated.dcm"]
)
def test_a_copy_that_stalls_is_left_and_taken_when_it_goes_on(watcher, store, folder, caplog, sample, share):
    whole = (SAMPLES / sample).read_bytes()
    path = folder / "Doe^Jane.dcm"
    path.write_bytes(whole[: int(len(whole) * share)])
    with caplog.at_level(logging.INFO):
        for _ in range(3):
            watcher.look()
    assert sum(store.counts().values()) == 0
    assert "is ignored: " in caplog.text
    assert "Doe" not in caplog.text
    path.write_bytes(whole)
    for _ in range(3):
        watcher.look()
    assert (received(store), store.counts()[State.PARKED]) == (1, 0)


def test_other_files_are_left_and_cost_no_radiograph(watcher, store, folder, caplog):
    (folder / "notes.txt").write_text("hello")
    (folder / "empty.dcm").touch()
    (folder / "junk.dcm").write_bytes(bytes(range(256)) * 99)
    (folder / ".hidden.dcm").write_bytes(SAMPLE.read_bytes())
    (folder / "loop").symlink_to(folder, target_is_directory=True)
    (folder / "gone").symlink_to(folder / "nowhere")
    radiograph(folder / "good.dcm")
    for _ in range(3):
        watcher.look()
    assert received(store) == 1
    assert caplog.text.count("is ignored") == 3


def test_a_file_that_may_not_be_read_is_told_of_once_and_taken_later(
    watcher, store, folder, caplog, monkeypatch
):
    path = radiograph(folder / "x.dcm")
    real = Path.open

    def refuse(self, *args, **kwargs):
        if self == path:
            raise PermissionError(13, "Permission denied")
        return real(self, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", refuse)
        for _ in range(4):
            watcher.look()
    assert caplog.text.count("cannot be read") == 1
    watcher.look()
    assert received(store) == 1


def test_what_nobody_expected_and_what_is_too_large_keep_no_other(settings, store, incoming, folder, caplog):
    small = replace(settings, limits=Limits(disk_free_bytes=0, object_bytes=1 << 20))
    watcher = Watcher(small, store, incoming, folder)
    radiograph(folder / "a.dcm")
    radiograph(folder / "b.dcm")
    with (folder / "huge.dcm").open("wb") as file:
        file.truncate(1 << 40)  # nobody copies that
    real, calls = incoming.keep, []

    def keep(part, **how):
        calls.append(part)
        if len(calls) == 1:
            raise ZeroDivisionError
        return real(part, **how)

    incoming.keep = keep
    for _ in range(4):
        watcher.look()
    assert received(store) == 1
    assert len(calls) == 2
    assert "unexpected ZeroDivisionError" in caplog.text
    assert "over-limit" in caplog.text


def test_a_full_disk_takes_nothing_and_forgets_nothing(settings, store, folder, caplog):
    full = replace(settings, limits=Limits(disk_free_bytes=1 << 60))
    incoming = Incoming(full, store)
    incoming.prepare()
    watcher = Watcher(full, store, incoming, folder)
    radiograph(folder / "x.dcm")
    for _ in range(4):
        watcher.look()
    assert received(store) == 0
    assert caplog.text.count("nearly full") == 1
    incoming.has_space = lambda: True
    watcher.look()
    assert received(store) == 1


def test_the_thread_takes_what_comes_and_stops_at_once(settings, store, incoming, folder):
    sources = Sources(replace(settings, watch=(folder,)), store, incoming)
    sources.start()
    try:
        for number in range(5):
            radiograph(folder / f"{number}.dcm")
        wait_until(lambda: received(store) == 5, 15)
    finally:
        begin = time.monotonic()
        assert sources.stop()
    assert time.monotonic() - begin < 2
