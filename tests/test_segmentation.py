"""One radiograph in memory: what a `Segmentation` measures and saves."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from pydicom import dcmread

from lungfield.bundles import find_bundle, shipped
from lungfield.errors import OutputError
from lungfield.pipeline import Segmentation, Segmenter
from lungfield.radiograph import read_radiograph


@pytest.fixture
def lungs(tmp_path, make_dicom):
    label_map = np.zeros((120, 100), dtype=np.uint8)
    label_map[20:100, 15:40] = 1
    label_map[30:90, 60:80] = 2
    pixels = (np.where(label_map > 0, 300, 2900) + np.arange(100) % 6).astype(np.uint16)
    radiograph = read_radiograph(make_dicom(tmp_path / "a.dcm", pixels, PixelSpacing=[2, 1]))
    probability = (label_map > 0).astype(np.float32)
    return Segmentation(radiograph, label_map, probability, find_bundle("unet"))


def test_it_measures(lungs):
    assert lungs.measurements.right_lung.area_mm2 == 80 * 25 * 2
    assert lungs.density.right_lung.mean < 0.2
    assert 0 <= lungs.quality.confidence <= 1


def test_it_saves_what_it_says(lungs, tmp_path):
    lungs.save_mask(tmp_path / "m.png")
    lungs.save_mask(tmp_path / "m.nii.gz")
    lungs.save_overlay(tmp_path / "o.jpg")
    lungs.save_seg(tmp_path / "s.dcm")
    with pytest.raises(OutputError, match=r"\.png, \.nii or \.nii\.gz"):
        lungs.save_mask(tmp_path / "m.jpg")
    for name in ("m.png", "m.nii.gz", "s.dcm"):
        assert lungs.agreement(tmp_path / name).dice == 1
    assert lungs.agreement(lungs.label_map == 1).recall == 1
    assert Image.open(tmp_path / "o.jpg").size == (100, 120)


def test_report_and_capture_belong_to_the_study(lungs, tmp_path):
    lungs.save_seg(tmp_path / "s.dcm")
    lungs.save_report(tmp_path / "sr.dcm", segmentation=tmp_path / "s.dcm")
    lungs.save_secondary_capture(tmp_path / "sc.dcm")
    studies = {dcmread(tmp_path / name).StudyInstanceUID for name in ("a.dcm", "s.dcm", "sr.dcm", "sc.dcm")}
    assert len(studies) == 1


def test_other_weights_make_other_objects(lungs, tmp_path):
    """Also where name and version of the bundle are the same."""
    root = tmp_path / "unet"
    (root / "models").mkdir(parents=True)
    (root / "models" / "model.pt").write_bytes(b"retrained")
    retrained = replace(lungs, bundle=replace(lungs.bundle, root=root))
    assert retrained.algorithm.version == lungs.algorithm.version
    for name in ("save_seg", "save_report", "save_secondary_capture"):
        uids = set()
        for number, one in enumerate((lungs, retrained, lungs)):
            getattr(one, name)(tmp_path / f"{number}.dcm")
            uids.add(dcmread(tmp_path / f"{number}.dcm").SOPInstanceUID)
        assert len(uids) == 2


def test_backend_and_the_second_opinion_are_chosen():
    sample = shipped("sample_data") / "images" / "01_dx_explicit.dcm"
    plain = Segmenter("unet", backend="torch")(sample)
    checked = Segmenter("unet", backend="torch", check_mirrored=True)(sample)
    assert plain.probability_of_mirrored is None
    assert checked.quality.features["flip_agreement"] > 0.95
    assert (plain.label_map == checked.label_map).all()
