"""scripts/benchmark_ray.py: a small run of what takes a moment."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "benchmark_ray.py"


@pytest.mark.slow
def test_growth_counts_every_item(tmp_path):
    pytest.importorskip("ray")
    words = ["growth", "--counts", "100", "--actors", "1", "--json", tmp_path / "figures.json"]
    done = subprocess.run(
        [sys.executable, SCRIPT, *map(str, words)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    (figures,) = json.loads((tmp_path / "figures.json").read_text())["growth"]
    assert figures["items"] == 100
    assert figures["driver_mb"] > 0
