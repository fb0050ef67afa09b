"""`lungfield node status`, `retry` and `export-failures`, without a node and beside one that writes."""

import csv
import json
import stat
import threading

import pytest
from filled import ERROR

from lungfield.node.records import State


def run(call, filled, *words):
    done = call("node", words[0], "--state", filled.settings.state, *words[1:])
    assert "Traceback" not in done.stderr
    filled.assert_nobody_in(done.stdout + done.stderr)
    return done


def test_status_for_people(call_here, filled):
    done = run(call_here, filled, "status")
    assert done.returncode == 0
    said = " ".join(done.stdout.split())
    assert "received 1, oldest" in said
    assert "! pacs: 2 radiographs to be delivered" in said
    assert f"{filled.damaged}: parked" in said
    assert "damaged: the file ends too early Look at it in a viewer." in said
    assert f"pacs: {ERROR}" in said


def test_status_for_programs(call_here, filled):
    done = run(call_here, filled, "status", "--json")
    told = json.loads(done.stdout)
    assert {one["state"]: one["count"] for one in told["queue"]}["parked"] == 2
    assert {one["instance"] for one in told["parked"]} == {filled.damaged, filled.undelivered}
    assert told["deliveries"][0]["destination"] == "pacs"
    assert told["notices"]


def test_retry_of_some(call_here, filled):
    done = run(call_here, filled, "retry", filled.damaged)
    assert (done.returncode, done.stdout) == (0, "1 radiograph goes on.\n")
    assert filled.store.instance(filled.damaged).state is State.RECEIVED
    assert filled.store.instance(filled.undelivered).state is State.PARKED


def test_retry_of_what_is_not_parked_is_said(call_here, filled):
    done = run(call_here, filled, "retry", filled.undelivered, filled.delivered, 4711)
    assert (done.returncode, done.stdout) == (1, "1 radiograph goes on.\n")
    assert f"{filled.delivered}: it is delivered, not parked." in done.stderr
    assert "4711: no such number." in done.stderr
    assert filled.store.instance(filled.undelivered).state is State.SEGMENTED


def test_retry_of_all(call_here, filled):
    assert run(call_here, filled, "retry", "--all").stdout == "2 radiographs go on.\n"
    assert filled.store.counts()[State.PARKED] == 0
    assert run(call_here, filled, "retry", "--all").stdout == "0 radiographs go on.\n"


@pytest.mark.parametrize("words", [[], ["--all", "6"]])
def test_retry_of_what_is_a_question(call_here, filled, words):
    done = run(call_here, filled, "retry", *words)
    assert done.returncode == 2
    assert "--all" in done.stderr
    assert filled.store.counts()[State.PARKED] == 2


def test_failures_as_a_table_tell_of_nobody_unless_asked(call_here, filled, tmp_path):
    path = tmp_path / "failures.csv"
    assert "2 parked radiographs" in run(call_here, filled, "export-failures", "-o", path).stdout
    text = path.read_text(encoding="utf-8")
    filled.assert_nobody_in(text)
    rows = {row["instance"]: row for row in csv.DictReader(text.splitlines())}
    assert rows.keys() == {str(filled.damaged), str(filled.undelivered)}
    assert rows[str(filled.undelivered)]["destinations"] == f"pacs: {ERROR}"
    assert rows[str(filled.damaged)]["code"] == "damaged"
    assert rows[str(filled.damaged)]["what_to_do"]
    run(call_here, filled, "export-failures", "--with-uids", "-o", path)
    rows = {row["instance"]: row for row in csv.DictReader(path.read_text(encoding="utf-8").splitlines())}
    uids = filled.uids_of(filled.damaged)
    row = rows[str(filled.damaged)]
    assert (row["sop_instance_uid"], row["study_instance_uid"], row["series_instance_uid"]) == uids
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert "Zzyzx" not in path.read_text(encoding="utf-8")


def test_a_folder_without_a_node_is_said(call_here, tmp_path):
    for words in (["status"], ["retry", "--all"], ["export-failures", "-o", tmp_path / "x.csv"]):
        done = call_here("node", words[0], "--state", tmp_path, *words[1:])
        assert done.returncode == 2
        assert "no node has used this state folder" in " ".join(done.stderr.split())
    assert list(tmp_path.iterdir()) == []


def test_beside_a_node_that_writes(call_lungfield, filled):
    """In a process of its own, while another claims, parks and retries without a pause."""
    store, ended, failed = filled.store, threading.Event(), []

    def work():
        try:
            while not ended.is_set():
                store.park(filled.received)
                store.retry([filled.received])
        except Exception as error:
            failed.append(error)

    worker = threading.Thread(target=work)
    worker.start()
    try:
        status = run(call_lungfield, filled, "status", "--json")
        retried = run(call_lungfield, filled, "retry", filled.damaged)
    finally:
        ended.set()
        worker.join()
    assert failed == []
    assert sum(one["count"] for one in json.loads(status.stdout)["queue"]) == 7
    assert (retried.returncode, retried.stdout) == (0, "1 radiograph goes on.\n")
    (one,) = (one for one in store.claim(10) if one.id == filled.damaged)
    assert one.state is State.RECEIVED
