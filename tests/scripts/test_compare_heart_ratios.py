"""Ratios of a network against those of references whose agreement is computed by hand."""

import json
from pathlib import Path

import numpy as np
import pytest

from compare_heart_ratios import agreement_of, main

SAMPLES = Path(__file__).parents[2] / "sample_data"


def test_bias_and_limits_of_agreement():
    ratios = np.array([(0.52, 0.50), (0.44, 0.40), (0.46, 0.46)])
    found = agreement_of(ratios)
    assert found["mean_absolute_error"] == found["bias"] == pytest.approx(0.02)
    assert found["greatest_absolute_error"] == pytest.approx(0.04)
    assert found["lower_limit"] == pytest.approx(0.02 - 1.96 * 0.02)
    assert found["upper_limit"] == pytest.approx(0.02 + 1.96 * 0.02)


def test_a_network_that_does_not_give_the_heart(tmp_path):
    with pytest.raises(SystemExit, match="does not segment the heart"):
        main(SAMPLES, tmp_path, bundle="unet", plot=None, section="test")


def test_tables_and_plot(tmp_path):
    plot = tmp_path / "plot.png"
    main(SAMPLES, tmp_path, bundle="efficientnet_lite0_unet", plot=plot, section="training")
    summary = json.loads((tmp_path / "ratios.json").read_text())
    assert summary["compared"] >= 2
    assert summary["mean_absolute_error"] < 0.1
    assert plot.read_bytes().startswith(b"\x89PNG")
    lines = (tmp_path / "ratios.csv").read_text("utf-8-sig").splitlines()
    assert len(lines) == summary["radiographs"] + 1
