"""What a bad file, a full disk, a second run or a killed process may not do."""

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import misbehaving
import numpy as np
import pytest
from PIL import Image

from lungfield.batch.journal import Entry, Fingerprint, Journal
from lungfield.errors import DataError, OutputError


@pytest.fixture
def asking(tmp_path, chest):
    """Make a folder of pictures whose first pixel asks for something; None for a harmless one."""

    def make(**asked):
        folder = tmp_path / "in"
        folder.mkdir()
        for name, value in asked.items():
            pixels = chest[0].copy()
            pixels[0, 0] = 180 if value is None else value
            Image.fromarray(pixels).save(folder / f"{name}.png")
        return folder

    return make


def ends(batch):
    return {row["file"].removesuffix(".png"): (row["status"], row["reason_code"]) for row in batch.files}


def test_a_file_that_crashes_or_exhausts_its_worker_costs_only_itself(asking, tmp_path, run):
    folder = asking(
        a=None, b=misbehaving.ABORT, c=None, d=misbehaving.EXHAUST, e=misbehaving.FAIL, f=None, g=None
    )
    batch = run(folder, tmp_path / "out", workers=2)
    assert ends(batch) == {
        "a": ("done", ""),
        "b": ("failed", "crashed"),
        "c": ("done", ""),
        "d": ("failed", "out-of-memory"),
        "e": ("failed", "internal"),
        "f": ("done", ""),
        "g": ("done", ""),
    }
    assert "Secret" not in (tmp_path / "out" / "results.csv").read_text()


def test_what_ended_a_worker_is_told(asking, tmp_path, run):
    folder = asking(a=None, b=misbehaving.KILLED, c=misbehaving.ABORT, d=None)
    batch = run(folder, tmp_path / "out", workers=2)
    rows = {row["file"]: row for row in batch.files}
    assert rows["b.png"]["reason_code"] == "out-of-memory"
    assert "SIGKILL" in rows["b.png"]["reason"]
    assert "damaged" not in rows["b.png"]["reason"]
    assert rows["c.png"]["reason_code"] == "crashed"
    assert "SIGSEGV" in rows["c.png"]["reason"]
    assert rows["a.png"]["status"] == rows["d.png"]["status"] == "done"


def test_a_file_that_hangs_is_given_up(asking, tmp_path, run):
    start = time.monotonic()
    batch = run(asking(a=misbehaving.HANG, b=None, c=None), tmp_path / "out", time_limit_s=3)
    assert ends(batch) == {"a": ("failed", "timed-out"), "b": ("done", ""), "c": ("done", "")}
    assert time.monotonic() - start < 60


def test_a_full_disk_stops_the_run_and_resuming_goes_on(asking, tmp_path, run):
    folder = asking(a=None, b=None, c=misbehaving.FULL_DISK, d=None)
    with pytest.raises(OutputError, match=r"[Nn]o space.*--resume"):
        run(folder, tmp_path / "out")
    Image.fromarray(np.asarray(Image.open(folder / "a.png"))).save(folder / "c.png")
    batch = run(folder, tmp_path / "out", resume=True)
    assert {status for status, _ in ends(batch).values()} == {"done"}
    assert not list((tmp_path / "out").rglob("*.part"))


def test_two_runs_on_one_folder_refuse_each_other(asking, tmp_path, run):
    (tmp_path / "out").mkdir()
    with Journal(tmp_path / "out"), pytest.raises(DataError, match="Another run is writing"):
        run(asking(a=None), tmp_path / "out")


def test_results_of_a_run_are_not_written_over_unasked(asking, tmp_path, run):
    folder = asking(a=None)
    run(folder, tmp_path / "out")
    with pytest.raises(DataError, match="holds the results of a run"):
        run(folder, tmp_path / "out")
    with pytest.raises(DataError, match=r"'preview', 'seg'\] instead of \['mask'\]"):
        run(folder, tmp_path / "out", resume=True, formats=("mask",))
    assert ends(run(folder, tmp_path / "out", overwrite=True, formats=("mask",)))["a"] == ("done", "")


def test_resuming_does_again_what_changed_or_is_missing_and_nothing_else(asking, tmp_path, run):
    folder = asking(a=None, b=None, c=None, d=misbehaving.FAIL)
    output = tmp_path / "out"
    run(folder, output)
    times = {name: (output / "masks" / f"{name}.png").stat().st_mtime_ns for name in "abc"}
    (output / "overlays" / "b.jpg").unlink()
    pixels = np.asarray(Image.open(folder / "c.png")).copy()
    pixels[:60] = 180
    Image.fromarray(pixels).save(folder / "c.png")
    Image.fromarray(pixels).save(folder / "d.png")
    batch = run(folder, output, resume=True)
    assert ends(batch) == dict.fromkeys("abcd", ("done", ""))
    changed = [name for name in "abc" if (output / "masks" / f"{name}.png").stat().st_mtime_ns != times[name]]
    assert changed == ["b", "c"]
    assert (output / "overlays" / "b.jpg").is_file()


def test_a_damaged_journal_is_said(tmp_path, asking, run):
    (tmp_path / "out" / ".lungfield").mkdir(parents=True)
    (tmp_path / "out" / ".lungfield" / "journal.sqlite").write_bytes(b"no database at all" * 100)
    with pytest.raises(DataError, match=r"journal .* is damaged"):
        run(asking(a=None), tmp_path / "out")


def test_journal_keeps_the_last_word(tmp_path):
    (tmp_path / "out").mkdir()
    with Journal(tmp_path / "out") as journal:
        for status in ("failed", "done"):
            journal.add(Entry("a", Fingerprint(1, 2), "x", {"status": status}))
        journal.add(Entry("b", Fingerprint(1, 2), "x", {"status": "done"}))
    with Journal(tmp_path / "out") as journal:
        assert journal.find("a").row == {"status": "done"}
        assert journal.find("c") is None
        assert journal.duplicates() == {"a": ["b"], "b": ["a"]}


# Processes that are stopped ----------------------------------------------------------------------------


LEAN = """
import functools
from lungfield.batch import processes, segment
segment.start_forkserver = functools.partial(processes.start_forkserver, "lungfield.batch.lean")
from lungfield.cli.main import main
main()
"""
"""The command; it imports as for a shipped bundle, which costs half."""


def start(folder, output, bundle, *more):
    here = os.path.dirname(__file__)  # noqa: PTH120  (where the bundle's transform is imported from)
    return subprocess.Popen(
        [
            sys.executable,
            *("-c", LEAN, "segment", str(folder), "-o", str(output), "--bundle", str(bundle)),
            *("--backend", "torch", "--workers", "2", "--no-report"),
            *("--formats", "mask,overlay,seg,nifti,sr,sc", *more),
        ],
        env={**os.environ, "SOURCE_DATE_EPOCH": "1700000000", "PYTHONPATH": here},
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def alive_in_session_of(process):
    """The processes that `process` has started, or their children, and that still run."""
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            # After the name, which may hold anything: state, parent, group, session (proc(5)).
            state, _, _, session = status.read_text().rpartition(")")[2].split()[:4]
            if int(session) == process.pid and state not in "ZX" and int(status.parent.name) != process.pid:
                found.append((status.parent / "cmdline").read_text().replace("\0", " "))
    return found


def forkservers_of(process):
    return [command for command in alive_in_session_of(process) if "multiprocessing.forkserver" in command]


def assert_nothing_lives_on(process, seconds=60.0):
    deadline = time.monotonic() + seconds
    while (alive := alive_in_session_of(process)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert alive == []


def ended_files(output):
    return len(list((output / "masks").glob("*.png"))) if (output / "masks").is_dir() else 0


def wait_for_files(process, output, count):
    deadline = time.monotonic() + 200
    while process.poll() is None and ended_files(output) < count and time.monotonic() < deadline:
        time.sleep(0.02)


def contents(output):
    """The bytes of all results; the times that files took are left out of the tables."""
    found = {
        path.relative_to(output).as_posix(): path.read_bytes()
        for path in sorted(output.rglob("*"))
        if path.is_file() and ".lungfield" not in path.parts and not path.name.startswith("results.")
    }
    content = json.loads((output / "results.json").read_text())
    for part in (content["summary"], *content["files"]):
        part.pop("seconds")
    for name in ("output", "resumed"):
        content["summary"].pop(name)
    return found, content


@pytest.fixture
def many(tmp_path, chest, make_dicom):
    folder = tmp_path / "in"
    generator = np.random.default_rng(0)
    for number in range(24):
        pixels = chest[0].astype(np.uint16) * 16 + generator.integers(0, 100, chest[0].shape, dtype=np.uint16)
        make_dicom(
            folder / f"{number:02d}.dcm",
            pixels,
            SOPInstanceUID=f"1.2.826.{number + 1}",
            StudyInstanceUID="1.2.3",
            SeriesInstanceUID="1.2.4",
        )
    (folder / "damaged.dcm").write_bytes(b"\0" * 128 + b"DICM" + b"\1\2\3")
    return folder


@pytest.mark.slow
def test_a_run_killed_at_random_moments_and_resumed_gives_the_same_bytes(many, tmp_path, dark_is_lung):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    assert start(many, whole, dark_is_lung).wait() == 1  # one file is damaged
    moments = random.Random(5)
    kills = 0
    for _ in range(2):
        process = start(many, broken, dark_is_lung, *(("--resume",) if broken.exists() else ()))
        wait_for_files(process, broken, ended_files(broken) + moments.randint(1, 5))
        time.sleep(moments.uniform(0, 0.05))
        kills += process.poll() is None
        process.kill()
        process.wait()
    assert kills == 2
    assert 0 < ended_files(broken) < 24
    assert start(many, broken, dark_is_lung, "--resume").wait() == 1
    files, tables = contents(whole)
    files_of_broken, tables_of_broken = contents(broken)
    assert files.keys() == files_of_broken.keys()
    assert [name for name in files if files[name] != files_of_broken[name]] == []
    assert tables == tables_of_broken


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_polite_stop_leaves_tables_and_a_word(many, tmp_path, dark_is_lung, number, code):
    output = tmp_path / "out"
    process = start(many, output, dark_is_lung)
    wait_for_files(process, output, 3)
    process.send_signal(number)
    _, said = process.communicate(timeout=60)
    assert process.returncode == code
    assert "--resume continues" in said
    assert "Traceback" not in said
    rows = json.loads((output / "results.json").read_text())["files"]
    assert 0 < len(rows) < 25
    for row in rows:
        if row["status"] == "done":
            assert (output / row["mask"]).is_file()
    assert_nothing_lives_on(process)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for processes in /proc")
@pytest.mark.parametrize(("after", "wanted"), [("forkserver", 1), ("workers", 3)])
def test_nothing_survives_an_interrupt_during_start_up(many, tmp_path, dark_is_lung, after, wanted):
    """After the first files, `test_a_polite_stop_leaves_tables_and_a_word` asks it."""
    process = start(many, tmp_path / "out", dark_is_lung)
    deadline = time.monotonic() + 60
    while len(alive_in_session_of(process)) < wanted and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)  # to the main process alone
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert_nothing_lives_on(process)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for processes in /proc")
def test_nothing_survives_a_main_process_that_is_killed(asking, tmp_path, dark_is_lung):
    """Not even a worker that hangs in a file, as nobody is left to give it up."""
    folder = asking(a=None, b=misbehaving.HANG)
    process = start(folder, tmp_path / "out", dark_is_lung)
    wait_for_files(process, tmp_path / "out", 1)
    assert ended_files(tmp_path / "out") == 1
    process.kill()
    process.wait()
    assert_nothing_lives_on(process)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for processes in /proc")
def test_an_interrupt_from_the_terminal_leaves_no_traceback(many, tmp_path, dark_is_lung):
    process = start(many, tmp_path / "out", dark_is_lung)
    deadline = time.monotonic() + 60
    while not forkservers_of(process) and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.5)  # it imports for longer than that
    assert process.poll() is None
    os.killpg(process.pid, signal.SIGINT)  # to all processes, as a terminal does
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in said
    assert_nothing_lives_on(process)
