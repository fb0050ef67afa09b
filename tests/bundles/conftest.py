"""A prepared data set small enough to train on within seconds, and two ways to call `monai.bundle`."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from monai.bundle import ConfigWorkflow
from PIL import Image


@pytest.fixture(scope="session")
def tiny_dataset(tmp_path_factory):
    """Six 80x64 pictures of two dark ellipses, as `lungfield prepare` lays them out."""
    folder = tmp_path_factory.mktemp("tiny")
    (folder / "images").mkdir()
    (folder / "labels").mkdir()
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:80, :64]
    content = {"name": "tiny", "training": [], "validation": [], "test": []}
    sections = ["training"] * 3 + ["validation"] + ["test"] * 2
    for number, section in enumerate(sections):
        label = np.zeros((80, 64), dtype=np.uint8)
        top = rng.integers(34, 44)
        label[((rows - top) / 26) ** 2 + ((columns - 18) / 10) ** 2 < 1] = 1
        label[((rows - top) / 24) ** 2 + ((columns - 46) / 9) ** 2 < 1] = 2
        image = 190 - 120 * (label > 0) + rng.normal(0, 8, label.shape)
        for kind, array in (("images", image), ("labels", label)):
            Image.fromarray(array.clip(0, 255).astype(np.uint8)).save(folder / kind / f"{number}.png")
        entry = {"id": str(number), "image": f"images/{number}.png", "label": f"labels/{number}.png"}
        content[section].append(entry | {"dataset": "tiny", "spacing_mm": [0.5, 0.5] if number % 2 else None})
    (folder / "dataset.json").write_text(json.dumps(content))
    return folder


@pytest.fixture(scope="session")
def run_bundle():
    """Call `python -m monai.bundle run WORDS --KEY VALUE ...` in a process of its own."""

    def run(*words: str, cwd: Path, **options: object) -> subprocess.CompletedProcess:
        arguments = [
            text for key, value in options.items() for text in (f"--{key.replace('__', '::')}", str(value))
        ]
        return subprocess.run(
            [sys.executable, "-W", "ignore", "-m", "monai.bundle", "run", *words, *arguments],
            cwd=cwd,
            env=os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )

    return run


@pytest.fixture
def run(monkeypatch):
    """Run configs of a bundle as `python -m monai.bundle run` does, but in this process."""
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)  # the configs replace it

    def call(root, kind, *names, **options):
        files = [str(root / "configs" / name) for name in names]
        options = {key.replace("__", "::"): value for key, value in options.items()}
        workflow = ConfigWorkflow(files, workflow_type=kind, logging_file=False, **options)
        workflow.initialize()
        workflow.run()

    return call
