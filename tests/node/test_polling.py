"""Polled archives: a real Orthanc, and such as fail; each radiograph is fetched once."""

from __future__ import annotations

import json
from contextlib import contextmanager
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import pydicom
import pytest
from pydicom.uid import ComputedRadiographyImageStorage, generate_uid
from sending import SAMPLE, http_server, wait_until

from lungfield.errors import DataError, OutputError
from lungfield.node.incoming import Incoming
from lungfield.node.polling import Poller
from lungfield.node.records import State
from lungfield.node.settings import Limits, Poll
from lungfield.node.sources import Sources
from orthanc import MISSING, running_orthanc

SAMPLES = SAMPLE.parent
TODAY = date.today()


def radiograph(path: Path, sample: str = SAMPLE.name, day: date = TODAY, **values) -> Path:
    dataset = pydicom.dcmread(SAMPLES / sample)
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = generate_uid(), generate_uid()
    dataset.StudyDate = f"{day:%Y%m%d}"
    for keyword, value in values.items():
        setattr(dataset, keyword, value)
    dataset.save_as(path)
    return path


def received(store) -> int:
    return store.counts()[State.RECEIVED]


@pytest.mark.skipif(bool(MISSING), reason=MISSING)
def test_what_comes_into_orthanc_comes_here_once_as_it_is_stored(settings, store, incoming, tmp_path):
    (tmp_path / "orthanc").mkdir()
    with running_orthanc(tmp_path / "orthanc") as orthanc:
        study, series = generate_uid(), generate_uid()
        samples = [one.name for one in sorted(SAMPLES.glob("0[123467]*.dcm"))]
        files = [radiograph(tmp_path / f"{at}.dcm", one) for at, one in enumerate(samples)]
        files += [
            radiograph(tmp_path / f"s{at}.dcm", SeriesInstanceUID=series, StudyInstanceUID=study)
            for at in range(3)
        ]
        old = radiograph(tmp_path / "old.dcm", day=TODAY - timedelta(days=9))
        orthanc.send([*files, old])
        poller = Poller(settings, store, incoming, Poll(orthanc.dicomweb_url))
        poller.ask()
        assert received(store) == len(files)
        for file in files:
            sent = pydicom.dcmread(file)
            kept = store.find(sent.SOPInstanceUID)
            assert kept.transfer_syntax_uid == sent.file_meta.TransferSyntaxUID
            assert pydicom.dcmread(settings.state / kept.path).PixelData == sent.PixelData
        asked = []
        poller._content = lambda url: asked.append(url)
        poller.ask()
        Poller(settings, store, incoming, Poll(orthanc.dicomweb_url)).ask()  # another process
        assert not asked
        del poller._content
        # A series that grows is looked at again.
        orthanc.send([radiograph(tmp_path / "n.dcm", SeriesInstanceUID=series, StudyInstanceUID=study)])
        poller.ask()
        assert received(store) == len(files) + 1


@pytest.mark.skipif(bool(MISSING), reason=MISSING)
def test_an_archive_that_is_down_is_asked_again(settings, store, incoming, tmp_path, caplog):
    (tmp_path / "orthanc").mkdir()
    with running_orthanc(tmp_path / "orthanc") as orthanc:
        orthanc.send([radiograph(tmp_path / "x.dcm")])
        poll = Poll(orthanc.dicomweb_url.replace(str(orthanc.http_port), "1"), every_s=0.1)
        sources = Sources(replace(settings, poll=(poll,)), store, incoming)
        sources.start()
        try:
            wait_until(lambda: caplog.text.count("cannot be searched") >= 2)
            poller = sources._threads[0]
            poller._archive = Poller(settings, store, incoming, Poll(orthanc.dicomweb_url))._archive
            poller._poll = Poll(orthanc.dicomweb_url, every_s=0.1)
            wait_until(lambda: received(store) == 1)
        finally:
            assert sources.stop()


@contextmanager
def hostile(files: dict[str, bytes], answer=lambda uid, content: None, page=2):
    """An archive of one series that gives objects as `answer` says, and tells of `page` of them at once."""
    study, series = "1.2.3", "1.2.4"

    def reply(request):
        path, _, query = request.path.partition("?")
        if path.endswith("/series"):
            offset = int(dict(one.split("=") for one in query.split("&")).get("offset", 0))
            found = (
                [{"0020000D": ui(study), "0020000E": ui(series)}]
                if not offset and "Modality=CR" in query
                else []
            )
            return 200, "application/dicom+json", json.dumps(found).encode()
        if path.endswith("/instances"):
            offset = int(dict(one.split("=") for one in query.split("&")).get("offset", 0))
            found = [
                {"00080018": ui(uid), "00080016": ui(ComputedRadiographyImageStorage)}
                for uid in list(files)[offset : offset + page]
            ]
            return 200, "application/dicom+json; charset=utf-8", json.dumps(found).encode()
        uid = path.rpartition("/")[2]
        given = answer(uid, files[uid])
        if given is not None:
            return given
        return 200, 'multipart/related; type="application/dicom"; boundary=xx', multipart(files[uid])

    with http_server(reply) as server:
        yield server


def ui(value):
    return {"vr": "UI", "Value": [value]}


def multipart(content, end=b"\r\n--xx--"):
    return b"--xx\r\nContent-Type: application/dicom\r\n\r\n" + content + end


@pytest.fixture
def files(tmp_path):
    made = [radiograph(tmp_path / f"{at}.dcm") for at in range(5)]
    return {str(pydicom.dcmread(one).SOPInstanceUID): one.read_bytes() for one in made}


TWO = b"\r\n--xx\r\n\r\nx\r\n--xx--"
BAD = {
    "an error": lambda content: (500, "text/plain", b"no"),
    "a page": lambda content: (200, "text/html", b"<html>"),
    "half of it": lambda content: (
        200,
        "multipart/related; boundary=xx",
        multipart(content[: len(content) // 2], b""),
    ),
    "a cut object": lambda content: (200, "multipart/related; boundary=xx", multipart(content[:5000])),
    "nothing": lambda content: (200, "multipart/related; boundary=xx", b""),
    "two": lambda content: (
        200,
        "multipart/related; boundary=xx",
        multipart(content, b"\r\n--xx\r\n\r\nx\r\n--xx--"),
    ),
}


@pytest.mark.parametrize("kind", BAD)
def test_one_bad_object_costs_no_other(settings, store, incoming, files, kind):
    bad = list(files)[1]
    with hostile(files, lambda uid, content: BAD[kind](content) if uid == bad else None) as server:
        poller = Poller(settings, store, incoming, Poll(server.url, every_s=0.0))
        poller.ask()
        assert received(store) == 4
        assert store.counts()[State.PARKED] == 0
        assert store.find(bad) is None


def test_an_object_that_the_archive_does_not_give_is_tried_again_and_others_are_not(
    settings, store, incoming, files, caplog
):
    bad, well = list(files)[1], []
    with hostile(files, lambda uid, content: (500, "", b"") if uid == bad and not well else None) as server:
        poller = Poller(settings, store, incoming, Poll(server.url, every_s=0.0))
        poller.ask()
        poller.ask()
        assert caplog.text.count("could not be fetched (it answered 500)") == 2
        assert bad not in caplog.text
        well.append(True)
        poller.ask()
        assert received(store) == 5
        fetched = [one.path.rpartition("/")[2] for one in server.requests if "/instances/" in one.path]
        assert {uid: fetched.count(uid) for uid in files} == {uid: 3 if uid == bad else 1 for uid in files}


def test_a_token_is_sent_and_a_refusal_is_an_error(settings, store, incoming, monkeypatch):
    monkeypatch.setenv("LUNGFIELD_NODE_TOKEN_WARD", "secret")
    with http_server(lambda request: (401, "text/plain", b"")) as server:
        with pytest.raises(DataError, match="401"):
            Poller(settings, store, incoming, Poll(server.url, name="ward")).ask()
        assert server.requests[0].headers["Authorization"] == "Bearer secret"


def test_an_object_over_the_limit_or_a_full_disk_is_no_end_of_all(settings, store, files):
    small = replace(settings, limits=Limits(disk_free_bytes=0, object_bytes=1000))
    incoming = Incoming(small, store)
    incoming.prepare()
    with hostile(files) as server:
        Poller(small, store, incoming, Poll(server.url)).ask()
        assert received(store) == 0
        full = replace(settings, limits=Limits(disk_free_bytes=1 << 60))
        with pytest.raises(OutputError, match="nearly full"):
            Poller(full, store, Incoming(full, store), Poll(server.url)).ask()
        poller = Poller(settings, store, incoming := Incoming(settings, store), Poll(server.url))
        incoming.prepare()
        poller.ask()
        assert received(store) == 5
