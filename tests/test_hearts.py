"""Heart and clavicles from file to results, by a network that finds them by their grey values."""

import csv
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from pydicom import dcmread

from hearts import CHEST_WIDTH_PX, HEART_WIDTH_PX
from lungfield.batch import Options, segment_files
from lungfield.errors import BundleError
from lungfield.mask import Flag, NoRatio
from lungfield.pipeline import Segmenter

MODIFIER = "SegmentedPropertyTypeModifierCodeSequence"


def test_masks_and_ratio(segment_heart, heart_dicom, hearts_chest):
    _, label_map, masks = hearts_chest
    lungs = segment_heart(heart_dicom())
    assert set(lungs.structures) == set(masks)
    for name, mask in masks.items():
        assert lungs.structures[name].dtype == bool
        assert np.mean(lungs.structures[name] != mask) < 0.001
    assert np.mean(lungs.label_map != label_map) < 0.02  # what the clavicles cut off is an island
    assert lungs.heart.heart_width_mm == pytest.approx(HEART_WIDTH_PX, abs=1)
    assert lungs.heart.thoracic_width_mm == pytest.approx(CHEST_WIDTH_PX, abs=1)
    assert lungs.heart.cardiothoracic_ratio == pytest.approx(HEART_WIDTH_PX / CHEST_WIDTH_PX, abs=0.01)
    assert not {Flag.NO_HEART, Flag.UNUSUAL_RATIO, Flag.AP_RATIO} & set(lungs.quality.flags)


def test_masks_lie_on_the_stored_pixels(segment_heart, heart_dicom, tmp_path, hearts_chest, make_dicom):
    """Of a picture that is stored turned and mirrored, sizes are those of the upright one."""
    upright = segment_heart(heart_dicom())
    turned = hearts_chest[0].T[::-1].astype(np.uint16)
    file = make_dicom(tmp_path / "t.dcm", turned, PixelSpacing=[1, 2], PatientOrientation=["F", "R"])
    found = segment_heart(file)
    for name, mask in upright.structures.items():
        assert np.mean(found.structures[name] != mask.T[::-1]) < 0.002
    assert found.heart.cardiothoracic_ratio == pytest.approx(upright.heart.cardiothoracic_ratio, abs=0.01)


def test_an_ap_view_has_a_ratio_with_a_flag(segment_heart, heart_dicom):
    lungs = segment_heart(heart_dicom(ViewPosition="AP"))
    assert lungs.heart.cardiothoracic_ratio
    assert Flag.AP_RATIO in lungs.quality.flags


def test_a_lateral_view_has_none(segment_heart, heart_dicom):
    from lungfield.radiograph import read_radiograph

    lungs = segment_heart(read_radiograph(heart_dicom(ViewPosition="LL"), require_frontal=False))
    assert lungs.heart.no_ratio == NoRatio.NOT_FRONTAL
    assert lungs.heart.cardiothoracic_ratio is None


def test_without_a_heart(segment_heart, tmp_path, hearts_chest):
    pixels, _, masks = hearts_chest
    pixels[masks["heart"]] = 105
    pixels[130:134, 118:122] = 180  # noise is no heart
    Image.fromarray(pixels).save(tmp_path / "a.png")
    lungs = segment_heart(tmp_path / "a.png")
    assert not lungs.structures["heart"].any()
    assert lungs.heart.no_ratio == NoRatio.NO_HEART
    assert Flag.NO_HEART in lungs.quality.flags


def test_a_picture_without_lungs_has_no_flag_of_the_heart(segment_heart, tmp_path):
    grain = np.arange(240) % 8 + np.zeros((200, 1), dtype=np.uint8)
    pixels = (grain + 120).astype(np.uint8)
    pixels[50:150, 50:150] = 180
    Image.fromarray(pixels).save(tmp_path / "a.png")
    lungs = segment_heart(tmp_path / "a.png")
    assert lungs.heart.no_ratio in (NoRatio.NO_LUNG, NoRatio.ONE_LUNG)
    assert lungs.heart.cardiothoracic_ratio is None
    assert lungs.structures["heart"].shape == (200, 240)


def test_a_network_of_lungs_alone_has_no_heart(heart_dicom):
    lungs = Segmenter("unet", device="cpu", backend="torch")(heart_dicom())
    assert lungs.structures == {}
    assert lungs.heart is None
    assert replace(lungs, structures={}).heart is None


def test_a_bundle_that_lacks_a_structure_is_told(heart_dicom, tmp_path):
    lungs = Segmenter("unet", device="cpu", backend="torch")(heart_dicom())
    with pytest.raises(BundleError, match="does not segment heart"):
        lungs.save_seg(tmp_path / "a.dcm", structures=("heart",))
    with pytest.raises(BundleError, match="'unet' does not segment clavicles"):
        segment_files([tmp_path], tmp_path / "out", "unet", options=Options(structures=("clavicles",)))


def test_a_batch_writes_them(finds_hearts, heart_dicom, tmp_path):
    heart_dicom("in/a.dcm")
    options = Options(
        formats=("mask", "nifti", "seg", "sr"), structures=("heart", "clavicles"), workers=1, backend="torch"
    )
    batch = segment_files([tmp_path / "in"], tmp_path / "out", finds_hearts, options=options)
    (row,) = batch.files
    assert row["cardiothoracic_ratio"] == pytest.approx(HEART_WIDTH_PX / CHEST_WIDTH_PX, abs=0.01)
    assert row["ctr_reason"] == ""
    assert row["heart_width_mm"] == row["heart_width_px"]
    for name in ("heart", "right_clavicle", "left_clavicle"):
        for kind, suffix in (("mask", ".png"), ("nifti", ".nii.gz")):
            assert row[f"{name}_{kind}"] == f"{name}/a{suffix}"
            assert (tmp_path / "out" / name / f"a{suffix}").is_file()
    assert len(dcmread(tmp_path / "out" / row["seg"]).SegmentSequence) == 5
    with (tmp_path / "out" / "results.csv").open() as file:
        (told,) = csv.DictReader(file)
    assert float(told["cardiothoracic_ratio"]) == pytest.approx(row["cardiothoracic_ratio"], abs=1e-5)
    # A second run without them removes what this one does not vouch for.
    again = replace(options, structures=(), overwrite=True)
    segment_files([tmp_path / "in"], tmp_path / "out", finds_hearts, options=again)
    assert not (tmp_path / "out" / "heart").exists()
