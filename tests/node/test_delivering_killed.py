"""A process that delivers and is killed, again and again: nothing is lost, and nothing is there twice."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from collections import Counter

import pytest
from sending import MISSING_DCMTK, archive, kept, node, storescp, wait_until
from test_commitment import Archive

from lungfield.node.records import State

CHILD = """
import sys, time
from pathlib import Path
from lungfield.node.delivering import Delivering
from lungfield.node.settings import Destination, Settings
from lungfield.node.store import Store

state, port = Path(sys.argv[1]), int(sys.argv[2])
pacs = Destination("pacs", "dicom", host="127.0.0.1", port=port, ae_title="PACS", first_retry_s=0.1)
settings = Settings(state=state, send_to=(pacs,))
Delivering(settings, Store(settings.database)).start()
print("begun", flush=True)
time.sleep(60)
"""


def deliver_and_be_killed(state, port, after_s):
    """Deliver in a process of its own, and kill it so many seconds after it has begun."""
    process = subprocess.Popen([sys.executable, "-c", CHILD, str(state), str(port)], stdout=subprocess.PIPE)
    try:
        assert process.stdout.readline() == b"begun\n"
        time.sleep(after_s)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()


@pytest.mark.slow
@pytest.mark.skipif(bool(MISSING_DCMTK), reason=MISSING_DCMTK)
def test_killed_at_random_moments_every_result_arrives(tmp_path):
    moments = random.Random(14)
    with storescp(tmp_path / "pacs", "+xa") as pacs, node(tmp_path, archive(pacs.port)) as one:
        numbers = one.add(300)
        expected = {uid for number in numbers for uid in one.uids(number)}
        for _ in range(8):
            deliver_and_be_killed(one.settings.state, pacs.port, moments.uniform(0.0, 0.4))
        one.start()
        for number in numbers:
            one.until(number, State.DELIVERED, timeout_s=60)
        # storescp names files by their UIDs: one that comes again takes the place of itself.
        assert Counter(kept(pacs.folder)) == Counter(expected)


@pytest.mark.slow
def test_killed_between_question_and_report_every_result_is_committed(tmp_path):
    moments = random.Random(15)
    with Archive() as pacs, node(tmp_path, archive(pacs.port)) as one:
        numbers = one.add(60)
        for _ in range(6):
            deliver_and_be_killed(one.settings.state, pacs.port, moments.uniform(0.0, 0.5))
        one.start()
        for number in numbers:
            one.until(number, State.DELIVERED, timeout_s=60)
        committed = {uid for uids in pacs.asked for uid in uids}
        assert committed == {uid for number in numbers for uid in one.uids(number)}
        wait_until(lambda: set(pacs.kept) == committed)
