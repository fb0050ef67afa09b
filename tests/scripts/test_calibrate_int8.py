"""Ranges are written if the masks stay as good, and only then."""

import shutil
from pathlib import Path

import pytest

import calibrate_int8
from lungfield.bundles import find_bundle
from lungfield.bundles.quantization import int8_file, read_ranges

SAMPLES = Path(__file__).parents[2] / "sample_data"


@pytest.fixture
def bundle(tmp_path):
    root = tmp_path / "copy"
    shutil.copytree(find_bundle("efficientnet_lite0_unet").root, root)
    int8_file(find_bundle(root)).unlink(missing_ok=True)
    return find_bundle(root)


def test_ranges_of_the_decoders_are_written_with_the_dice_of_every_structure(bundle, capsys):
    calibrate_int8.main(SAMPLES, bundle=str(bundle.root), images=2, least_share=0.02)
    assert len(read_ranges(bundle)) == 9
    assert all("decoder" in name for name in read_ranges(bundle))
    printed = capsys.readouterr().out
    for structure in ("lungs", "heart", "right_clavicle", "left_clavicle"):
        assert structure in printed


def test_nothing_is_written_if_masks_get_worse(bundle, monkeypatch):
    monkeypatch.setattr(calibrate_int8, "FALL", -1.0)
    with pytest.raises(SystemExit, match="Not written"):
        calibrate_int8.main(SAMPLES, bundle=str(bundle.root), images=1, least_share=0.02)
    assert not int8_file(bundle).exists()
