from dataclasses import replace
from datetime import datetime

import highdicom
import numpy as np
import pydicom
import pytest
from pydicom.uid import (
    ComputedRadiographyImageStorage,
    DigitalXRayImageStorageForPresentation,
    SecondaryCaptureImageStorage,
)

from lungfield.errors import HeaderError, OutputError
from lungfield.export import Algorithm, save_dicom_seg, save_structured_report
from lungfield.mask.density import mean_density
from lungfield.mask.measurements import measure
from lungfield.mask.regions import Regions
from lungfield.records import Spacing

UNET = Algorithm("lungfield unet", "1.0.0", "ab" * 32)
AREA, HEIGHT, WIDTH = "42798000", "121207", "103355008"
DENSITY = "relative-density"
MEAN, SD = "373098007", "386136009"


@pytest.fixture
def save(tmp_path, radiograph, label_map, make_header):
    """Save the report of a label map; give back the path."""

    def save_with(
        name="sr.dcm",
        labels=label_map,
        seg=False,
        density=False,
        created=None,
        radiograph=radiograph,
        **header,
    ):
        radiograph = replace(radiograph, header=make_header(**header))
        if seg:
            save_dicom_seg(radiograph, labels, tmp_path / "seg.dcm", algorithm=UNET)
        save_structured_report(
            radiograph,
            measure(Regions(labels), radiograph.spacing),
            tmp_path / name,
            density=mean_density(radiograph, Regions(labels)) if density else None,
            segmentation=tmp_path / "seg.dcm" if seg else None,
            created=created,
            algorithm=UNET,
        )
        return tmp_path / name

    return save_with


def figures(group):
    """{(concept, derivation): (value, unit)} of a measurement group."""
    return {
        (m.name.value, None if m.derivation is None else m.derivation.value): (m.value, m.unit.value)
        for m in group.get_measurements()
    }


def comments(report):
    texts = [item for item in report.ContentSequence if item.ValueType == "TEXT"]
    return [item.TextValue for item in texts if item.ConceptNameCodeSequence[0].CodeValue == "121106"]


def test_read_back_by_highdicom(save, make_header, label_map):
    report = highdicom.sr.srread(save())
    assert isinstance(report, highdicom.sr.ComprehensiveSR)
    groups = report.content.get_image_measurement_groups()
    assert [group.finding_sites[0].value.value for group in groups] == ["3341006", "44029006"]
    for group, value in zip(groups, (1, 2), strict=True):
        rows, columns = np.nonzero(label_map == value)
        assert figures(group) == {
            (AREA, None): (pytest.approx(rows.size * 0.143 * 0.15, rel=1e-5), "mm2"),
            (HEIGHT, None): (pytest.approx((np.ptp(rows) + 1) * 0.143), "mm"),
            (WIDTH, None): (pytest.approx((np.ptp(columns) + 1) * 0.15), "mm"),
        }
        assert group.finding_category.value == "123037004"
        assert group.method is None
        images = group.source_images
        assert [image.referenced_sop_instance_uid for image in images] == [make_header().SOPInstanceUID]
    assert report.content.get_planar_roi_measurement_groups() == []


def test_refers_to_the_segments_of_the_seg(save, tmp_path, make_header):
    report = highdicom.sr.srread(save(seg=True, density=True))
    seg = pydicom.dcmread(tmp_path / "seg.dcm")
    groups = report.content.get_planar_roi_measurement_groups()
    assert len(groups) == 2
    for number, group in enumerate(groups, start=1):
        assert group.reference_type == pydicom.sr.codedict.codes.DCM.ReferencedSegmentationFrame
        reference = group.referenced_segmentation_frame[0]
        assert reference.referenced_sop_instance_uid == seg.SOPInstanceUID
        assert reference.referenced_segment_numbers == [number]
        # A frame number beside a segment number is not allowed.
        assert reference.referenced_frame_numbers is None
        source = group.referenced_segmentation_frame[1]
        assert source.referenced_sop_instance_uid == make_header().SOPInstanceUID
        segment = seg.SegmentSequence[number - 1]
        assert segment.SegmentedPropertyTypeCodeSequence[0].CodeValue == group.finding_type.value
    evidence = {
        item.ReferencedSOPInstanceUID
        for series in report.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence
        for item in series.ReferencedSOPSequence
    }
    assert evidence == {make_header().SOPInstanceUID, seg.SOPInstanceUID}
    found = report.content.get_planar_roi_measurement_groups(referenced_sop_instance_uid=seg.SOPInstanceUID)
    assert len(found) == 2


def test_density(save, radiograph, label_map):
    report = highdicom.sr.srread(save(density=True))
    for group, value in zip(report.content.get_image_measurement_groups(), (1, 2), strict=True):
        grey = radiograph.pixels[label_map == value]
        found = figures(group)
        assert found[DENSITY, MEAN] == (pytest.approx(grey.mean(), rel=1e-5), "1")
        assert found[DENSITY, SD] == (pytest.approx(grey.std(), rel=1e-5), "1")
    assert report.CodingSchemeIdentificationSequence[0].CodingSchemeDesignator == "99LUNGFIELD"
    assert any("Densities depend on" in text for text in comments(report))


def test_pixels_where_the_spacing_is_not_known(save, radiograph, label_map):
    report = highdicom.sr.srread(save(radiograph=replace(radiograph, spacing=None)))
    right = figures(report.content.get_image_measurement_groups()[0])
    assert right == {
        (AREA, None): (np.count_nonzero(label_map == 1), "{pixels}"),
        (HEIGHT, None): (45, "{pixels}"),
        (WIDTH, None): (22, "{pixels}"),
    }
    assert any("in pixels" in text for text in comments(report))


@pytest.mark.parametrize(("plane", "said"), [("detector", True), ("patient", False)])
def test_says_where_lengths_hold(save, radiograph, plane, said):
    spacing = Spacing(0.1, 0.1, "ImagerPixelSpacing", plane)
    report = highdicom.sr.srread(save(radiograph=replace(radiograph, spacing=spacing)))
    assert any("plane of the detector" in text for text in comments(report)) == said


def test_an_absent_lung_has_no_area(save, label_map, dciodvfy):
    path = save(labels=np.where(label_map == 1, 1, 0).astype(np.uint8), seg=True, density=True)
    right, left = highdicom.sr.srread(path).content.get_planar_roi_measurement_groups()
    assert figures(left) == {(AREA, None): (0, "mm2")}
    assert len(figures(right)) == 5
    assert dciodvfy(path) == []


@pytest.mark.parametrize(
    "source",
    [ComputedRadiographyImageStorage, DigitalXRayImageStorageForPresentation, SecondaryCaptureImageStorage],
)
@pytest.mark.parametrize("seg", [False, True])
@pytest.mark.parametrize("bare", [False, True])
def test_dciodvfy_finds_no_error(save, dciodvfy, source, seg, bare):
    attributes = ("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime")
    empty = dict.fromkeys((*attributes, "StudyID", "AccessionNumber", "InstanceNumber")) if bare else {}
    assert dciodvfy(save(SOPClassUID=source, seg=seg, density=True, **empty)) == []


def test_dciodvfy_would_find_one(save, dciodvfy):
    path = save()
    report = pydicom.dcmread(path)
    del report.CompletionFlag
    report.save_as(path)
    assert dciodvfy(path)


def test_belongs_to_the_study_and_is_no_diagnosis(save, make_header):
    found, header = pydicom.dcmread(save()), make_header()
    for keyword in ("PatientName", "PatientID", "StudyInstanceUID", "StudyDate", "AccessionNumber"):
        assert found[keyword].value == header[keyword].value
    assert found.InstanceNumber == 3
    assert found.VerificationFlag == "UNVERIFIED"
    assert found.PreliminaryFlag == "PRELIMINARY"
    assert "research use only" in found.SeriesDescription
    assert any("not a medical device" in text for text in comments(found))


def test_no_more_identity_than_the_seg(save, tmp_path):
    more = {
        "OtherPatientIDs": "SECRET-1",
        "InstitutionName": "SECRET-2",
        "OperatorsName": "SECRET-3",
        "PatientAddress": "SECRET-4",
        "DeviceSerialNumber": "SECRET-5",
        "PatientComments": "SECRET-6",
        "StudyComments": "SECRET-7",
    }
    path = save(seg=True, density=True, **more)
    assert b"SECRET" not in path.read_bytes()
    header = {"PatientName", "PatientID", "PatientBirthDate", "PatientSex"}
    of_patient = {
        element.keyword for element in pydicom.dcmread(path) if element.keyword.startswith("Patient")
    }
    assert of_patient == header


def test_the_same_bytes_for_the_same_time(save, assert_reproducible):
    assert_reproducible(lambda created, name: save(name, created=created, seg=True, density=True))


def test_identifiers_are_its_own_and_stay(save, tmp_path):
    found = pydicom.dcmread(save(seg=True))
    seg = pydicom.dcmread(tmp_path / "seg.dcm")
    again = pydicom.dcmread(save("b.dcm", seg=True, created=datetime(2020, 1, 1)))
    other = pydicom.dcmread(save("c.dcm", SOPInstanceUID="1.2.3.4"))
    assert found.SOPInstanceUID == again.SOPInstanceUID
    assert len({found.SOPInstanceUID, other.SOPInstanceUID, seg.SOPInstanceUID}) == 3
    assert len({found.SeriesInstanceUID, other.SeriesInstanceUID, seg.SeriesInstanceUID}) == 3
    assert found.file_meta.MediaStorageSOPInstanceUID == found.SOPInstanceUID


def test_a_seg_that_is_not_there_or_of_another_radiograph(save, radiograph, label_map, tmp_path):
    def report_with(segmentation):
        measured = measure(Regions(label_map), radiograph.spacing)
        save_structured_report(
            radiograph, measured, tmp_path / "a.dcm", segmentation=segmentation, algorithm=UNET
        )

    with pytest.raises(OutputError, match=r"none\.dcm cannot be read"):
        report_with(tmp_path / "none.dcm")
    save(seg=True, SOPInstanceUID="1.2.3.4")
    with pytest.raises(OutputError, match="is no DICOM SEG of"):
        report_with(tmp_path / "seg.dcm")
    with pytest.raises(OutputError, match="is no DICOM SEG of"):
        report_with(tmp_path / "sr.dcm")
    assert not (tmp_path / "a.dcm").exists()


def test_not_dicom_and_broken_headers(save, radiograph, label_map, tmp_path):
    png = replace(radiograph, header=None, file_format="PNG")
    with pytest.raises(OutputError, match="is PNG and not DICOM"):
        save_structured_report(png, measure(Regions(label_map), None), tmp_path / "a.dcm", algorithm=UNET)
    with pytest.raises(HeaderError, match="lacks a valid StudyInstanceUID"):
        save(StudyInstanceUID=None)
    assert list(tmp_path.iterdir()) == []
