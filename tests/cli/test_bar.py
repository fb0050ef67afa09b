"""A terminal shows a word at once, before the large imports; no terminal shows nothing."""

import os
import subprocess
import sys
import time

import pytest

pty = pytest.importorskip("pty")  # not on Windows

COMMANDS = {
    "segment": (["segment", "in", "-o", "out"], "Looking for radiographs"),
    "prepare": (["prepare", "folders", "--images", "in", "--unlabelled", "-o", "out"], "Images"),
    "export": (["export", "unet", "--format", "torchscript", "-o", "a.ts"], "Exporting unet"),
}

# Reports, when the word is written, what has been imported till then.
PROGRAM = """
import sys
from lungfield.cli.bar import Bar
start = Bar.__enter__
def started(bar):
    large = [name for name in ("numpy", "scipy", "pydicom", "torch", "monai") if name in sys.modules]
    print("imported:", large, flush=True)
    return start(bar)
Bar.__enter__ = started
from lungfield.cli.main import main
sys.argv = ["lungfield", *sys.argv[1:]]
main()
"""


@pytest.mark.parametrize("name", COMMANDS)
def test_a_terminal_gets_a_word_before_anything_large_is_imported(name, tmp_path):
    words, expected = COMMANDS[name]
    (tmp_path / "in").mkdir()
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *words],
        cwd=tmp_path,
        env=os.environ | {"TERM": "xterm", "COLUMNS": "100"},
        stdout=subprocess.PIPE,
        stderr=theirs,
        text=True,
    )
    os.close(theirs)
    said = b""
    deadline = time.monotonic() + 60
    while expected.encode() not in said and time.monotonic() < deadline:
        try:
            said += os.read(ours, 1024)
        except OSError:  # the end
            break
    process.kill()
    output, _ = process.communicate()
    os.close(ours)
    assert expected in said.decode()
    assert output.splitlines()[0] == "imported: []"


def test_no_terminal_gets_none(call_lungfield, tmp_path):
    (tmp_path / "in").mkdir()
    done = call_lungfield("prepare", "folders", "--images", "in", "--unlabelled", "-o", "out", cwd=tmp_path)
    assert done.stderr.startswith("lungfield: ")
