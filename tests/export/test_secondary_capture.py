from dataclasses import replace

import numpy as np
import pydicom
import pytest
from pydicom.uid import (
    ComputedRadiographyImageStorage,
    DigitalXRayImageStorageForPresentation,
    SecondaryCaptureImageStorage,
)

from lungfield.errors import HeaderError, OutputError, Reason
from lungfield.export import Algorithm, save_secondary_capture, save_skipped_notice
from lungfield.export.overlay import render_text
from lungfield.export.secondary_capture import WHY_SKIPPED
from lungfield.labels import LEFT_LUNG, RIGHT_LUNG
from lungfield.mask.regions import Regions
from lungfield.records import Radiograph

UNET = Algorithm("lungfield unet", "1.0.0", "ab" * 32)


@pytest.fixture
def labels():
    values = np.zeros((400, 300), dtype=np.uint8)
    values[100:300, 40:120], values[100:280, 180:260] = 1, 2
    return values


@pytest.fixture
def save(tmp_path, radiograph, labels, make_header):
    """Save the picture of a grey radiograph with both lungs; give back the path."""

    def save_with(name="sc.dcm", *, labels=labels, created=None, **header):
        pixels = np.full(labels.shape, 0.4, dtype=np.float32)
        grey = Radiograph(radiograph.path, pixels, file_format="DICOM", header=make_header(**header))
        save_secondary_capture(grey, Regions(labels), tmp_path / name, created=created, algorithm=UNET)
        return tmp_path / name

    return save_with


def nearest(picture, colour):
    """Where a picture has roughly this colour."""
    return np.abs(picture.astype(int) - colour).max(axis=-1) < 60


def test_shows_both_lungs_on_the_radiograph_and_says_what_it_is_for(save, labels):
    found = pydicom.dcmread(save())
    assert found.SOPClassUID == SecondaryCaptureImageStorage
    picture = found.pixel_array
    assert picture.shape[1:] == (300, 3)
    shown, notice = picture[:400], picture[400:]
    for label in (RIGHT_LUNG, LEFT_LUNG):
        rows, columns = np.nonzero(nearest(shown, label.colour_rgb))
        edge = labels == label.value
        assert abs(np.median(columns) - np.nonzero(edge)[1].mean()) < 45
        assert rows.min() > 90
        assert rows.max() < 310
    outside = shown[5:60, 130:170].astype(int)
    assert np.abs(outside - 0.4 * 255).max() < 6
    assert len(notice) > 10
    assert notice.max() > 180
    assert (notice > 128).mean() > 0.02


def test_a_large_radiograph_is_reduced(save):
    found = pydicom.dcmread(save(labels=np.zeros((2100, 1500), dtype=np.uint8)))
    assert 2100 // 2 <= found.Rows < 1100
    assert found.Columns == 1500 // 2
    assert len(found.PixelData) < 200_000


@pytest.mark.parametrize(
    "source",
    [ComputedRadiographyImageStorage, DigitalXRayImageStorageForPresentation, SecondaryCaptureImageStorage],
)
@pytest.mark.parametrize("bare", [False, True])
def test_dciodvfy_finds_no_error(save, dciodvfy, source, bare):
    attributes = ("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime")
    others = ("StudyID", "AccessionNumber", "InstanceNumber", "PatientOrientation")
    empty = dict.fromkeys((*attributes, *others)) if bare else {}
    assert dciodvfy(save(SOPClassUID=source, **empty)) == []


def test_dciodvfy_would_find_one(save, dciodvfy):
    path = save()
    capture = pydicom.dcmread(path)
    del capture.ConversionType
    capture.save_as(path)
    assert dciodvfy(path)


def test_belongs_to_the_study_and_refers_to_the_radiograph(save, make_header):
    found, header = pydicom.dcmread(save()), make_header()
    for keyword in ("PatientName", "PatientID", "StudyInstanceUID", "StudyDate", "AccessionNumber"):
        assert found[keyword].value == header[keyword].value
    assert found.SeriesInstanceUID != header.SeriesInstanceUID
    assert found.SourceImageSequence[0].ReferencedSOPInstanceUID == header.SOPInstanceUID
    assert found.ImageType[0] == "DERIVED"
    assert "research use only" in found.SeriesDescription
    assert "PixelSpacing" not in found
    assert list(found.PatientOrientation) == ["L", "F"]


@pytest.mark.parametrize(("said", "expected"), [("YES", "YES"), ("NO", "NO"), ("maybe", None), (None, None)])
@pytest.mark.filterwarnings("ignore:Invalid value")
def test_burned_in_annotation_is_that_of_the_radiograph(save, said, expected):
    assert pydicom.dcmread(save(BurnedInAnnotation=said)).get("BurnedInAnnotation") == expected


def test_says_how_it_was_compressed(save):
    found = pydicom.dcmread(save())
    raw = found.Rows * found.Columns * 3
    assert (found.LossyImageCompression, found.LossyImageCompressionMethod) == ("01", "ISO_10918_1")
    assert float(found.LossyImageCompressionRatio) == pytest.approx(raw / len(found.PixelData), abs=1e-3)
    before = {"LossyImageCompression": "01", "LossyImageCompressionRatio": "12.5"}
    found = pydicom.dcmread(save(**before, LossyImageCompressionMethod="ISO_15444_1"))
    assert list(found.LossyImageCompressionMethod) == ["ISO_15444_1", "ISO_10918_1"]
    assert found.LossyImageCompressionRatio[0] == 12.5
    # A ratio without its method says nothing.
    assert pydicom.dcmread(save(**before)).LossyImageCompressionMethod == "ISO_10918_1"


def test_the_same_bytes_for_the_same_time(save, assert_reproducible):
    assert_reproducible(lambda created, name: save(name, created=created))


def test_identifiers(save):
    one, other = pydicom.dcmread(save()), pydicom.dcmread(save("b.dcm", SOPInstanceUID="1.2.3.4"))
    assert one.SOPInstanceUID != other.SOPInstanceUID
    assert one.SeriesInstanceUID == other.SeriesInstanceUID
    assert one.file_meta.MediaStorageSOPInstanceUID == one.SOPInstanceUID


def test_what_cannot_be_written(save, radiograph, label_map, tmp_path):
    path = tmp_path / "a.dcm"
    with pytest.raises(OutputError, match="is PNG and not DICOM"):
        save_secondary_capture(
            replace(radiograph, header=None, file_format="PNG"), Regions(label_map), path, algorithm=UNET
        )
    with pytest.raises(OutputError, match="label map of this radiograph"):
        save_secondary_capture(radiograph, Regions(label_map.T), path, algorithm=UNET)
    with pytest.raises(HeaderError, match="lacks a valid SeriesInstanceUID"):
        save(SeriesInstanceUID=None)
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def notice(tmp_path, make_header):
    """Save a notice; give back the path."""

    def save_with(name="notice.dcm", *, reason=Reason.OTHER_VIEW, created=None, **header):
        path = tmp_path / name
        save_skipped_notice(make_header(**header), tmp_path / "a.dcm", reason, path, created=created)
        return path

    return save_with


@pytest.mark.parametrize("reason", WHY_SKIPPED)
@pytest.mark.parametrize("bare", [False, True])
def test_dciodvfy_finds_no_error_in_a_notice(notice, dciodvfy, reason, bare):
    attributes = ("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime")
    empty = dict.fromkeys((*attributes, "StudyID", "AccessionNumber", "InstanceNumber")) if bare else {}
    assert dciodvfy(notice(reason=reason, **empty)) == []


def test_a_notice_belongs_to_the_study_and_shows_nobody(notice, make_header):
    one, other = pydicom.dcmread(notice()), pydicom.dcmread(notice("b.dcm", PatientName="Roe^Richard"))
    header = make_header()
    for keyword in ("PatientName", "PatientID", "StudyInstanceUID", "AccessionNumber"):
        assert one[keyword].value == header[keyword].value
    assert one.SourceImageSequence[0].ReferencedSOPInstanceUID == header.SOPInstanceUID
    assert (one.BurnedInAnnotation, one.Manufacturer) == ("NO", "lungfield")
    assert one.PixelData == other.PixelData
    assert (one.pixel_array > 128).mean() > 0.02


def test_a_notice_fits_its_picture_and_has_a_text_for_each_code():
    skipped = list(Reason)[: list(Reason).index(Reason.LABEL_MAP) + 1]
    assert list(WHY_SKIPPED) == skipped
    for text in ("An image of this study was not segmented.", *WHY_SKIPPED.values()):
        picture = np.asarray(render_text(text, text, caption=text))
        assert picture[:, -20:].max() < 40
        assert picture[:, :-20].max() > 200


def test_a_notice_is_the_same_at_every_time_it_is_made(notice, assert_reproducible):
    assert_reproducible(lambda created, name: notice(name, created=created))
    uids = {pydicom.dcmread(notice(f"{one}.dcm", reason=one)).SOPInstanceUID for one in WHY_SKIPPED}
    assert len(uids) == len(WHY_SKIPPED)
    with pytest.raises(HeaderError, match="lacks a valid StudyInstanceUID"):
        notice("c.dcm", StudyInstanceUID=None)
