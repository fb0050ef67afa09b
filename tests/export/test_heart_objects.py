"""Heart and clavicles in label maps, DICOM SEG, reports and pictures."""

from dataclasses import replace

import highdicom
import numpy as np
from PIL import Image
from pydicom import dcmread

from lungfield.labels import HEART
from lungfield.mask import read_mask

MODIFIER = "SegmentedPropertyTypeModifierCodeSequence"


def texts(path):
    """The comments of a report."""
    return [one.value for one in dcmread(path).iterall() if one.keyword == "TextValue"]


def test_it_saves_all_structures(segment_heart, heart_dicom, tmp_path, hearts_chest):
    """The label map keeps the lungs whole; masks of their own and segments hold the others whole."""
    masks = hearts_chest[2]
    lungs = segment_heart(heart_dicom())
    everything = ("lungs", "heart", "clavicles")
    lungs.save_mask(tmp_path / "plain.png")
    assert set(np.unique(np.asarray(Image.open(tmp_path / "plain.png")))) == {0, 1, 2}
    lungs.save_mask(tmp_path / "all.png", structures=everything)
    label_map = np.asarray(Image.open(tmp_path / "all.png"))
    assert set(np.unique(label_map)) == {0, 1, 2, 3, 4, 5}
    assert (np.where(label_map < 3, label_map, 0) == lungs.label_map).all()
    for value, name in ((3, "heart"), (4, "right_clavicle"), (5, "left_clavicle")):
        lungs.save_structure(name, tmp_path / f"{name}.png")
        assert ((np.asarray(Image.open(tmp_path / f"{name}.png")) == value) == lungs.structures[name]).all()
        assert np.mean(lungs.structures[name] != masks[name]) < 0.001
    lungs.save_seg(tmp_path / "seg.dcm", structures=everything)
    assert (read_mask(tmp_path / "seg.dcm") == lungs.label_map).all()
    seg = dcmread(tmp_path / "seg.dcm")
    assert [item.SegmentNumber for item in seg.SegmentSequence] == [1, 2, 3, 4, 5]
    assert seg.SegmentsOverlap == "UNDEFINED"  # NO would be wrong
    lungs.save_seg(tmp_path / "lungs.dcm")
    assert dcmread(tmp_path / "lungs.dcm").SegmentsOverlap == "NO"
    for item, name in zip(seg.SegmentSequence[2:], masks, strict=True):
        assert item.SegmentLabel == name.replace("_", " ").capitalize()
        assert (seg.pixel_array[item.SegmentNumber - 1] > 0).tolist() == lungs.structures[name].tolist()
    sides = [
        [one.CodeMeaning for one in item.SegmentedPropertyTypeCodeSequence[0].get(MODIFIER, [])]
        for item in seg.SegmentSequence
    ]
    assert sides == [[], [], [], ["Right"], ["Left"]]


def test_objects_are_valid(segment_heart, heart_dicom, tmp_path, dciodvfy):
    lungs = segment_heart(heart_dicom(ViewPosition="AP"))
    for name, structures in (("all", ("heart", "clavicles")), ("few", ("clavicles",))):
        lungs.save_seg(tmp_path / f"{name}.dcm", structures=structures)
        assert dciodvfy(tmp_path / f"{name}.dcm") == []
        lungs.save_report(tmp_path / f"{name}_sr.dcm", segmentation=tmp_path / f"{name}.dcm")
        assert dciodvfy(tmp_path / f"{name}_sr.dcm") == []
    lungs.save_report(tmp_path / "sr.dcm")
    assert dciodvfy(tmp_path / "sr.dcm") == []
    lungs.save_secondary_capture(tmp_path / "sc.dcm")
    assert dciodvfy(tmp_path / "sc.dcm") == []


def test_the_report_has_the_ratio(segment_heart, heart_dicom, tmp_path):
    lungs = segment_heart(heart_dicom(ViewPosition="AP"))
    lungs.save_seg(tmp_path / "seg.dcm", structures=("heart",))
    lungs.save_report(tmp_path / "sr.dcm", segmentation=tmp_path / "seg.dcm")
    report = highdicom.sr.srread(tmp_path / "sr.dcm")
    groups = report.content.get_planar_roi_measurement_groups()
    (heart,) = [one for one in groups if one.finding_type.value == HEART.code.value]
    assert 3 in [one.value for one in heart[0].iterall() if one.keyword == "ReferencedSegmentNumber"]
    assert [(one.name.value, one.value) for one in heart.get_measurements()] == [
        ("42798000", lungs.heart.heart_area_mm2)
    ]
    (ratio,) = report.content.get_image_measurement_groups()
    found = {one.name.value: (one.value, one.unit.value) for one in ratio.get_measurements()}
    assert found["cardiothoracic-ratio"] == (float(f"{lungs.heart.cardiothoracic_ratio:.6g}"), "1")
    assert found["thoracic-width"] == (lungs.heart.thoracic_width_mm, "mm")
    assert found["103355008"] == (lungs.heart.heart_width_mm, "mm")
    (thorax,) = [one for one in ratio.get_measurements() if one.name.value == "thoracic-width"]
    (line,) = [item for item in thorax[0].ContentSequence if item.ValueType == "SCOORD"]
    first, _, last, _ = line.GraphicData
    assert last - first == lungs.heart.thoracic_width_px
    points = [one for one in groups if one.finding_type.value == "costophrenic-point"]
    assert len(points) == 2
    assert any(text.startswith("The view is AP") for text in texts(tmp_path / "sr.dcm"))


def test_the_report_says_why_there_is_no_ratio(segment_heart, heart_dicom, tmp_path, hearts_chest):
    hearts_chest[0][hearts_chest[2]["heart"]] = 105
    lungs = segment_heart(heart_dicom())
    lungs.save_report(tmp_path / "sr.dcm")
    assert "No cardiothoracic ratio was measured: no-heart." in texts(tmp_path / "sr.dcm")
    assert "cardiothoracic-ratio" not in str(dcmread(tmp_path / "sr.dcm"))


def test_the_overlay_shows_the_lines(segment_heart, heart_dicom, tmp_path):
    lungs = segment_heart(heart_dicom())
    lungs.save_overlay(tmp_path / "with.jpg")
    replace(lungs, structures={}).save_overlay(tmp_path / "without.jpg")
    with_lines, without = (
        np.asarray(Image.open(tmp_path / name)).astype(int) for name in ("with.jpg", "without.jpg")
    )
    thorax = lungs.heart.thorax
    changed = np.abs(with_lines - without).max(axis=2) > 40
    assert changed[thorax.row, thorax.first_column + 4 : thorax.last_column - 4].all()
    right = lungs.heart.heart_right
    assert changed[right.row, right.first_column + 4 : right.last_column].all()
