"""The example of docs/export.md segments with ONNX Runtime and NumPy, without lungfield and torch."""

import re
import subprocess
import sys

import numpy as np
import pytest
from pages import ROOT, blocks
from PIL import Image

REPORT = """
import sys
loaded = {"torch", "monai", "lungfield"} & {name.partition(".")[0] for name in sys.modules}
assert not loaded, loaded
for name, mask in zip(names, masks):
    Image.fromarray(mask).save(f"{name}.png")
"""


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_example_segments_without_lungfield(call_here, tmp_path, monkeypatch):
    (code,) = (
        block.text for block in blocks() if (block.page, block.language) == ("docs/export.md", "python")
    )
    (path,) = re.findall(r'"(runs/exports/\w+\.onnx)"', code)
    monkeypatch.chdir(tmp_path)
    made = call_here("export", "unet", "--format", "onnx", "-o", path)
    assert made.returncode == 0, made.stderr
    (tmp_path / "sample_data").symlink_to(ROOT / "sample_data")
    done = subprocess.run(
        [sys.executable, "-c", code + REPORT], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    masks = sorted(tmp_path.glob("*.png"))
    assert len(masks) == 2
    for file in masks:
        mask = np.asarray(Image.open(file))
        reference = Image.open(ROOT / "sample_data" / "labels" / file.name).point(
            lambda value: 255 * (value > 0)
        )
        lung = np.asarray(reference.resize(mask.shape[::-1], Image.Resampling.BOX)) > 127
        assert 2 * (mask & lung).sum() > 0.97 * (mask.sum() + lung.sum())
