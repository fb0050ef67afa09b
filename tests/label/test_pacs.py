"""The whole way: radiographs by C-STORE into Orthanc, masks by MONAI Label, and back as DICOM SEG."""

from __future__ import annotations

import io
import json
from functools import cache

import highdicom
import pydicom
import pytest

pytest.importorskip("monailabel", reason="needs MONAI Label: docs/monai-label.md")

from lungfield import Segmenter
from lungfield.bundles import shipped
from lungfield.mask.metrics import agreement
from orthanc import MISSING, running_orthanc

pytestmark = [pytest.mark.timeout(600), pytest.mark.skipif(bool(MISSING), reason=MISSING)]
SAMPLES = shipped("sample_data") / "images"
SENT = ("01_dx_explicit", "03_cr_monochrome1_implicit", "06_cr_window_jpegls", "08_lateral", "09_ct")
FRONTAL = SENT[:3]


@pytest.fixture(scope="module")
def orthanc(tmp_path_factory):
    with running_orthanc(tmp_path_factory.mktemp("orthanc")) as archive:
        archive.send(SAMPLES / f"{name}.dcm" for name in SENT)
        yield archive


@pytest.fixture(scope="module")
def server(orthanc, serve, tmp_path_factory):
    environment = {"MONAI_LABEL_DICOMWEB_CACHE_PATH": str(tmp_path_factory.mktemp("cache"))}
    return serve(orthanc.dicomweb_url, "--bundle", "unet", "--viewer-geometry", env=environment)


@pytest.fixture(scope="module")
def headers():
    return {name: pydicom.dcmread(SAMPLES / f"{name}.dcm", stop_before_pixels=True) for name in SENT}


@pytest.fixture(scope="module")
def segment():
    """What `lungfield.Segmenter` makes of a sample."""
    segmenter = Segmenter("unet")
    return cache(lambda name: segmenter(SAMPLES / f"{name}.dcm").label_map)


def assert_holds(segmentation, label_map, header):
    """That a DICOM SEG, as highdicom reads it, has these lungs and refers to this radiograph."""
    buffer = io.BytesIO()
    segmentation.save_as(buffer, enforce_file_format=True)
    read = highdicom.seg.segread(io.BytesIO(buffer.getvalue()))
    assert [one.segment_label for one in read.SegmentSequence] == ["Right lung", "Left lung"]
    masks = read.get_pixels_by_source_instance([header.SOPInstanceUID])
    for number in (1, 2):
        dice = agreement(masks[0, ..., number - 1] > 0, label_map == number, spacing=None).dice
        assert dice > 0.99
    assert segmentation.StudyInstanceUID == header.StudyInstanceUID
    (series,) = segmentation.ReferencedSeriesSequence
    assert series.SeriesInstanceUID == header.SeriesInstanceUID


def test_radiographs_are_listed(server, headers):
    listed = server.get("/datastore/", output="all").json()["objects"]
    assert set(listed) == {headers[name].SeriesInstanceUID for name in SENT if name != "09_ct"}
    assert server.get("/datastore/").json()["total"] == len(listed)


@pytest.mark.parametrize(
    ("name", "level"),
    list(zip(FRONTAL, ("SeriesInstanceUID", "StudyInstanceUID", "SeriesInstanceUID"), strict=True)),
)
def test_answers_with_a_segmentation(server, headers, segment, name, level):
    answer = server.infer("unet", headers[name][level].value, output="dicom_seg")
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/dicom"
    assert_holds(pydicom.dcmread(io.BytesIO(answer.content)), segment(name), headers[name])


def test_mask_goes_back_into_the_study(server, orthanc, headers, segment):
    header = headers["03_cr_monochrome1_implicit"]
    answer = server.infer("unet", header.StudyInstanceUID, output="json", save_label=True, label_tag="final")
    assert answer.status_code == 200, answer.text
    level = f"studies/{header.StudyInstanceUID}"
    assert sorted(one.Modality for one in orthanc.find(f"{level}/series")) == ["CR", "SEG"]
    (found,) = orthanc.find(f"{level}/instances", Modality="SEG")
    segmentation = orthanc.fetch(found)
    assert_holds(segmentation, segment("03_cr_monochrome1_implicit"), header)
    assert {one.SegmentAlgorithmType for one in segmentation.SegmentSequence} == {"AUTOMATIC"}
    # A mask that is handed out is the same object: what made it is told with it, its weights too.
    answer = server.infer("unet", header.StudyInstanceUID, output="dicom_seg")
    assert pydicom.dcmread(io.BytesIO(answer.content)).SOPInstanceUID == segmentation.SOPInstanceUID
    # The viewer that the server brings insists on a plane, and the server was told to invent one.
    assert "FrameOfReferenceUID" in segmentation


def test_correction_goes_back_into_the_study_and_counts(server, orthanc, headers, segment, tmp_path):
    name = "06_cr_window_jpegls"
    series = headers[name].SeriesInstanceUID
    mask = tmp_path / "mask.nii.gz"
    mask.write_bytes(server.infer("unet", series).content)
    labelled = server.get("/datastore/").json()["completed"]
    answer = server.save_label(series, mask)
    assert answer.status_code == 200, answer.text
    assert answer.json() == {"image": series, "label": series}
    assert server.get("/datastore/").json()["completed"] == labelled + 1
    (found,) = orthanc.find(f"studies/{headers[name].StudyInstanceUID}/instances", Modality="SEG")
    segmentation = orthanc.fetch(found)
    assert_holds(segmentation, segment(name), headers[name])
    assert {one.SegmentAlgorithmType for one in segmentation.SegmentSequence} == {"SEMIAUTOMATIC"}
    label = server.get("/datastore/label", label=series, tag="final")
    assert pydicom.dcmread(io.BytesIO(label.content)).SOPInstanceUID == found.SOPInstanceUID


def test_what_cannot_be_segmented_is_said(server, headers):
    for output in ("dicom_seg", "json"):
        answer = server.infer("unet", headers["08_lateral"].SeriesInstanceUID, output=output)
        assert answer.status_code == 400
        assert "lateral" in answer.json()["detail"]
        answer = server.infer("unet", headers["09_ct"].SeriesInstanceUID, output=output)
        assert answer.status_code == 400
        assert "no such image" in answer.json()["detail"]
    answer = server.infer("no_such", headers["08_lateral"].SeriesInstanceUID, output="dicom_seg")
    assert answer.status_code == 400
    assert "unet" in answer.json()["detail"]
    assert server.infer("unet", "", output="dicom_seg").status_code == 400


def test_a_mask_of_another_radiograph_is_refused(server, orthanc, headers, tmp_path):
    mask = tmp_path / "mask.nii.gz"
    mask.write_bytes(server.infer("unet", headers["06_cr_window_jpegls"].SeriesInstanceUID).content)
    header = headers["01_dx_explicit"]
    answer = server.save_label(header.SeriesInstanceUID, mask)
    assert answer.status_code == 400
    assert "448x448" in answer.json()["detail"]
    assert orthanc.find(f"studies/{header.StudyInstanceUID}/series", Modality="SEG") == []


def test_viewer_is_served_and_asks_the_archive_for_one_study(server, headers):
    settings = server.get("/ohif/app-config.js")
    assert "qidoRoot: '/proxy/dicom/qido'" in settings.text
    header = headers["01_dx_explicit"]
    found = server.get("/proxy/dicom/qido/studies", StudyInstanceUID=header.StudyInstanceUID)
    assert [one["00100020"]["Value"] for one in found.json()] == [[header.PatientID]]
    series = f"studies/{header.StudyInstanceUID}/series"
    for service in ("qido", "wado"):
        (one,) = server.get(f"/proxy/dicom/{service}/{series}/{header.SeriesInstanceUID}/metadata").json()
        assert one["00080018"]["Value"] == [header.SOPInstanceUID]
    assert server.get("/proxy/dicom/qido/nothing").status_code == 404


def test_nobody_is_named_in_log_or_lists(server, headers):
    server.infer("unet", headers["01_dx_explicit"].StudyInstanceUID, save_label=True, label_tag="original")
    printed = server.log.read_text() + "".join(
        path.read_text(errors="replace") for path in server.home.rglob("*.log")
    )
    listed = json.dumps(server.get("/datastore/", output="all").json())
    assert "Infer Request" in printed
    for header in headers.values():
        for text in (printed, listed):
            assert str(header.PatientName) not in text
            assert header.PatientID not in text
