"""Ranges are written if the masks stay as good, and only then."""

from pathlib import Path

import pytest

import calibrate_int8
from lungfield.bundles.quantization import int8_file, read_ranges

SAMPLES = Path(__file__).parents[2] / "sample_data"


def test_ranges_of_the_decoders_are_written_with_the_dice_of_every_structure(bundle_without_ranges, capsys):
    calibrate_int8.main(SAMPLES, bundle=str(bundle_without_ranges.root), images=2, least_share=0.02)
    assert len(read_ranges(bundle_without_ranges)) == 9
    assert all("decoder" in name for name in read_ranges(bundle_without_ranges))
    printed = capsys.readouterr().out
    for structure in ("lungs", "heart", "right_clavicle", "left_clavicle"):
        assert structure in printed


def test_nothing_is_written_if_masks_get_worse(bundle_without_ranges, monkeypatch):
    monkeypatch.setattr(calibrate_int8, "FALL", -1.0)
    with pytest.raises(SystemExit, match="Not written"):
        calibrate_int8.main(SAMPLES, bundle=str(bundle_without_ranges.root), images=1, least_share=0.02)
    assert not int8_file(bundle_without_ranges).exists()
