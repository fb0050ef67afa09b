"""Segmenting: each radiograph ends segmented, skipped or parked, whatever it does to its worker."""

import threading
import time
from dataclasses import replace
from pathlib import Path

import by_size
import pydicom
import pytest
from peers import radiograph

from grey_bundle import write_dark_is_lung
from lungfield.batch.processes import start_forkserver
from lungfield.errors import BundleError
from lungfield.node.records import State
from lungfield.node.settings import Destination
from lungfield.node.working import Working


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return write_dark_is_lung(tmp_path_factory.mktemp("bundles"), transform="by_size.Misbehaved")


@pytest.fixture(scope="module")
def context():
    return start_forkserver("lungfield.batch.lean")


@pytest.fixture
def work(settings, store, bundle, context):
    """Starts a `Working` with one worker and a time limit; ended at the end."""
    started = []

    def start(**changes):
        destination = Destination("pacs", "dicom", "PACS", "127.0.0.1", 104)
        given = replace(
            settings,
            bundle=str(bundle),
            backend="torch",
            time_limit_s=10.0,
            send_to=(destination,),
            **changes,
        )
        errors, done = [], threading.Event()
        working = Working(given, store, context, segmented=done.set, failed=errors.append)
        working.errors, working.done = errors, done
        started.append(working)
        working.start()
        return working

    yield start
    for one in started:
        one.close(20)


def rows_cut(path, rows):
    """The radiograph with fewer rows."""
    dataset = pydicom.dcmread(path)
    dataset.PixelData = dataset.PixelData[: 2 * rows * dataset.Columns]
    dataset.Rows = rows
    dataset.save_as(path)
    return path


def taken(incoming, path):
    part = incoming.part()
    part.write(Path(path).read_bytes())
    part.close()
    uid = pydicom.dcmread(path, stop_before_pixels=True).SOPInstanceUID
    incoming.keep(Path(part.name), source="dicom")
    return uid


def wait_for(condition, limit_s=200):
    end = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_each_ends_as_it_should_and_a_bad_one_costs_itself_alone(work, store, incoming, settings, tmp_path):
    good = taken(incoming, radiograph(tmp_path, 1))
    crashing = taken(incoming, rows_cut(radiograph(tmp_path, 2), by_size.ABORT))
    lateral = taken(incoming, radiograph(tmp_path, 3, ViewPosition="LL"))
    hanging = taken(incoming, rows_cut(radiograph(tmp_path, 4), by_size.HANG))
    damaged = taken(incoming, radiograph(tmp_path, 5, PixelData=b"\0" * 1000))
    working = work()
    wait_for(lambda: not store.counts()[State.RECEIVED])
    later = taken(incoming, radiograph(tmp_path, 6))
    working.ring()
    wait_for(lambda: not store.counts()[State.RECEIVED])
    ends = {uid: (store.find(uid).state, store.find(uid).reason_code) for uid in (good, later)}
    assert set(ends.values()) == {(State.SEGMENTED, "")}
    assert (store.find(crashing).state, store.find(crashing).reason_code) == (State.PARKED, "crashed")
    assert (store.find(lateral).state, store.find(lateral).reason_code) == (State.SKIPPED, "other-view")
    assert (store.find(hanging).state, store.find(hanging).reason_code) == (State.PARKED, "timed-out")
    assert (store.find(damaged).state, store.find(damaged).reason_code) == (State.PARKED, "damaged")
    assert working.errors == []
    instance = store.find(good)
    results = store.results(instance.id)
    assert [one.format for one in results] == ["seg", "sr", "sc"]
    for one in results:
        header = pydicom.dcmread(settings.results / one.path, stop_before_pixels=True)
        assert (header.SOPInstanceUID, header.SOPClassUID) == (one.sop_instance_uid, one.sop_class_uid)
        assert store.is_own(one.sop_instance_uid)
        assert header.StudyInstanceUID == instance.study_instance_uid
    assert [one.destination for one in store.deliveries(instance.id)] == ["pacs"]
    assert store.deliveries(store.find(lateral).id) == []


def test_an_instance_that_is_segmented_again_has_the_same_results(work, store, incoming, settings, tmp_path):
    uid = taken(incoming, radiograph(tmp_path))
    working = work()
    assert working.not_ready_reason  # they are being started
    wait_for(working.done.is_set)
    assert working.not_ready_reason == ""
    number = store.find(uid).id
    before = {one.format: (settings.results / one.path).read_bytes() for one in store.results(number)}
    working.close(20)
    assert working.not_ready_reason == "the workers do not run; see the log"
    # As after a kill between the files and the row.
    store._database.write(
        lambda database: [
            database.execute("DELETE FROM delivery"),
            database.execute("UPDATE instance SET state = 'received'"),
        ]
    )
    again = work()
    wait_for(again.done.is_set)
    assert before == {one.format: (settings.results / one.path).read_bytes() for one in store.results(number)}


def test_a_bundle_that_there_is_not_is_told_before_anything_starts(settings):
    with pytest.raises(BundleError):
        Working(replace(settings, bundle="none"), None, None, segmented=print, failed=print)
