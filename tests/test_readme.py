"""The README's commands do what it says, each taken from its text; `test_end_to_end.py` runs the first."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```", README, flags=re.DOTALL | re.MULTILINE)


def commands(start):
    """The README's commands that begin with `start`, continued lines joined and comments cut off."""
    lines = [line for block in blocks("bash") for line in block.replace("\\\n", " ").splitlines()]
    parts = [command for line in lines for command in line.split(" && ")]
    return [shlex.split(command, comments=True) for command in parts if command.startswith(start)]


def test_python_example_runs(tmp_path, monkeypatch, capsys):
    (code,) = blocks("python")
    (tmp_path / "sample_data").symlink_to(ROOT / "sample_data")
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "README.md", "exec"), {"__name__": "__main__"})  # noqa: S102
    area_mm2, ratio = map(float, capsys.readouterr().out.split())
    assert 10_000 < area_mm2 < 100_000  # of two lungs
    assert 0.3 < ratio < 0.7
    assert (tmp_path / "lungs.png").is_file()
    assert (tmp_path / "lungs.jpg").is_file()


IN_ONE_PROCESS = """
import json, runpy, sys
for words in json.loads(sys.argv[1]):
    sys.argv = words
    runpy.run_module("monai.bundle", run_name="__main__")
"""


@pytest.mark.slow
def test_monai_commands_run_on_the_samples(tmp_path):
    """The three commands of the section on MONAI, without their data folders, and short."""
    calls = commands("python -m monai.bundle")
    assert len(calls) == 3
    for number, words in enumerate(calls):
        for option in ("--dataset_dir", "--output_dir"):
            if option in words:
                position = words.index(option)
                del words[position : position + 2]
        words += ["--output_dir", str(tmp_path / str(number))]
        if "training" in words:
            words += ["--max_epochs", "1", "--image_size", "[64,64]", "--num_workers", "0"]
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", IN_ONE_PROCESS, json.dumps([words[2:] for words in calls])],
        cwd=ROOT,
        env=os.environ | {"CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for number in range(3):
        assert list((tmp_path / str(number)).iterdir())


def test_prepare_commands_are_real(call_here, tmp_path, monkeypatch):
    """Each is understood as far as its folders."""
    monkeypatch.chdir(tmp_path)
    for words in commands("lungfield prepare"):
        if "--help" in words:
            continue
        words[words.index("-o") + 1] = str(tmp_path / words[2])
        done = call_here(*words[1:])
        assert done.returncode == 2
        assert "Usage" not in done.stderr, done.stderr
        assert "lungfield: " in done.stderr


def test_links_lead_somewhere():
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", README):
        assert (ROOT / target).exists(), target
