"""Retention deletes files of what is delivered or skipped, by age and by size, and of nothing else."""

import subprocess
import sys
import time
from dataclasses import replace

import pytest
from filled import receive, segment

from lungfield.errors import OutputError
from lungfield.node import retention
from lungfield.node.records import Receipt, Received, State
from lungfield.node.settings import Retention
from lungfield.node.store import Store

DAY_S = 86400.0
EVERYTHING = Retention(days=0.0, bytes=0, forget_days=400.0)


def files(filled):
    return set(filled.settings.state.rglob("*.dcm"))


def files_of(filled, number):
    store, settings = filled.store, filled.settings
    places = {settings.results / one.path for one in store.results(number)}
    return places | {settings.state / store.instance(number).path}


def sweep(filled, kept, now=None):
    return retention.sweep(replace(filled.settings, retention=kept), filled.store, now)


def test_only_what_is_delivered_or_skipped_goes(filled):
    before = files(filled)
    gone = files_of(filled, filled.delivered) | files_of(filled, filled.skipped)
    assert sweep(filled, EVERYTHING, time.time() + 1000 * DAY_S) == 2
    assert files(filled) == before - gone
    kept = {filled.received, filled.retrying, filled.committing, filled.damaged, filled.undelivered}
    for number in kept:
        assert all(path.exists() for path in files_of(filled, number))
        assert not filled.store.instance(number).purged


def test_by_age(filled):
    kept = Retention(days=7.0, bytes=1 << 40)
    before = files(filled)
    assert sweep(filled, kept, time.time() + 6.9 * DAY_S) == 0
    assert files(filled) == before
    assert sweep(filled, kept, time.time() + 7.1 * DAY_S) == 2
    assert sweep(filled, kept, time.time() + 7.1 * DAY_S) == 0


def test_by_size_the_oldest_go_until_the_rest_fits(filled):
    for number in (8, 9):
        receive(filled, number)
        (one,) = filled.store.claim(1)
        segment(filled, one.id)
        for delivery in filled.store.deliveries(one.id):
            filled.store.delivered(delivery.id)
    total = filled.store.bytes_kept()
    assert total == sum(path.stat().st_size for path in files(filled))
    assert sweep(filled, Retention(days=7.0, bytes=total)) == 0
    assert sweep(filled, Retention(days=7.0, bytes=total - 1)) == 1
    assert filled.store.instance(filled.delivered).purged
    assert filled.store.bytes_kept() == sum(path.stat().st_size for path in files(filled)) < total
    assert not filled.store.instance(8).purged


def test_what_was_deleted_is_still_known(filled):
    one = filled.store.instance(filled.delivered)
    sweep(filled, EVERYTHING)
    again = Received(**{name: getattr(one, name) for name in Received.__dataclass_fields__})
    assert filled.store.receive(again) is Receipt.KNOWN
    (result,) = filled.store.results(filled.delivered)
    assert filled.store.is_own(result.sop_instance_uid)


def test_rows_are_forgotten_much_later(filled):
    forgetful = replace(EVERYTHING, forget_days=30.0)
    sweep(filled, forgetful, time.time() + 29 * DAY_S)
    assert filled.store.instance(filled.delivered)
    sweep(filled, forgetful, time.time() + 31 * DAY_S)
    assert filled.store.instance(filled.delivered) is filled.store.instance(filled.skipped) is None
    assert filled.store.transitions(filled.delivered) == []
    assert sum(filled.store.counts().values()) == 5
    assert filled.store.counts()[State.PARKED] == 2


KILLED = """
import os, sys
from pathlib import Path
from dataclasses import replace
from lungfield.node import retention
from lungfield.node.settings import Retention, Settings
from lungfield.node.store import Store

settings = Settings(state=Path(sys.argv[1]), retention=Retention(days=0.0, bytes=0))
left = int(sys.argv[2])
remove = retention._remove

def until_killed(path):
    global left
    if not left:
        os.kill(os.getpid(), 9)
    left -= 1
    remove(path)

retention._remove = until_killed
retention.sweep(settings, Store(settings.database))
"""


@pytest.mark.parametrize("after", [0, 1, 2])
def test_a_kill_between_two_files_leaves_nothing_wrong(filled, after):
    expected = files(filled) - files_of(filled, filled.delivered) - files_of(filled, filled.skipped)
    words = [sys.executable, "-c", KILLED, str(filled.settings.state), str(after)]
    assert subprocess.run(words, check=False).returncode == -9
    store = Store(filled.settings.database)
    assert expected <= files(filled)
    for instance in (store.instance(filled.delivered), store.instance(filled.skipped)):
        assert not instance.purged or not (filled.settings.state / instance.path).exists()
    store.close()
    sweep(filled, EVERYTHING)
    assert files(filled) == expected
    assert filled.store.instance(filled.delivered).purged


def test_a_file_that_cannot_be_deleted_is_said_and_its_row_stays(filled):
    path = filled.settings.state / filled.store.instance(filled.delivered).path
    path.unlink()
    path.mkdir()
    with pytest.raises(OutputError, match="cannot be deleted"):
        sweep(filled, EVERYTHING)
    assert not filled.store.instance(filled.delivered).purged
