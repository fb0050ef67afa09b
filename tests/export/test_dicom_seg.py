import logging
import re
import shutil
import subprocess
from dataclasses import replace

import highdicom
import numpy as np
import pydicom
import pytest
from pydicom.uid import (
    ComputedRadiographyImageStorage,
    DigitalXRayImageStorageForPresentation,
    DigitalXRayImageStorageForProcessing,
    SecondaryCaptureImageStorage,
)

from lungfield.errors import OutputError
from lungfield.export import save_dicom_seg
from lungfield.mask import read_mask

UNET = {"algorithm_name": "lungfield unet", "algorithm_version": "1.0.0"}
SOURCES = {
    "CR": ComputedRadiographyImageStorage,
    "DX": DigitalXRayImageStorageForPresentation,
    "DX for processing": DigitalXRayImageStorageForProcessing,
    "secondary capture": SecondaryCaptureImageStorage,
}
EMPTY = dict.fromkeys(
    [
        *("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "PatientOrientation"),
        *("StudyDate", "StudyTime", "StudyID", "AccessionNumber", "Modality", "InstanceNumber"),
    ]
)
REQUIRED_UIDS = ("SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID")
needs_dciodvfy = pytest.mark.skipif(
    shutil.which("dciodvfy") is None, reason="dciodvfy (dicom3tools) is not on the PATH"
)


@pytest.fixture
def save(tmp_path, radiograph, label_map, make_header):
    """Save with this header; give back the path."""

    def save_with(name="a.dcm", viewer_geometry=False, labels=label_map, algorithm=UNET, **attributes):
        with_header = replace(radiograph, header=make_header(**attributes))
        save_dicom_seg(with_header, labels, tmp_path / name, viewer_geometry=viewer_geometry, **algorithm)
        return tmp_path / name

    return save_with


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("viewer_geometry", [False, True])
def test_read_back_by_highdicom(save, make_header, label_map, source, viewer_geometry):
    path = save(SOPClassUID=SOURCES[source], viewer_geometry=viewer_geometry)
    segmentation = highdicom.seg.segread(path)
    frames = {
        int(groups.SegmentIdentificationSequence[0].ReferencedSegmentNumber): frame
        for groups, frame in zip(
            segmentation.PerFrameFunctionalGroupsSequence, segmentation.pixel_array, strict=True
        )
    }
    np.testing.assert_array_equal(frames[1], label_map == 1)
    np.testing.assert_array_equal(frames[2], label_map == 2)
    combined = segmentation.get_pixels_by_source_instance(
        [make_header().SOPInstanceUID], combine_segments=True, ignore_spatial_locations=True
    )
    np.testing.assert_array_equal(combined[0], label_map)
    for number, title, code in ((1, "Right lung", "3341006"), (2, "Left lung", "44029006")):
        segment = segmentation.get_segment_description(number)
        assert (segment.segment_label, segment.segmented_property_type.value) == (title, code)
    np.testing.assert_array_equal(read_mask(path), label_map)


def dciodvfy(path):
    done = subprocess.run(["dciodvfy", path], capture_output=True, text=True, check=False)
    assert "Segmentation" in done.stderr
    return re.findall(r"^Error.*", done.stderr + done.stdout, flags=re.MULTILINE)


@needs_dciodvfy
@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("viewer_geometry", [False, True])
@pytest.mark.parametrize("attributes", [{}, EMPTY], ids=["full", "bare"])
def test_dciodvfy_finds_no_error(save, source, viewer_geometry, attributes):
    path = save(SOPClassUID=SOURCES[source], viewer_geometry=viewer_geometry, **attributes)
    assert dciodvfy(path) == []


@needs_dciodvfy
def test_dciodvfy_would_find_one(save):
    path = save()
    dataset = pydicom.dcmread(path)
    del dataset.SegmentationType
    dataset.save_as(path)
    assert dciodvfy(path)


def test_belongs_to_the_patient_and_study_and_refers_to_the_radiograph(save, make_header):
    found, header = pydicom.dcmread(save()), make_header()
    for keyword in ("PatientName", "PatientID", "StudyInstanceUID", "StudyDate", "AccessionNumber"):
        assert found[keyword].value == header[keyword].value
    series = found.ReferencedSeriesSequence[0]
    assert series.SeriesInstanceUID == header.SeriesInstanceUID
    assert series.ReferencedInstanceSequence[0].ReferencedSOPInstanceUID == header.SOPInstanceUID
    assert series.ReferencedInstanceSequence[0].ReferencedSOPClassUID == header.SOPClassUID
    assert found.SeriesInstanceUID != header.SeriesInstanceUID
    assert list(found.PatientOrientation) == ["L", "F"]
    assert found.BodyPartExamined == "CHEST"
    assert found.InstanceNumber == 3
    assert "not a medical device" in found.ContentDescription
    assert found.SegmentSequence[0].SegmentAlgorithmName == "lungfield unet"
    assert found.SegmentSequence[0].SegmentationAlgorithmIdentificationSequence[0].AlgorithmVersion == "1.0.0"


def identifiers(path):
    dataset = pydicom.dcmread(path)
    assert dataset.file_meta.MediaStorageSOPInstanceUID == dataset.SOPInstanceUID
    return dataset.SOPInstanceUID, dataset.SeriesInstanceUID


def test_a_second_run_gives_the_same_identifiers(save):
    first = identifiers(save())
    assert identifiers(save("b.dcm")) == first
    others = [
        save("c.dcm", SOPInstanceUID="1.2.3.4"),
        save("d.dcm", algorithm=UNET | {"algorithm_version": "1.0.1"}),
        save("e.dcm", algorithm=UNET | {"algorithm_name": "another"}),
        save("f.dcm", viewer_geometry=True),
    ]
    instances = {first[0]} | {identifiers(path)[0] for path in others}
    assert len(instances) == 5
    # Radiographs of one series share a series of segmentations; another algorithm has its own.
    assert identifiers(others[0])[1] == first[1]
    assert len({first[1]} | {identifiers(path)[1] for path in others}) == 4


def test_an_absent_lung_keeps_its_empty_frame(save, label_map):
    right_only = np.where(label_map == 1, 1, 0).astype(np.uint8)
    for labels in (right_only, np.zeros_like(label_map)):
        path = save(labels=labels)
        dataset = pydicom.dcmread(path)
        assert dataset.NumberOfFrames == 2
        np.testing.assert_array_equal(dataset.pixel_array, [labels == 1, labels == 2])


def test_no_geometry_unless_asked_for(save):
    plain = pydicom.dcmread(save(FrameOfReferenceUID="1.2.3"))
    assert "FrameOfReferenceUID" not in plain
    assert "PixelMeasuresSequence" not in plain.SharedFunctionalGroupsSequence[0]
    placed = pydicom.dcmread(save(viewer_geometry=True))
    groups = placed.SharedFunctionalGroupsSequence[0]
    assert (
        placed.FrameOfReferenceUID == pydicom.dcmread(save("b.dcm", viewer_geometry=True)).FrameOfReferenceUID
    )
    assert list(groups.PixelMeasuresSequence[0].PixelSpacing) == [0.143, 0.15]
    assert list(groups.PlaneOrientationSequence[0].ImageOrientationPatient) == [1, 0, 0, 0, 1, 0]
    position = placed.PerFrameFunctionalGroupsSequence[0].PlanePositionSequence[0]
    assert list(position.ImagePositionPatient) == [0, 0, 0]


def test_a_geometry_without_spacing(radiograph, label_map, tmp_path):
    save_dicom_seg(
        replace(radiograph, spacing=None), label_map, tmp_path / "a.dcm", viewer_geometry=True, **UNET
    )
    groups = pydicom.dcmread(tmp_path / "a.dcm").SharedFunctionalGroupsSequence[0]
    assert list(groups.PixelMeasuresSequence[0].PixelSpacing) == [1, 1]


@pytest.mark.parametrize(
    ("character_set", "name"),
    [
        ("ISO_IR 100", "Müller^Jürgen"),
        ("GB18030", "王^小东"),
        (["", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎"),
        (["", "ISO 2022 IR 149"], "Hong^Gildong=洪^吉洞=홍^길동"),
    ],
)
def test_names_of_any_character_set_survive(save, tmp_path, make_header, character_set, name):
    header = make_header(SpecificCharacterSet=character_set, PatientName=name)
    header.save_as(tmp_path / "source", implicit_vr=False, little_endian=True)
    read = pydicom.dcmread(tmp_path / "source", force=True)
    written = {element.keyword: element.value for element in read}
    path = save(**written)
    assert pydicom.dcmread(path).PatientName == name


@needs_dciodvfy
@pytest.mark.filterwarnings("ignore:Invalid value")
def test_values_that_break_the_rules_are_left_out(save):
    path = save(
        PatientSex="X",
        PatientBirthDate="1950-12",
        StudyDate="20241399",
        StudyTime="morning",
        PatientAge="45",
        InstanceNumber=0,
        PatientOrientation=["left to right"],
    )
    found = pydicom.dcmread(path)
    assert (found.PatientSex, found.PatientBirthDate, found.StudyDate, found.StudyTime) == ("", "", "", "")
    assert not found.get("PatientAge")
    assert found.InstanceNumber == 1
    assert found.PatientID == "PID-4711"
    assert dciodvfy(path) == []


@pytest.mark.filterwarnings("ignore:Invalid value", "ignore:The value length")
@pytest.mark.parametrize("keyword", REQUIRED_UIDS)
@pytest.mark.parametrize("value", [None, "", "1.2.x", "1." + "2" * 64])
def test_a_source_without_valid_identifiers(save, tmp_path, keyword, value):
    with pytest.raises(OutputError, match=f"lacks a valid {keyword}"):
        save(**{keyword: value})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.filterwarnings("ignore:Invalid value")
def test_a_leading_zero_in_an_identifier_is_referred_to_as_it_is(save):
    path = save(SOPInstanceUID="1.2.03.4")
    assert pydicom.dcmread(path).SourceImageSequence[0].ReferencedSOPInstanceUID == "1.2.03.4"


def test_a_class_that_highdicom_does_not_know(save, tmp_path):
    with pytest.raises(OutputError, match="no DICOM SEG could be made") as raised:
        save(SOPClassUID="1.2.3.4.5.6")
    assert not [text for text in ("Doe", "PID-4711", "1950", "ACC-0815") if text in str(raised.value)]
    assert list(tmp_path.iterdir()) == []


def test_not_dicom_wrong_shape_wrong_labels(radiograph, label_map, tmp_path):
    path = tmp_path / "a.dcm"
    with pytest.raises(OutputError, match="is PNG and not DICOM"):
        save_dicom_seg(replace(radiograph, header=None, file_format="PNG"), label_map, path, **UNET)
    with pytest.raises(OutputError, match="label map of this radiograph"):
        save_dicom_seg(radiograph, label_map.T, path, **UNET)
    with pytest.raises(OutputError, match="split the lungs first"):
        save_dicom_seg(radiograph, np.where(label_map > 0, 255, 0).astype(np.uint8), path, **UNET)
    assert list(tmp_path.iterdir()) == []


def test_says_nothing_and_leaves_logging_as_it_was(save, caplog, recwarn):
    level = logging.getLogger("highdicom").level
    with caplog.at_level(logging.DEBUG):
        save(PatientID="x" * 70)
    assert not [record for record in caplog.records if record.name.startswith("highdicom")]
    assert not [warning for warning in recwarn if "x" * 70 in str(warning.message)]
    assert logging.getLogger("highdicom").level == level


def test_the_header_is_left_alone(radiograph, label_map, tmp_path):
    before = radiograph.header.to_json()
    save_dicom_seg(radiograph, label_map, tmp_path / "a.dcm", viewer_geometry=True, **UNET)
    assert radiograph.header.to_json() == before


def test_long_names_are_cut(save):
    found = pydicom.dcmread(save(algorithm={"algorithm_name": "n" * 100, "algorithm_version": "1" * 100}))
    assert found.SegmentSequence[0].SegmentAlgorithmName == "n" * 64
