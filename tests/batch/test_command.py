"""`lungfield segment` as a program among programs: its log, its last line, its exit status."""

import json

import misbehaving
import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from lungfield.cli.main import app


@pytest.fixture
def segment(dark_is_lung, call_here):
    def call(folder, output, *more):
        common = ["--bundle", dark_is_lung, "--workers", 1, "--backend", "torch"]
        return call_here("segment", folder, "-o", output, *common, *more)

    return call


def test_log_summary_and_status_are_for_programs(inputs, tmp_path, segment):
    log = tmp_path / "logs" / "run.jsonl"
    done = segment(inputs, tmp_path / "out", "--log-file", log, "--json")
    assert done.returncode == 1  # one file is broken
    summary = json.loads(done.stdout.splitlines()[-1])
    assert {name: summary[name] for name in ("files", "done", "skipped", "failed")} == {
        "files": 4,
        "done": 2,
        "skipped": 1,
        "failed": 1,
    }
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    ended = {line["file"]: (line["status"], line["reason_code"]) for line in lines if "file" in line}
    assert ended["lateral.dcm"] == ("skipped", "other-view")
    assert ended["ward/a.dcm"] == ("done", "")
    assert all("timestamp" in line and "level" in line for line in lines)
    for text in (log.read_text(), done.stdout, done.stderr):
        assert "Secret" not in text
        assert "ID-77" not in text
    assert (tmp_path / "out" / "report.html").is_file()


def test_a_full_disk_has_a_status_of_its_own(tmp_path, segment):
    (tmp_path / "in").mkdir()
    pixels = np.tile(180 + np.arange(90) % 6, (80, 1)).astype(np.uint8)
    pixels[20:60, 20:40] = 20
    pixels[0, 0] = misbehaving.FULL_DISK
    Image.fromarray(pixels).save(tmp_path / "in" / "a.png")
    done = segment(tmp_path / "in", tmp_path / "out")
    assert done.returncode == 3
    assert "--resume" in done.stderr
    assert "Traceback" not in done.stderr


def test_views_and_what_was_left_out(inputs, tmp_path, dark_is_lung):
    (inputs / "more.zip").write_bytes(b"PK")
    call = ["segment", str(inputs), "-o", str(tmp_path / "out")]
    call += ["--bundle", str(dark_is_lung), "--workers", "1"]
    done = CliRunner().invoke(app, [*call, "--no-report", "--views", "any", "--json"])
    summary = json.loads(done.stdout.splitlines()[-1])
    assert (summary["done"], summary["skipped"], summary["settings"]["views"]) == (3, 0, "any")
    assert summary["left_out"] == {"archives": 1}
    assert "left out: 1 archives (.zip): unpack them first" in done.stderr
    refused = CliRunner().invoke(app, [*call, "--overwrite", "--views", "sideways"])
    assert refused.exit_code == 2
