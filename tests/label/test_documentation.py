"""The commands of docs/monai-label.md, as they are written there: a server by MONAI Label's own, and curl."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("monailabel", reason="needs MONAI Label: docs/monai-label.md")

import nibabel

from lungfield.bundles import find_bundle, shipped

pytestmark = pytest.mark.timeout(600)
PAGE = Path(__file__).parents[2] / "docs" / "monai-label.md"
BLOCKS = re.findall(r"^```bash\n(.*?)^```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
ADDRESS = "http://127.0.0.1:8000"


def block(*parts):
    """The one block of commands that has all these parts."""
    (found,) = [one for one in BLOCKS if all(part in one for part in parts)]
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder that looks like the repository's root, after the first commands of the page."""
    folder = tmp_path_factory.mktemp("root")
    for name in ("sample_data", "bundles"):
        (folder / name).symlink_to(shipped(name))
    make_studies, start = block("mkdir").strip().splitlines()
    assert start == "lungfield label studies --bundle unet"  # tests/label/test_server.py starts the like
    subprocess.run(["bash", "-euc", make_studies], cwd=folder, check=True)
    return folder


@pytest.fixture(scope="module")
def server(folder, serve, tmp_path_factory):
    """The server, started by the second way that the page shows."""
    home = tmp_path_factory.mktemp("home")
    text = block("--app-dir").replace("label --app-dir", f"label --app-dir --home {home}")
    words = shlex.split(re.sub(r"--port \d+", "", text).replace("\\\n", " "), comments=True)
    words[words.index("--studies") + 1] = str(folder / "studies")
    return serve("", command=["bash", "-euc", f'exec {" ".join(map(quoted, words))} "$@"', "server"])


def quoted(word):
    """A word for the shell, which still has to fill in what another command prints."""
    return f'"{word}"' if word.startswith("$(") else shlex.quote(word)


@pytest.fixture
def run(folder, server):
    """Run a block of the page against the server, and return what it printed."""

    def run(text):
        text = text.replace(ADDRESS, server.url)
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", text], cwd=folder, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        assert '"detail"' not in done.stdout, done.stdout
        return done.stdout

    return run


def ended(server, path):
    """Wait for the end of a task, which has to be a good one."""
    while (state := server.get(path).json())["status"] in ("SUBMITTED", "RUNNING"):
        time.sleep(0.5)
    assert state["status"] == "DONE", state["details"]
    return state


def test_requests(run, folder):
    printed = run(block("/info/", "/infer/unet"))
    assert '"confidence"' in printed
    assert set(np.unique(np.asarray(nibabel.load(folder / "mask.nii.gz").dataobj))) == {0, 1, 2}
    assert set(np.unique(np.asarray(Image.open(folder / "mask.png")))) == {0, 1, 2}


def test_next_radiograph(run):
    assert "id" in json.loads(run(block("/activelearning/")))


def test_batch_and_corrections_and_training(run, server, folder):
    run(block("/batch/infer"))
    ended(server, "/batch/infer")
    samples = [path.stem for path in (folder / "sample_data" / "labels").iterdir()]
    assert sorted(path.name for path in (folder / "studies" / "labels" / "original").iterdir()) == sorted(
        f"{name}.nii.gz" for name in samples
    )

    run(block("/datastore/label"))
    assert server.get("/datastore/").json()["completed"] == 1

    text = block("/train/unet")
    assert '"max_epochs": 12' in text
    run(text.replace('"max_epochs": 12', '"max_epochs": 1'))
    ended(server, "/train/")
    version = find_bundle("unet").version
    assert server.get("/info/").json()["models"]["unet"]["version"].startswith(f"{version}+")
    run(block("DELETE"))
    assert server.get("/info/").json()["models"]["unet"]["version"] == version


def test_the_page_tells_the_defaults():
    from lungfield.label.training import Options

    text = PAGE.read_text(encoding="utf-8")
    for name in ("max_epochs", "learning_rate", "batch_size", "val_split"):
        assert f"| `{name}` | {getattr(Options, name)} |" in text


def test_stock_app_is_started_as_its_test_does():
    text = block("--name monaibundle")
    for words in ("--conf models unet", "--conf zoo_source local", "--conf sam2 false", "--host 127.0.0.1"):
        assert words in text
    assert """MONAI_LABEL_DATASTORE_FILE_EXT='["*.dcm", "*.png", "*.nii.gz"]'""" in text
