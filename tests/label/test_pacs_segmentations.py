"""The DICOM SEG of a server's mask: whose it is, what it is called, and where it lies."""

import shutil
import subprocess
from dataclasses import replace
from datetime import datetime

import highdicom
import numpy as np
import pydicom
import pytest

from lungfield.errors import OutputError
from lungfield.export import Algorithm, save_dicom_seg
from lungfield.label.segmentations import make_segmentation
from lungfield.radiograph import read_radiograph

NETWORK = Algorithm("lungfield unet", "1.2.3", "ab" * 32)
ANNOTATION = Algorithm("MONAI Label with lungfield", "0.1.0")


@pytest.fixture
def radiograph(make_dicom, tmp_path, picture):
    return read_radiograph(make_dicom(tmp_path / "chest.dcm", picture))


@pytest.fixture
def label_map(picture):
    """(96, 80) uint8: two rectangles of different size, the right lung on the left side."""
    labels = np.zeros(picture.shape, dtype=np.uint8)
    labels[20:70, 10:30] = 1
    labels[25:60, 45:72] = 2
    return labels


def masks_in(segmentation, path):
    """The frames by SegmentNumber, as highdicom reads them from a file."""
    segmentation.save_as(path, enforce_file_format=True)
    read = highdicom.seg.segread(path)
    return {
        number: read.get_pixels_by_source_instance(
            [uid for _, _, uid in read.get_source_image_uids()], segment_numbers=[number]
        ).squeeze()
        for number in read.segment_numbers
    }


def test_mask_comes_back(radiograph, label_map, tmp_path):
    masks = masks_in(make_segmentation(radiograph, label_map, NETWORK), tmp_path / "seg.dcm")
    assert set(masks) == {1, 2}
    for number, mask in masks.items():
        np.testing.assert_array_equal(mask, label_map == number)


def test_it_belongs_to_its_radiograph(radiograph, label_map):
    segmentation = make_segmentation(radiograph, label_map, NETWORK)
    header = radiograph.header
    assert segmentation.StudyInstanceUID == header.StudyInstanceUID
    assert segmentation.PatientID == header.PatientID
    (series,) = segmentation.ReferencedSeriesSequence
    assert series.SeriesInstanceUID == header.SeriesInstanceUID
    assert series.ReferencedInstanceSequence[0].ReferencedSOPInstanceUID == header.SOPInstanceUID


def test_the_same_automatic_mask_is_one_object(radiograph, label_map):
    once, again = (make_segmentation(radiograph, label_map, NETWORK) for _ in range(2))
    assert once.SOPInstanceUID == again.SOPInstanceUID == once.file_meta.MediaStorageSOPInstanceUID
    assert once.SeriesInstanceUID == again.SeriesInstanceUID
    assert {segment.SegmentAlgorithmType for segment in once.SegmentSequence} == {"AUTOMATIC"}


def test_another_mask_is_another_object(radiograph, label_map):
    one = make_segmentation(radiograph, label_map, NETWORK)
    label_map[20, 10] = 0
    other = make_segmentation(radiograph, label_map, NETWORK)
    assert one.SOPInstanceUID != other.SOPInstanceUID
    assert one.SeriesInstanceUID == other.SeriesInstanceUID


def test_other_weights_make_another_object_in_another_series(radiograph, label_map):
    retrained = replace(NETWORK, weights_sha256="cd" * 32)
    one, other = (make_segmentation(radiograph, label_map, algorithm) for algorithm in (NETWORK, retrained))
    assert one.SOPInstanceUID != other.SOPInstanceUID
    assert one.SeriesInstanceUID != other.SeriesInstanceUID


def test_a_network_s_mask_is_the_object_of_a_batch(radiograph, label_map, tmp_path):
    save_dicom_seg(radiograph, label_map, tmp_path / "batch.dcm", algorithm=NETWORK)
    batch = pydicom.dcmread(tmp_path / "batch.dcm")
    here = make_segmentation(radiograph, label_map, NETWORK)
    assert (here.SOPInstanceUID, here.SeriesInstanceUID) == (batch.SOPInstanceUID, batch.SeriesInstanceUID)
    # In the plane of the server's viewer it says something else than in that of a batch.
    save_dicom_seg(radiograph, label_map, tmp_path / "batch.dcm", algorithm=NETWORK, viewer_geometry=True)
    batch = pydicom.dcmread(tmp_path / "batch.dcm")
    here = make_segmentation(radiograph, label_map, NETWORK, viewer_geometry=True)
    assert here.SOPInstanceUID != batch.SOPInstanceUID


def test_a_correction_is_named_by_its_mask_and_its_time(radiograph, label_map, monkeypatch):
    class Noon(datetime):
        @classmethod
        def now(cls, tz=None):
            return cls(2024, 5, 6, 12)

    monkeypatch.setattr("lungfield.label.segmentations.datetime", Noon)
    once, again = (make_segmentation(radiograph, label_map, ANNOTATION, corrected=True) for _ in range(2))
    label_map[20, 10] = 0
    other = make_segmentation(radiograph, label_map, ANNOTATION, corrected=True)
    assert once.SOPInstanceUID == again.SOPInstanceUID != other.SOPInstanceUID


def test_each_correction_is_an_object_of_its_own_and_the_later_one_is_newer(radiograph, label_map):
    once, again = (make_segmentation(radiograph, label_map, ANNOTATION, corrected=True) for _ in range(2))
    assert once.SOPInstanceUID != again.SOPInstanceUID
    assert once.SeriesInstanceUID != again.SeriesInstanceUID
    assert f"{once.ContentDate}{once.ContentTime}" < f"{again.ContentDate}{again.ContentTime}"
    assert {segment.SegmentAlgorithmType for segment in once.SegmentSequence} == {"SEMIAUTOMATIC"}
    assert "corrected" in once.SeriesDescription


def test_no_plane_is_invented_unless_asked_for(radiograph, label_map):
    segmentation = make_segmentation(radiograph, label_map, NETWORK)
    assert "FrameOfReferenceUID" not in segmentation
    assert "PlaneOrientationSequence" not in str(segmentation)


def test_the_plane_is_that_of_the_viewer(radiograph, label_map, tmp_path):
    segmentation = make_segmentation(radiograph, label_map, NETWORK, viewer_geometry=True)
    shared = segmentation.SharedFunctionalGroupsSequence[0]
    # OHIF 3.10 compares with these; anything else is 'orthogonal to the acquisition plane' to it.
    assert shared.PlaneOrientationSequence[0].ImageOrientationPatient == [0, 1, 0, 0, 0, -1]
    for frame in segmentation.PerFrameFunctionalGroupsSequence:
        assert frame.PlanePositionSequence[0].ImagePositionPatient == [0, 0, 0]
    np.testing.assert_array_equal(masks_in(segmentation, tmp_path / "seg.dcm")[1], label_map == 1)


@pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="needs dciodvfy (Debian: dicom3tools)")
@pytest.mark.parametrize("corrected", [False, True], ids=["network", "annotator"])
@pytest.mark.parametrize("viewer_geometry", [False, True])
def test_validator_finds_no_error(radiograph, label_map, tmp_path, corrected, viewer_geometry):
    path = tmp_path / "seg.dcm"
    how = {"corrected": corrected, "viewer_geometry": viewer_geometry}
    make_segmentation(radiograph, label_map, NETWORK, **how).save_as(path)
    done = subprocess.run(["dciodvfy", path], capture_output=True, text=True, check=False)
    assert done.stderr.strip().endswith("Segmentation"), done.stderr
    assert "Error" not in done.stderr


def test_a_picture_has_none(label_map, tmp_path):
    from PIL import Image

    Image.fromarray(np.tile(np.arange(80, dtype=np.uint8), (96, 1))).save(tmp_path / "chest.png")
    with pytest.raises(OutputError, match="not DICOM"):
        make_segmentation(read_radiograph(tmp_path / "chest.png"), label_map, NETWORK)
