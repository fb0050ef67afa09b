"""`lungfield label`: the call, and what it says where MONAI Label is missing."""

from __future__ import annotations

import importlib.util
import subprocess
import sys

import pytest

HAS_MONAI_LABEL = importlib.util.find_spec("monailabel") is not None
needs_it = pytest.mark.skipif(not HAS_MONAI_LABEL, reason="needs MONAI Label: docs/monai-label.md")


def run(code):
    """What Python code prints in a process of its own."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.skipif(HAS_MONAI_LABEL, reason="MONAI Label is installed")
def test_without_monai_label_one_line_says_what_to_install(call_lungfield, tmp_path):
    done = call_lungfield("label", tmp_path)
    assert done.returncode == 2
    assert done.stdout == ""
    (line,) = done.stderr.strip().splitlines()
    assert "MONAI Label is not installed" in line
    assert "pip install -c constraints-label.txt" in line


def test_help_needs_no_monai_label_and_no_torch(call_lungfield):
    done = call_lungfield("label", "--help")
    assert done.returncode == 0
    for option in ("--bundle", "--port", "--host", "--home", "--app-dir"):
        assert option in done.stdout
    assert run("import sys, lungfield.cli.label; print({'torch', 'monailabel'} & {*sys.modules})") == "set()"


def test_pydicom_seg_finds_what_pydicom_3_no_longer_has():
    """In a process of its own, as a module that was once imported stays."""
    code = "import lungfield.label, pydicom._storage_sopclass_uids as uids; print(uids.SegmentationStorage)"
    assert run(code) == "1.2.840.10008.5.1.4.1.1.66.4"


@needs_it
@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["nowhere"], "nowhere: no such folder"),
        ([".", "--bundle", "nothing"], "no bundle 'nothing'"),
        ([], "Give a folder of radiographs"),
    ],
)
def test_wrong_calls_end_with_2(words, says, call_here, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = call_here("label", *words, "--home", tmp_path / "home")
    assert done.returncode == 2
    assert says in " ".join(done.stderr.split())


@needs_it
def test_folder_of_the_app_is_made_and_printed(call_lungfield, tmp_path):
    done = call_lungfield("label", "--app-dir", "--home", tmp_path / "home")
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(tmp_path / "home")
    code = (
        "import lungfield.label; from monailabel.utils.others import class_utils;"
        "find = class_utils.get_class_of_subclass_from_file;"
        f"print(find('main', {str(tmp_path / 'home' / 'main.py')!r}, 'MONAILabelApp').__name__)"
    )
    assert run(code).split()[-1] == "LungFields"
