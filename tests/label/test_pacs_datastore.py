"""The datastore on a DICOMweb archive: a real Orthanc, filled by C-STORE."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import ClassVar

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.uid import generate_uid

# It prepares what MONAI Label needs; so it comes before anything of that.
pytest.importorskip("lungfield.label.dicomweb", reason="needs MONAI Label: docs/monai-label.md")

from dicomweb_client import DICOMwebClient
from monailabel.config import settings
from monailabel.datastore.dicom import DICOMwebClientX

from lungfield.bundles import shipped
from lungfield.dicomweb import Archive
from lungfield.errors import DataError, OutputError
from lungfield.export import Algorithm
from lungfield.label.dicomweb import RadiographArchive, make_datastore
from lungfield.label.segmentations import make_segmentation
from lungfield.label.training import Options, corrections_in, write_data
from lungfield.mask import read_mask
from lungfield.radiograph import read_radiograph
from orthanc import MISSING, running_orthanc

SAMPLES = sorted((shipped("sample_data") / "images").glob("*.dcm"))
needs_orthanc = pytest.mark.skipif(bool(MISSING), reason=MISSING)


@pytest.fixture(scope="module")
def orthanc(tmp_path_factory):
    with running_orthanc(tmp_path_factory.mktemp("orthanc")) as server:
        server.send(SAMPLES)
        yield server


@pytest.fixture
def open_archive(orthanc, tmp_path):
    """`open_archive(search_filter)`: a datastore with an empty cache."""

    def make(search_filter=None, **options):
        client = DICOMwebClientX(orthanc.dicomweb_url)
        return RadiographArchive(client, search_filter, cache_path=str(tmp_path / "cache"), **options)

    return make


@pytest.fixture
def chest(orthanc, make_dicom, picture, tmp_path):
    """The header of a radiograph of its own study in the archive."""
    return stored(orthanc, make_dicom(tmp_path / "chest.dcm", picture))


@pytest.fixture
def mask(picture, tmp_path):
    """A label map as an annotator saves it for `chest`: two lungs."""
    labels = np.zeros(picture.shape, dtype=np.uint8)
    labels[20:70, 10:30], labels[25:60, 45:72] = 1, 2
    Image.fromarray(labels).save(tmp_path / "mask.png")
    return tmp_path / "mask.png"


def stored(orthanc, path):
    orthanc.send([path])
    return pydicom.dcmread(path, stop_before_pixels=True)


def series_of(*names):
    return {
        str(pydicom.dcmread(path, stop_before_pixels=True).SeriesInstanceUID)
        for path in SAMPLES
        if path.name.startswith(names)
    }


@needs_orthanc
class TestImages:
    def test_radiographs_are_listed_and_nothing_else(self, open_archive):
        listed = set(open_archive().list_images())
        assert series_of("01", "02", "03", "04", "05", "06", "07", "08") <= listed
        assert not series_of("09_ct") & listed

    def test_a_filter_can_ask_for_less(self, open_archive):
        assert set(open_archive({"Modality": "CR"}).list_images()) == series_of("03", "06")
        assert open_archive({"Modality": ["MG", "XA"]}).list_images() == []
        assert series_of("01") == set(open_archive({"PatientID": "PHANTOM-0001"}).list_images())

    def test_what_comes_in_is_listed_at_once(self, open_archive, orthanc, make_dicom, picture, tmp_path):
        archive = open_archive()
        before = set(archive.list_images())
        new = stored(orthanc, make_dicom(tmp_path / "new.dcm", picture))
        assert set(archive.list_images()) - before == {new.SeriesInstanceUID}

    @pytest.mark.parametrize("path", SAMPLES[:8], ids=lambda path: path.stem)
    def test_the_file_is_that_of_the_archive(self, open_archive, path):
        header = pydicom.dcmread(path, stop_before_pixels=True)
        fetched = Path(open_archive().get_image_uri(header.SeriesInstanceUID))
        assert pydicom.dcmread(fetched).file_meta.TransferSyntaxUID == header.file_meta.TransferSyntaxUID
        pixels = [read_radiograph(one, require_frontal=False).pixels for one in (fetched, path)]
        np.testing.assert_array_equal(*pixels)

    def test_a_file_is_fetched_once(self, open_archive):
        (series,) = series_of("01")
        archive = open_archive()
        path = Path(archive.get_image_uri(series))
        before = path.stat().st_mtime_ns
        assert archive.get_image_uri(series) == open_archive().get_image_uri(series) == str(path)
        assert path.stat().st_mtime_ns == before

    def test_a_study_means_its_frontal_view(self, open_archive, orthanc, make_dicom, picture, tmp_path):
        study = generate_uid()
        views = {"LL": 1, "PA": 2, "RL": 3}
        lateral, frontal, _ = (
            stored(
                orthanc,
                make_dicom(
                    tmp_path / f"{view}.dcm",
                    picture,
                    StudyInstanceUID=study,
                    SeriesNumber=number,
                    ViewPosition=view,
                    PatientOrientation=None,
                ),
            )
            for view, number in views.items()
        )
        archive = open_archive()
        assert archive.get_image_uri(study) == archive.get_image_uri(frontal.SeriesInstanceUID)
        assert archive.get_image_uri(study) != archive.get_image_uri(lateral.SeriesInstanceUID)

    def test_a_series_means_its_frontal_view(self, open_archive, orthanc, make_dicom, picture, tmp_path):
        series = {"StudyInstanceUID": generate_uid(), "SeriesInstanceUID": generate_uid()}
        for number, view in enumerate(("LL", "PA"), start=1):
            path = tmp_path / f"{view}.dcm"
            more = {"ViewPosition": view, "InstanceNumber": number, "PatientOrientation": None}
            stored(orthanc, make_dicom(path, picture, **series, **more))
        fetched = open_archive().get_image_uri(series["SeriesInstanceUID"])
        assert pydicom.dcmread(fetched).ViewPosition == "PA"

    @pytest.mark.parametrize("name", ["1.2.3", "*", "1.2*", "../../etc/passwd", ""])
    def test_other_names_are_refused(self, open_archive, name):
        with pytest.raises(DataError, match="no such image"):
            open_archive().get_image_uri(name)

    def test_images_are_not_taken(self, open_archive):
        with pytest.raises(OutputError, match="C-STORE"):
            open_archive().add_image("1.2.3", str(SAMPLES[0]), {})

    def test_cache_is_private_and_its_list_without_identity(self, open_archive, chest, mask):
        archive = open_archive()
        archive.save_label(chest.SeriesInstanceUID, str(mask), "final", {})
        listed = json.dumps(archive.json())
        assert chest.SeriesInstanceUID in listed
        (cache,) = Path(archive.get_image_uri(chest.SeriesInstanceUID)).parents[:1]
        kept = (cache / "datastore_v2.json").read_text()
        for text in (listed, kept):
            assert "PHANTOM" not in text.upper()
            assert "Nemo" not in text
            assert "secret" not in text
        assert stat.S_IMODE(cache.stat().st_mode) == 0o700


@needs_orthanc
class TestLabels:
    def test_a_saved_mask_is_a_segmentation_in_the_study(self, open_archive, orthanc, chest, mask):
        archive = open_archive()
        assert archive.save_label(chest.SeriesInstanceUID, str(mask), "final", {}) == chest.SeriesInstanceUID
        (series,) = orthanc.find(f"studies/{chest.StudyInstanceUID}/series", Modality="SEG")
        (instance,) = orthanc.find(f"studies/{chest.StudyInstanceUID}/instances", Modality="SEG")
        assert instance.SeriesInstanceUID == series.SeriesInstanceUID
        assert orthanc.fetch(instance).PatientID == chest.PatientID
        assert chest.SeriesInstanceUID in archive.get_labeled_images()
        assert chest.SeriesInstanceUID not in archive.get_unlabeled_images()
        assert set(archive.list_images()) == {*archive.get_labeled_images(), *archive.get_unlabeled_images()}

    def test_it_is_there_for_another_server(self, open_archive, orthanc, chest, mask, tmp_path):
        open_archive().save_label(chest.StudyInstanceUID, str(mask), "final", {})
        other = RadiographArchive(DICOMwebClientX(orthanc.dicomweb_url), cache_path=str(tmp_path / "other"))
        label = other.get_label_uri(chest.SeriesInstanceUID, "final")
        np.testing.assert_array_equal(read_mask(Path(label)), np.asarray(Image.open(mask)))

    def test_the_newest_correction_counts(self, open_archive, chest, mask, picture, tmp_path):
        first, second = np.asarray(Image.open(mask)), np.zeros(picture.shape, dtype=np.uint8)
        second[30:60, 12:28], second[30:60, 50:70] = 1, 2
        archive, other = open_archive(), open_archive()
        for label_map in (first, second, first):
            Image.fromarray(label_map).save(tmp_path / "next.png")
            archive.save_label(chest.SeriesInstanceUID, str(tmp_path / "next.png"), "final", {})
            for datastore in (archive, other):
                label = datastore.get_label_uri(chest.SeriesInstanceUID, "final")
                np.testing.assert_array_equal(read_mask(Path(label)), label_map)

    def test_masks_by_a_network_alone_are_no_labels(self, open_archive, orthanc, chest, mask):
        archive = open_archive()
        made_by = {"model": "unet", "params": {"bundle": "unet", "version": "0.2.0+20260101T000000"}}
        for _ in range(2):
            archive.save_label(chest.SeriesInstanceUID, str(mask), "final", made_by)
        assert chest.SeriesInstanceUID not in archive.get_labeled_images()
        # Twice the same mask is one object.
        (instance,) = orthanc.find(f"studies/{chest.StudyInstanceUID}/instances", Modality="SEG")
        segment = orthanc.fetch(instance).SegmentSequence[0]
        assert segment.SegmentAlgorithmType == "AUTOMATIC"
        assert segment.SegmentAlgorithmName == "lungfield unet"
        # Nor do they take the place of one that somebody drew.
        archive.save_label(chest.SeriesInstanceUID, str(mask), "final", {})
        archive.save_label(chest.SeriesInstanceUID, str(mask), "final", made_by)
        label = pydicom.dcmread(archive.get_label_uri(chest.SeriesInstanceUID, "final"))
        assert label.SegmentSequence[0].SegmentAlgorithmType == "SEMIAUTOMATIC"

    @pytest.mark.parametrize(("code", "count"), [("44029006", 1), ("27925004", 0)], ids=["lung", "nodule"])
    def test_lungs_drawn_elsewhere_are_labels(
        self, open_archive, orthanc, chest, mask, code, count, tmp_path
    ):
        radiograph = read_radiograph(tmp_path / "chest.dcm")
        drawn = make_segmentation(radiograph, np.asarray(Image.open(mask)), Algorithm("pencil", "1"))
        del drawn.SegmentSequence[0]
        drawn.SegmentSequence[0].SegmentAlgorithmType = "MANUAL"
        drawn.SegmentSequence[0].SegmentedPropertyTypeCodeSequence[0].CodeValue = code
        drawn.save_as(tmp_path / "drawn.dcm")
        orthanc.send([tmp_path / "drawn.dcm"])
        assert open_archive().get_labeled_images().count(chest.SeriesInstanceUID) == count

    def test_other_tags_stay_here(self, open_archive, orthanc, chest, mask):
        archive = open_archive()
        archive.save_label(chest.SeriesInstanceUID, str(mask), "original", {"model": "unet"})
        assert (
            Path(archive.get_label_uri(chest.SeriesInstanceUID, "original")).read_bytes() == mask.read_bytes()
        )
        assert orthanc.find(f"studies/{chest.StudyInstanceUID}/series", Modality="SEG") == []

    def test_values_have_the_names_that_a_client_gives(self, open_archive, chest, mask, tmp_path):
        label_map = np.asarray(Image.open(mask))
        Image.fromarray(np.array([0, 5, 6], dtype=np.uint8)[label_map]).save(tmp_path / "named.png")
        named = [{"name": "right lung", "idx": 5}, {"name": "left lung", "idx": 6}]
        archive = open_archive()
        archive.save_label(
            chest.SeriesInstanceUID, str(tmp_path / "named.png"), "final", {"label_info": named}
        )
        np.testing.assert_array_equal(
            read_mask(Path(archive.get_label_uri(chest.SeriesInstanceUID, "final"))), label_map
        )

    def test_both_lungs_in_one_are_told_apart(self, open_archive, chest, mask, tmp_path):
        label_map = np.asarray(Image.open(mask))
        Image.fromarray(np.where(label_map, 255, 0).astype(np.uint8)).save(tmp_path / "both.png")
        archive = open_archive()
        archive.save_label(chest.SeriesInstanceUID, str(tmp_path / "both.png"), "final", {})
        np.testing.assert_array_equal(
            read_mask(Path(archive.get_label_uri(chest.SeriesInstanceUID, "final"))), label_map
        )

    def test_a_mask_of_another_size_is_refused(self, open_archive, orthanc, chest, tmp_path):
        Image.fromarray(np.ones((20, 30), dtype=np.uint8)).save(tmp_path / "small.png")
        with pytest.raises(DataError, match="30x20"):
            open_archive().save_label(chest.SeriesInstanceUID, str(tmp_path / "small.png"), "final", {})
        assert orthanc.find(f"studies/{chest.StudyInstanceUID}/series", Modality="SEG") == []

    def test_they_can_be_trained_on(self, open_archive, chest, mask, tmp_path):
        archive = open_archive()
        archive.save_label(chest.SeriesInstanceUID, str(mask), "final", {})
        (one,) = [one for one in corrections_in(archive) if one.id == chest.SeriesInstanceUID]
        assert write_data([one], tmp_path / "data", Options()) == (1, 1)
        (written,) = (tmp_path / "data" / "labels").iterdir()
        np.testing.assert_array_equal(np.asarray(Image.open(written)), np.asarray(Image.open(mask)))

    def test_paths_can_be_relative(self, open_archive, chest, mask, tmp_path):
        archive = open_archive()
        archive.save_label(chest.SeriesInstanceUID, str(mask), "final", {})
        (absolute,) = [pair for pair in archive.datalist() if chest.SeriesInstanceUID in pair["image"]]
        (relative,) = [pair for pair in archive.datalist(False) if chest.SeriesInstanceUID in pair["image"]]
        cache = Path(absolute["image"]).parent
        assert {key: str(cache / path) for key, path in relative.items()} == absolute


class App:
    conf: ClassVar[dict[str, str]] = {}


@needs_orthanc
def test_settings_choose_the_archive(orthanc, monkeypatch, tmp_path):
    monkeypatch.setattr(settings, "MONAI_LABEL_DICOMWEB_CACHE_PATH", str(tmp_path))
    everything = make_datastore(App, orthanc.dicomweb_url)
    assert series_of("01", "03") <= set(everything.list_images())
    assert everything.name() == orthanc.dicomweb_url
    monkeypatch.setattr(settings, "MONAI_LABEL_DICOMWEB_SEARCH_FILTER", {"Modality": "CR"})
    assert set(make_datastore(App, orthanc.dicomweb_url).list_images()) == series_of("03", "06")
    with pytest.raises(DataError, match="root of its DICOMweb services"):
        make_datastore(App, orthanc.dicomweb_url.replace("dicom-web", "elsewhere"))


def test_an_archive_that_is_down_is_named(monkeypatch, tmp_path):
    monkeypatch.setattr(settings, "MONAI_LABEL_DICOMWEB_CACHE_PATH", str(tmp_path))
    with pytest.raises(DataError, match=r"http://127\.0\.0\.1:9/dicom-web: the archive cannot be searched"):
        make_datastore(App, "http://127.0.0.1:9/dicom-web")


class Shelf(DICOMwebClient):
    """A client of an archive of five series, which tells two of them at once."""

    base_url = "http://shelf"
    uids = ("1.1", "1.2", "1.3", "1.4", "1.5")

    def __init__(self, *, pages=True, failure=None):
        self.pages, self.failure = pages, failure

    def search_for_series(self, search_filters, offset):
        found = self.uids[offset : offset + 2] if self.pages else self.uids
        return [{"0020000E": {"vr": "UI", "Value": [uid]}} for uid in found]

    def store_instances(self, datasets):
        answer = pydicom.Dataset()
        if self.failure is not None:
            failed = pydicom.Dataset()
            failed.FailureReason = self.failure
            answer.FailedSOPSequence = [failed]
        return answer


@pytest.mark.parametrize("pages", [True, False])
def test_long_answers_are_read_to_their_end(pages):
    found = [series.SeriesInstanceUID for series in Archive(Shelf(pages=pages)).series({})]
    assert tuple(found) == Shelf.uids


def test_an_object_that_was_not_kept_is_an_error():
    segmentation = pydicom.Dataset()
    segmentation.Modality = "SEG"
    Archive(Shelf()).send(segmentation)
    with pytest.raises(OutputError, match=r"http://shelf: did not store a SEG object \(FailureReason 0xa700"):
        Archive(Shelf(failure=0xA700)).send(segmentation)
