"""The same bundle by MONAI's own command: one radiograph at a time, in one process."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarking.end_to_end import BenchmarkError
from lungfield.bundles import Bundle


def stock_seconds(bundle: Bundle, files: Sequence[Path], folder: Path, *, device: str) -> float:
    """Seconds that `monai.bundle run` takes for files, its start included.

    It writes label maps as PNG: no overlay, no DICOM SEG, no measurements, no table.

    Args:
        bundle: segments them.
        files: radiographs that can be segmented.
        folder: for temporary links to the files and for the results.
        device: 'auto' leaves it to the bundle.

    Raises:
        BenchmarkError: it failed, or did not write all masks.
    """
    with tempfile.TemporaryDirectory(dir=folder) as name:
        inputs, masks = Path(name) / "inputs", Path(name) / "masks"
        inputs.mkdir()
        for file in files:
            os.link(file, inputs / file.name)
        call = [sys.executable, "-m", "monai.bundle", "run", "--config_file", str(bundle.inference_config)]
        call += ["--dataset_dir", str(inputs), "--output_dir", str(masks)]
        if device != "auto":
            call += ["--device", f"$torch.device({device!r})"]
        start = time.perf_counter()
        ended = subprocess.run(call, capture_output=True, text=True, check=False)
        seconds = time.perf_counter() - start
        written = len(list(masks.rglob("*.png")))
    if ended.returncode or written != len(files):
        last = (ended.stderr.strip().splitlines() or ["no message"])[-1]
        raise BenchmarkError(f"monai.bundle run wrote {written} of {len(files)} masks: {last}")
    return seconds
