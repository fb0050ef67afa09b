from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from lungfield.cli.prepare import app
from lungfield.errors import DataError

runner = CliRunner()


def test_folders(shenzhen_originals: Path, tmp_path: Path) -> None:
    splits = tmp_path / "splits.csv"
    splits.write_text("CHNCXR_0001_1,training\nCHNCXR_0002_0.png,test\n")
    images = shenzhen_originals / "ChinaSet_AllFiles" / "CXR_png"
    command = ["folders", "--images", str(images), "--masks", str(shenzhen_originals / "mask"), "--json"]
    command += [
        "--name",
        "mine",
        "--split-file",
        str(splits),
        "--spacing-mm",
        "0.4",
        "-o",
        str(tmp_path / "out"),
    ]
    result = runner.invoke(app, command)
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout.splitlines()[-1])
    assert report["counts"] == {"training": 1, "validation": 0, "test": 1}
    assert len(report["in_no_section"]) == 8
    content = json.loads((tmp_path / "out" / "dataset.json").read_text())
    assert content["name"] == "mine"
    assert content["training"][0]["spacing_mm"] == [0.4, 0.4]


def test_shenzhen(shenzhen_originals: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = runner.invoke(app, ["shenzhen", str(shenzhen_originals), "-o", str(out), "--split", "6:2:2"])
    assert result.exit_code == 0, result.output
    assert "2 images have no mask, the first: CHNCXR_0011_1" in result.stderr
    assert result.stdout == f"{out}: 6 training, 2 validation, 2 test\n"


def test_another_set_is_not_replaced(
    shenzhen_originals: Path, montgomery_originals: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    first = ["shenzhen", str(shenzhen_originals), "-o", str(out), "--split", "6:2:2"]
    assert runner.invoke(app, first).exit_code == 0
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    for command in (first, ["montgomery", str(montgomery_originals), "-o", str(out), "--split", "2:1:1"]):
        result = runner.invoke(app, command)
        assert isinstance(result.exception, DataError)
        assert f"{out} holds a data set" in str(result.exception)
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before
    (out / "dataset.json").unlink()
    with pytest.raises(DataError, match="a part of one"):
        runner.invoke(app, first, catch_exceptions=False)


def test_a_run_that_ended_early_can_be_begun_again(shenzhen_originals: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    command = ["shenzhen", str(shenzhen_originals), "-o", str(out), "--split", "6:2:2"]
    broken = shenzhen_originals / "ChinaSet_AllFiles" / "CXR_png" / "CHNCXR_0009_1.png"
    content = broken.read_bytes()
    broken.write_bytes(content[:100])
    assert runner.invoke(app, command).exit_code == 1
    assert list((out / "images").iterdir())
    broken.write_bytes(content)
    assert runner.invoke(app, command).exit_code == 0
    assert not (out / "unfinished").exists()


def test_montgomery(montgomery_originals: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = runner.invoke(app, ["montgomery", str(montgomery_originals), "-o", str(out), "--split", "2:1:1"])
    assert result.exit_code == 0, result.output
    assert result.stdout == f"{out}: 2 training, 1 validation, 1 test\n"


def test_jsrt(jsrt_originals: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    command = ["jsrt", str(jsrt_originals), "-o", str(out), "--split", "2:1:1", "--max-side", "64"]
    result = runner.invoke(app, command)
    assert result.exit_code == 0, result.output
    assert result.stdout == f"{out}: 2 training, 1 validation, 1 test\n"


def test_errors_reach_the_caller(tmp_path: Path) -> None:
    result = runner.invoke(app, ["jsrt", str(tmp_path / "none"), "-o", str(tmp_path / "out")])
    assert isinstance(result.exception, DataError)


@pytest.mark.parametrize("command", ["shenzhen", "montgomery", "jsrt", "folders"])
def test_help(command: str) -> None:
    result = runner.invoke(app, [command, "--help"])
    assert result.exit_code == 0
    assert "--output" in result.stdout


def test_help_loads_nothing_heavy() -> None:
    code = "import sys, lungfield.cli.prepare; print({'numpy', 'pydicom', 'torch'} & set(sys.modules))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "set()"
