import logging
from dataclasses import replace
from datetime import datetime, timedelta, timezone

import highdicom
import numpy as np
import pydicom
import pytest
from pydicom.uid import (
    ComputedRadiographyImageStorage,
    DigitalXRayImageStorageForPresentation,
    DigitalXRayImageStorageForProcessing,
    MultiFrameGrayscaleWordSecondaryCaptureImageStorage,
    SecondaryCaptureImageStorage,
)

from lungfield.errors import HeaderError, OutputError
from lungfield.export import Algorithm, creation_time, save_dicom_seg
from lungfield.export.derived import to_bytes
from lungfield.mask import read_mask

UNET = Algorithm("lungfield unet", "1.0.0", "ab" * 32)
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
LOSSY = {
    "LossyImageCompression": "01",
    "LossyImageCompressionRatio": "12.5",
    "LossyImageCompressionMethod": "ISO_10918_1",
}
REQUIRED_UIDS = ("SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID")


@pytest.fixture
def save(tmp_path, radiograph, label_map, make_header):
    """Save with this header; give back the path."""

    def save_with(
        name="a.dcm", viewer_geometry=False, labels=label_map, algorithm=UNET, created=None, **attributes
    ):
        with_header = replace(radiograph, header=make_header(**attributes))
        how = {"created": created, "algorithm": algorithm}
        if viewer_geometry:  # else the default
            how["viewer_geometry"] = True
        save_dicom_seg(with_header, labels, tmp_path / name, **how)
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


@pytest.mark.parametrize("shape", [(64, 48), (63, 41), (3, 8), (1, 1)])
def test_pixels_of_any_size(radiograph, make_header, tmp_path, shape):
    labels = np.random.default_rng(0).integers(0, 3, shape, dtype=np.uint8)
    small = replace(radiograph, pixels=np.zeros(shape, np.float32), header=make_header())
    save_dicom_seg(small, labels, tmp_path / "a.dcm", algorithm=UNET)
    frames = pydicom.dcmread(tmp_path / "a.dcm").pixel_array
    np.testing.assert_array_equal(frames, [labels == 1, labels == 2])


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("viewer_geometry", [False, True])
@pytest.mark.parametrize("lossy", [{}, LOSSY], ids=["lossless", "lossy"])
@pytest.mark.parametrize("attributes", [{}, {"PatientAge": "045Y", "StudyDescription": "Thorax"}])
def test_is_what_highdicom_makes_of_the_radiograph_itself(
    save, make_header, label_map, differences, source, viewer_geometry, lossy, attributes
):
    header = make_header(SOPClassUID=SOURCES[source], **lossy, **attributes)
    found = pydicom.dcmread(
        save(SOPClassUID=SOURCES[source], viewer_geometry=viewer_geometry, **lossy, **attributes)
    )
    expected = highdicom_seg_of(header, label_map, found, viewer_geometry)
    assert differences(found, expected) <= {
        *("InstanceCreationDate", "InstanceCreationTime", "ContentDate", "ContentTime"),
        *("ContributionDateTime", "DimensionOrganizationUID", "SpecificCharacterSet"),
        # What is added to it.
        *("BodyPartExamined", "PatientOrientation"),
    }


def highdicom_seg_of(header, label_map, found, viewer_geometry):
    """The SEG that highdicom makes of the whole radiograph, with identifiers and names as in `found`."""
    header.ReferringPhysicianName = ""
    if viewer_geometry:
        header.FrameOfReferenceUID = found.FrameOfReferenceUID
        header.PositionReferenceIndicator = ""
        header.ImagePositionPatient, header.ImageOrientationPatient = [0, 0, 0], [1, 0, 0, 0, 1, 0]
        header.PixelSpacing, header.SliceThickness = [0.143, 0.15], 1
    concept = highdicom.sr.CodedConcept
    algorithm = highdicom.AlgorithmIdentificationSequence(
        name=UNET.name,
        version=UNET.version,
        family=concept("123109", "DCM", "Artificial Intelligence"),
    )
    lungs = ((1, "Right lung", "3341006", (0, 158, 255)), (2, "Left lung", "44029006", (255, 176, 0)))
    return highdicom.seg.Segmentation(
        source_images=[header],
        pixel_array=label_map[np.newaxis],
        segmentation_type="BINARY",
        segment_descriptions=[
            highdicom.seg.SegmentDescription(
                segment_number=number,
                segment_label=title,
                segmented_property_category=concept("123037004", "SCT", "Anatomical Structure"),
                segmented_property_type=concept(code, "SCT", title),
                algorithm_type="AUTOMATIC",
                algorithm_identification=algorithm,
                display_color=highdicom.color.CIELabColor.from_rgb(*colour),
            )
            for number, title, code, colour in lungs
        ],
        series_instance_uid=found.SeriesInstanceUID,
        series_number=found.SeriesNumber,
        series_description=found.SeriesDescription,
        sop_instance_uid=found.SOPInstanceUID,
        instance_number=3,
        manufacturer="lungfield",
        manufacturer_model_name=UNET.name,
        software_versions=found.SoftwareVersions,
        device_serial_number=found.SoftwareVersions,
        content_label=found.ContentLabel,
        content_description=found.ContentDescription,
        omit_empty_frames=False,
    )


@pytest.mark.parametrize("viewer_geometry", [False, True])
def test_the_same_bytes_for_the_same_time(save, assert_reproducible, viewer_geometry):
    assert_reproducible(
        lambda created, name: save(name, created=created, viewer_geometry=viewer_geometry, **LOSSY)
    )


def test_one_radiograph_leaves_nothing_in_the_next(save):
    day = datetime(2024, 5, 6)
    before = save(created=day).read_bytes()
    others = {"SOPInstanceUID": "1.2.3.4", "SeriesInstanceUID": "1.2.3.5", "StudyInstanceUID": "1.2.3.6"}
    patient = {"PatientName": "Roe^Richard", "PatientID": "other", "PatientAge": "030Y", "InstanceNumber": 9}
    between = pydicom.dcmread(save("b.dcm", created=day, **others, **patient, **LOSSY))
    source = ("Doe", "PID-4711", "1.2.826.0.1.3680043.2.1.")
    assert not [element for element in between.iterall() if str(element.value).startswith(source)]
    assert save("c.dcm", created=day).read_bytes() == before


def test_the_time_of_creation(monkeypatch):
    monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)
    assert abs((creation_time() - datetime.now()).total_seconds()) < 5
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    assert creation_time() == datetime(2023, 11, 14, 22, 13, 20)
    aware = datetime(2024, 1, 2, 3, 4, 5, 6, tzinfo=timezone(timedelta(hours=5)))
    assert creation_time(aware) == datetime(2024, 1, 2, 3, 4, 5)
    for value in ("yesterday", "9" * 30, "1.5"):
        monkeypatch.setenv("SOURCE_DATE_EPOCH", value)
        with pytest.raises(OutputError, match="SOURCE_DATE_EPOCH"):
            creation_time()


def test_source_date_epoch_reaches_the_file(save, monkeypatch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    assert (pydicom.dcmread(save()).ContentDate, pydicom.dcmread(save()).ContentTime) == (
        "20231114",
        "221320",
    )
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "soon")
    with pytest.raises(OutputError, match="SOURCE_DATE_EPOCH"):
        save()


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("viewer_geometry", [False, True])
@pytest.mark.parametrize("attributes", [{}, EMPTY], ids=["full", "bare"])
def test_dciodvfy_finds_no_error(save, dciodvfy, source, viewer_geometry, attributes):
    path = save(SOPClassUID=SOURCES[source], viewer_geometry=viewer_geometry, **attributes)
    assert dciodvfy(path) == []


def test_dciodvfy_would_find_one(save, dciodvfy):
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
        save("d.dcm", algorithm=replace(UNET, version="1.0.1")),
        save("e.dcm", algorithm=replace(UNET, name="another")),
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
        replace(radiograph, spacing=None), label_map, tmp_path / "a.dcm", viewer_geometry=True, algorithm=UNET
    )
    groups = pydicom.dcmread(tmp_path / "a.dcm").SharedFunctionalGroupsSequence[0]
    assert list(groups.PixelMeasuresSequence[0].PixelSpacing) == [1, 1]


def test_a_spacing_of_many_digits_fits_a_decimal_string(radiograph, label_map, tmp_path):
    many = replace(radiograph, spacing=replace(radiograph.spacing, row_mm=1 / 7, column_mm=0.4 / 3))
    save_dicom_seg(many, label_map, tmp_path / "a.dcm", viewer_geometry=True, algorithm=UNET)
    groups = pydicom.dcmread(tmp_path / "a.dcm").SharedFunctionalGroupsSequence[0]
    spacing = groups.PixelMeasuresSequence[0].PixelSpacing
    assert all(len(str(one)) <= 16 for one in spacing)  # PS3.5, 6.2: DS
    assert list(spacing) == pytest.approx([1 / 7, 0.4 / 3], rel=1e-12)


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


@pytest.mark.filterwarnings("ignore:Invalid value")
def test_values_that_break_the_rules_are_left_out(save, dciodvfy):
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


@pytest.mark.parametrize("viewer_geometry", [False, True])
def test_identifiers_of_any_length(save, dciodvfy, viewer_geometry):
    for instance, series in (("1.2", "1.3"), ("1.2.4", "1.3"), ("1." + "2" * 62, "1." + "3" * 61)):
        path = save(SOPInstanceUID=instance, SeriesInstanceUID=series, viewer_geometry=viewer_geometry)
        found = pydicom.dcmread(path)
        elements = list(found.iterall())
        images = {one.value for one in elements if one.keyword == "ReferencedSOPInstanceUID"}
        assert images == {instance}
        assert found.ReferencedSeriesSequence[0].SeriesInstanceUID == series
        assert found.file_meta.MediaStorageSOPInstanceUID == found.SOPInstanceUID
        assert len({one.value for one in elements if one.keyword == "DimensionOrganizationUID"}) == 1
        assert not [
            one for one in elements if one.VR in ("UI", "DT") and not one.value.replace(".", "").isdigit()
        ]
        assert dciodvfy(path) == []


def test_pydicom_writes_the_same_bytes(save):
    path = save(created=datetime(2026, 1, 2, 3, 4, 5))
    found = pydicom.dcmread(path)
    for _ in found.iterall():
        pass  # reading the values makes pydicom encode them anew
    assert to_bytes(found) == path.read_bytes()
    assert found.ContributingEquipmentSequence[0].ContributionDateTime == "20260102030405"


@pytest.mark.parametrize("viewer_geometry", [False, True])
@pytest.mark.parametrize("sop_class", [MultiFrameGrayscaleWordSecondaryCaptureImageStorage, "1.2.3.4.5.6"])
def test_other_classes_of_images(save, dciodvfy, sop_class, viewer_geometry):
    path = save(SOPClassUID=sop_class, viewer_geometry=viewer_geometry)
    references = [item for item in pydicom.dcmread(path).iterall() if item.keyword == "ReferencedSOPClassUID"]
    assert {item.value for item in references} == {sop_class}
    assert dciodvfy(path) == []


def test_what_a_library_says_of_a_broken_header_stays_inside(save, tmp_path, monkeypatch):
    def fail(_):
        raise ValueError("the name is Doe^Jane, born 1950")

    monkeypatch.setattr("lungfield.export.derived.encoded", fail)
    with pytest.raises(HeaderError, match="no DICOM SEG could be made") as raised:
        save()
    assert not [text for text in ("Doe", "PID-4711", "1950", "ACC-0815") if text in str(raised.value)]
    assert list(tmp_path.iterdir()) == []


def test_not_dicom_wrong_shape_wrong_labels(radiograph, label_map, tmp_path):
    path = tmp_path / "a.dcm"
    with pytest.raises(OutputError, match="is PNG and not DICOM"):
        save_dicom_seg(replace(radiograph, header=None, file_format="PNG"), label_map, path, algorithm=UNET)
    with pytest.raises(OutputError, match="label map of this radiograph"):
        save_dicom_seg(radiograph, label_map.T, path, algorithm=UNET)
    with pytest.raises(OutputError, match="split the lungs first"):
        save_dicom_seg(radiograph, np.where(label_map > 0, 255, 0).astype(np.uint8), path, algorithm=UNET)
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
    save_dicom_seg(radiograph, label_map, tmp_path / "a.dcm", viewer_geometry=True, algorithm=UNET)
    assert radiograph.header.to_json() == before


def test_long_names_are_cut(save):
    found = pydicom.dcmread(save(algorithm=Algorithm("n" * 100, "1" * 100)))
    assert found.SegmentSequence[0].SegmentAlgorithmName == "n" * 64
