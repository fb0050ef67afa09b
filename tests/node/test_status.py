"""What is told of a node: all that is stuck, why, and what to do; and of nobody."""

import json
import time
from dataclasses import replace

import pytest
from filled import ERROR, FLAGS

from lungfield.errors import Reason
from lungfield.export.report.messages import REASONS
from lungfield.node.advice import ADVICE, UNKNOWN, advice
from lungfield.node.formatting import duration, number, size
from lungfield.node.records import State
from lungfield.node.status import status_of


def told(filled, **options):
    options = {"destinations": [one.name for one in filled.settings.send_to]} | options
    return status_of(filled.store, filled.settings.state, **options)


def test_counts_and_ages(filled):
    status = told(filled, now=time.time() + 60)
    assert {one.state: one.count for one in status.queue} == {
        **{"received": 1, "segmented": 2, "delivered": 1, "skipped": 1, "parked": 2}
    }
    assert [one.state for one in status.queue if one.oldest_s is not None] == [
        *("received", "segmented", "parked")
    ]
    assert (status.failures, status.skipped) == ({"damaged": 1, "not-delivered": 1}, {"other-view": 1})
    assert status.disk_free_bytes > 0


def test_destinations_tell_their_last_error_and_their_next_try(filled):
    pacs, web, spare = told(filled).deliveries
    assert [one.destination for one in (pacs, web, spare)] == ["pacs", "web", "spare"]
    assert pacs.counts == {"waiting": 1, "sent": 1, "delivered": 1, "parked": 1, "replaced": 0}
    assert pacs.error == f"{ERROR} [UID]"
    assert (pacs.attempts, pacs.open) == (1, 2)
    assert 0 < pacs.next_attempt_s <= 600
    assert web.counts["delivered"] == 4
    assert web.oldest_s is web.next_attempt_s is None
    assert spare.open == 0


def test_what_is_parked_tells_why_and_what_to_do(filled):
    parked = {one.instance: one for one in told(filled).parked}
    assert parked.keys() == {filled.damaged, filled.undelivered}
    damaged, undelivered = parked[filled.damaged], parked[filled.undelivered]
    assert (damaged.code, damaged.reason) == ("damaged", "the file ends too early")
    assert damaged.advice == ADVICE["damaged"]
    assert undelivered.destinations == {"pacs": ERROR}
    assert undelivered.attempts == 1


def test_what_waits_tells_for_whom(filled):
    waiting = {one.instance: one for one in told(filled).waiting}
    assert list(waiting) == sorted((filled.received, filled.retrying, filled.committing))
    assert waiting[filled.received].destinations == {}
    assert waiting[filled.committing].destinations == {"pacs": ""}


def test_outcomes_have_areas_flags_and_a_picture(filled):
    outcomes = {one.instance: one for one in told(filled).outcomes}
    assert outcomes.keys() == {filled.retrying, filled.committing, filled.delivered, filled.skipped}
    one = outcomes[filled.retrying]
    assert (one.right_cm2, one.left_cm2, one.confidence, one.seconds) == (142.0, 123.0, 0.97, 1.5)
    assert one.flags == FLAGS
    assert one.picture
    assert (outcomes[filled.skipped].code, outcomes[filled.skipped].picture) == ("other-view", False)


def test_notices_say_what_needs_a_person(filled):
    later = time.time() + 3600
    texts = [one.text for one in told(filled, now=later, disk_threshold_bytes=1 << 60).notices]
    assert len(texts) == 3
    assert "refuses new radiographs (status A700)" in texts[0]
    assert texts[1].startswith("pacs: 2 radiographs to be delivered")
    assert ERROR in texts[1]
    assert texts[2] == "2 radiographs are parked."
    assert all(one.advice for one in told(filled, now=later).notices)


def test_a_commitment_that_does_not_come_and_a_lost_destination_are_said(filled):
    (waiting,) = (one for one in filled.store.deliveries(filled.retrying) if one.destination == "pacs")
    filled.store.delivered(waiting.id)
    (text,) = (one.text for one in told(filled, now=time.time() + 3600).notices if "pacs" in one.text)
    assert "has not confirmed that they are stored" in text
    (text,) = (one.text for one in told(filled, destinations=["web"]).notices if "pacs" in one.text)
    assert "the node's settings do not define this destination" in text


def test_a_long_wait_for_workers_is_said(filled):
    status = told(filled)
    slow = [replace(one, oldest_s=1000.0) if one.state == State.RECEIVED else one for one in status.queue]
    texts = [one.text for one in replace(status, queue=tuple(slow)).notices]
    assert texts[0] == "1 radiograph to be segmented; the oldest has waited for 16 min."


def test_nobody_is_told(filled):
    text = json.dumps(told(filled).to_json())
    filled.assert_nobody_in(text)
    assert str(filled.settings.state) not in text


def test_every_reason_has_its_advice():
    assert {str(reason) for reason in Reason} == {str(reason) for reason in REASONS}
    assert all(advice(reason) != UNKNOWN for reason in Reason)
    assert advice("something new") == UNKNOWN


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, "–"), (0.4, "0 s"), (119, "119 s"), (120, "2 min"), (7200, "2 h"), (172800, "2 d")],
)
def test_durations(seconds, text):
    assert duration(seconds) == text


def test_amounts():
    assert (size(2.5e9), size(2.6e7)) == ("2.5 GB", "26 MB")
    assert (number(1, "try", "tries"), number(2000, "try", "tries")) == ("1 try", "2,000 tries")
