"""The queue: each object is taken in once, and ends delivered, skipped or parked with a reason."""

import sqlite3
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from lungfield.errors import DataError, OutputError
from lungfield.node.records import Receipt, Received, Result, Sending, State
from lungfield.node.store import Store

OBJECT = Received(
    "1.2.3", "1.2.840.10008.5.1.4.1.1.1", "1.2.840.10008.1.2.1", "1", "2", "aa", 100, "aa/x.dcm", "dicom"
)
SEG = Result("seg", "seg/aa/x.dcm", "1.2.840.10008.5.1.4.1.1.66.4", "9.8.7", "9.8")


@pytest.fixture
def store(tmp_path):
    with_store = Store(tmp_path / "node.sqlite3")
    yield with_store
    with_store.close()


def segmented(store, *destinations):
    store.receive(OBJECT)
    (instance,) = store.claim(1)
    store.segmented(instance.id, {"flags": ["size"], "lungs_cm2": 3.0}, [(SEG, 50)], destinations)
    return instance.id


def state(store, number):
    return store.instance(number).state


def test_an_object_is_new_once_then_known_and_other_content_is_parked(store):
    assert store.receive(OBJECT) is Receipt.NEW
    assert store.receive(OBJECT) is Receipt.KNOWN
    other = replace(OBJECT, content_sha256="bb", path="bb/x.dcm")
    assert store.receive(other) is Receipt.CONFLICT
    assert store.receive(other) is Receipt.CONFLICT
    assert store.counts()[State.RECEIVED] == store.counts()[State.PARKED] == 1
    (failure,) = store.failures()
    assert (failure.instance.reason_code, failure.instance.path) == ("conflict", "bb/x.dcm")
    assert len(store.claim(10)) == 1


def test_a_result_that_comes_back_is_own(store):
    segmented(store, "pacs")
    assert store.receive(replace(OBJECT, sop_instance_uid="9.8.7")) is Receipt.OWN
    assert store.is_own("9.8.7")
    assert not store.is_own("")


def test_claims_are_of_this_process_only(store):
    store.receive(OBJECT)
    (one,) = store.claim(5)
    assert store.claim(5) == []
    other = Store(store._database.path)
    assert [again.id for again in other.claim(5)] == [one.id]
    other.close()
    store.release(one.id)
    assert len(store.claim(5)) == 1


SKIPPED = {"status": "skipped", "reason_code": "other-view", "reason": "ViewPosition is LL"}


def test_a_notice_is_delivered_before_what_was_skipped_ends(store):
    store.receive(OBJECT)
    (one,) = store.claim(1)
    notice = replace(SEG, format="sc")
    store.skipped(one.id, "other-view", "ViewPosition is LL", SKIPPED, [(notice, 50)], ["pacs", "web"])
    assert (state(store, one.id), store.instance(one.id).skipped_code) == (State.SEGMENTED, "other-view")
    assert store.is_own(notice.sop_instance_uid)
    (first,), (second,) = store.due("pacs", time.time()), store.due("web", time.time())
    store.delivered(first.id)
    store.park_delivery(second.id, "it is down")
    assert (state(store, one.id), store.instance(one.id).reason_code) == (State.PARKED, "not-delivered")
    assert store.retry([one.id]) == 1
    (second,) = store.due("web", time.time())
    store.delivered(second.id)
    ended = store.instance(one.id)
    assert (ended.state, ended.reason_code) == (State.SKIPPED, "other-view")
    assert ended.reason == SKIPPED["reason"]


def test_a_notice_for_nobody_is_kept_and_the_instance_skipped(store):
    store.receive(OBJECT)
    (one,) = store.claim(1)
    store.skipped(one.id, "other-view", "ViewPosition is LL", SKIPPED, [(replace(SEG, format="sc"), 50)])
    assert state(store, one.id) is State.SKIPPED
    assert len(store.results(one.id)) == 1


def test_the_last_delivery_makes_the_instance_delivered(store):
    number = segmented(store, "pacs", "web")
    assert state(store, number) is State.SEGMENTED
    (first,) = store.due("pacs", time.time())
    store.sent(first.id, "5.5", time.time() + 60)
    assert [one.id for one in store.by_transaction("5.5")] == [first.id]
    assert store.due("pacs", time.time() + 1000) == []
    assert [one.id for one in store.overdue("pacs", time.time() + 61)] == [first.id]
    store.delivered(first.id)
    assert state(store, number) is State.SEGMENTED
    (second,) = store.due("web", time.time())
    store.delivered(second.id)
    assert state(store, number) is State.DELIVERED
    told = [(one.destination, one.to_state) for one in store.transitions(number)]
    assert told == [
        (None, "received"), (None, "segmented"), ("pacs", "waiting"), ("web", "waiting"),
        ("pacs", "sent"), ("pacs", "delivered"), ("web", "delivered"), (None, "delivered"),
    ]  # fmt: skip


def test_a_failure_waits_then_is_parked_and_retried(store):
    number = segmented(store, "pacs")
    (one,) = store.due("pacs", time.time())
    store.failed(one.id, "refused", time.time() + 5)
    assert store.due("pacs", time.time()) == []
    (one,) = store.due("pacs", time.time() + 6)
    assert (one.attempts, one.error) == (1, "refused")
    store.park_delivery(one.id, "refused for hours")
    assert state(store, number) is State.PARKED
    (failure,) = store.failures()
    assert failure.deliveries[0].error == "refused for hours"
    assert store.retry() == 1
    assert state(store, number) is State.SEGMENTED
    (one,) = store.due("pacs", time.time())
    assert one.attempts == 0


def test_a_fallback_takes_the_place_of_a_destination(store):
    number = segmented(store, "pacs", "web")
    (one,) = store.due("pacs", time.time())
    store.park_delivery(one.id, "down", fallback="spare")
    (web,) = store.due("web", time.time())
    store.delivered(web.id)
    assert state(store, number) is State.SEGMENTED
    (spare,) = store.due("spare", time.time())
    store.delivered(spare.id)
    assert state(store, number) is State.DELIVERED
    assert store.delivery_counts()["pacs"][Sending.REPLACED] == 1


def test_what_a_person_parked_is_not_sent(store):
    number = segmented(store, "pacs")
    assert store.park(number)
    assert not store.park(number)
    assert store.due("pacs", time.time()) == []
    assert store.retry([number]) == 1
    assert len(store.due("pacs", time.time())) == 1


def test_a_result_for_what_was_parked_meanwhile_is_dropped(store):
    store.receive(OBJECT)
    (one,) = store.claim(1)
    store.park(one.id)
    store.segmented(one.id, {}, [(SEG, 1)], ["pacs"])
    assert state(store, one.id) is State.PARKED
    assert store.results(one.id) == []


def test_only_what_came_to_its_end_is_deleted(store):
    number = segmented(store, "pacs")
    deleted = []
    later = time.time() + 1
    assert store.purge(later, 0, lambda *what: deleted.append(what)) == 0
    (one,) = store.due("pacs", time.time())
    store.delivered(one.id)
    assert store.bytes_kept() == 150
    assert store.purge(0.0, 150, lambda *what: deleted.append(what)) == 0
    assert store.purge(0.0, 149, lambda *what: deleted.append(what)) == 1
    assert deleted[0][0].id == number
    assert store.bytes_kept() == 0
    assert store.receive(OBJECT) is Receipt.KNOWN
    assert store.purge(later, 0, lambda *what: deleted.append(what)) == 0


def test_writers_share_transactions_and_one_that_fails_fails_alone(store):
    def write(number):
        if number % 10 == 0:
            with pytest.raises(ZeroDivisionError):
                store._database.write(
                    lambda database: database.execute("INSERT INTO known VALUES (1, 1)") and 1 / 0
                )
            return None
        return store.receive(replace(OBJECT, sop_instance_uid=f"1.{number}"))

    with ThreadPoolExecutor(16) as threads:
        receipts = list(threads.map(write, range(200)))
    assert receipts.count(Receipt.NEW) == 180
    assert store.counts()[State.RECEIVED] == 180
    assert not store.knows("1")


def test_a_full_disk_is_told_and_nothing_is_half_done(store):
    store.receive(OBJECT)
    pages = store._database._writer.execute("PRAGMA page_count").fetchone()[0]
    store._database._writer.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(OutputError, match="full"):
        [store.receive(replace(OBJECT, sop_instance_uid=f"1.{number}")) for number in range(500)]
    kept = store.counts()[State.RECEIVED]
    store._database._writer.execute("PRAGMA max_page_count = 1000000")
    assert store.receive(replace(OBJECT, sop_instance_uid="1.999")) is Receipt.NEW
    assert store.counts()[State.RECEIVED] == kept + 1


def test_a_later_schema_and_a_damaged_file_are_refused(tmp_path):
    later = sqlite3.connect(tmp_path / "later")
    later.execute("PRAGMA user_version = 99")
    later.close()
    with pytest.raises(DataError, match="schema version is 99"):
        Store(tmp_path / "later")
    (tmp_path / "damaged").write_bytes(b"not a database" * 1000)
    with pytest.raises(DataError, match="backup"):
        Store(tmp_path / "damaged")


def test_two_threads_that_bring_the_same_object_make_one_row(store):
    barrier = threading.Barrier(8)

    def bring(_):
        barrier.wait()
        return store.receive(OBJECT)

    with ThreadPoolExecutor(8) as threads:
        receipts = sorted(threads.map(bring, range(8)))
    assert receipts == ["known"] * 7 + ["new"]
