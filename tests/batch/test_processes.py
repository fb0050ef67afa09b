"""Workers: what they may hold, and that they end with what they work for."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections import deque
from pathlib import PurePath
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from lungfield.batch import processes
from lungfield.batch.interrupts import Interrupted, deferred, interruptible
from lungfield.batch.network import NetworkThreads
from lungfield.batch.pool import Pool, _Worker
from lungfield.batch.worker import DONE, FAILED, Ended, Job, PreparedFile, ended_row
from lungfield.bundles.precision import PrecisionInferer
from lungfield.errors import DataError, Reason, causes


@pytest.mark.parametrize(("number", "name"), [(11, "SIGSEGV"), (35, "signal 35")])
def test_every_signal_can_be_named(number, name):
    assert processes.signal_name(number) == name


def test_causes_are_told_once_each():
    first, second = ValueError("a"), DataError("b")
    first.__cause__, second.__cause__ = second, first
    assert list(causes(first)) == [first, second]
    assert list(causes(None)) == []


def test_a_deferred_interrupt_comes_at_the_end():
    steps = []

    def interrupted(number):
        os.kill(os.getpid(), number)
        time.sleep(0.01)
        steps.append(number)

    def as_one_step():
        with deferred(), deferred():
            interrupted(signal.SIGTERM)

    with interruptible():
        with pytest.raises(Interrupted) as caught:
            as_one_step()
        with pytest.raises(Interrupted):  # and then at once again
            interrupted(signal.SIGINT)
    assert steps == [signal.SIGTERM]
    assert caught.value.signal_number == signal.SIGTERM


def test_an_interrupt_does_not_lose_the_fork_server(monkeypatch):
    """The signal comes when the process is there, and its number is not yet noted."""
    from multiprocessing import forkserver

    server = SimpleNamespace(_forkserver_pid=None)
    pid = os.posix_spawn("/bin/sleep", ["sleep", "60"], {})

    def ensure_running():
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.01)
        server._forkserver_pid = pid

    monkeypatch.setattr(forkserver, "_forkserver", server)
    monkeypatch.setattr(forkserver, "ensure_running", ensure_running)
    with interruptible(), pytest.raises(Interrupted):
        processes.start_forkserver()
    processes.stop_forkserver()
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL


def test_a_fork_server_of_others_is_left_alone(monkeypatch):
    from multiprocessing import forkserver

    monkeypatch.setattr(forkserver, "_forkserver", SimpleNamespace(_forkserver_pid=os.getpid()))
    monkeypatch.setattr(forkserver, "ensure_running", lambda: None)
    processes.start_forkserver()
    processes.stop_forkserver()  # or this process would end here


# Memory -----------------------------------------------------------------------------------------------------


class FakeNetwork:
    def submit(self, ticket, network_input):
        pass


class FakeConnection:
    def __init__(self):
        self.sent, self.answers = [], deque()

    def send(self, message):
        self.sent.append(message.job.ticket)

    def recv(self):
        return self.answers.popleft()


def pool_of(jobs, ended, held=3):
    pool = Pool(None, None, FakeNetwork(), workers=0, held=held, time_limit_s=60)
    pool._jobs, pool._ended = iter(jobs), lambda job, end: ended.append((job.ticket, end.row["status"]))
    worker = _Worker(None, FakeConnection(), None, ready=True)
    pool._workers.append(worker)
    return pool, worker


def job(ticket):
    return Job(ticket, PurePath(f"{ticket}.png"), PurePath(f"{ticket}.png"), PurePath(str(ticket)))


def lacking_memory(one):
    return Ended(one.ticket, ended_row(one, FAILED, Reason.OUT_OF_MEMORY, "too little", 0.0))


def test_a_file_that_lacks_memory_beside_others_is_tried_alone():
    jobs, ended = [job(number) for number in range(4)], []
    pool, worker = pool_of(jobs, ended)
    answers = [PreparedFile(0, np.zeros(1)), PreparedFile(1, np.zeros(1)), lacking_memory(jobs[2])]
    for answer in answers:
        pool._dispatch()
        worker.connection.answers.append(answer)
        pool._receive(worker)
    assert worker.connection.sent == [0, 1, 2]
    pool._dispatch()
    assert worker.connection.sent == [0, 1, 2]  # two others are held
    assert ended == []
    worker.held.clear()
    pool._dispatch()
    assert worker.connection.sent == [0, 1, 2, 2]
    worker.connection.answers.append(PreparedFile(2, np.zeros(1)))
    pool._receive(worker)
    pool._dispatch()
    assert worker.connection.sent == [0, 1, 2, 2]  # nor is another put beside it
    worker.held.clear()
    pool._end(jobs[2], Ended(2, {"status": DONE}))
    pool._dispatch()
    assert worker.connection.sent == [0, 1, 2, 2, 3]


def test_a_file_that_lacks_memory_alone_fails():
    jobs, ended = [job(0)], []
    pool, worker = pool_of(jobs, ended)
    pool._dispatch()
    worker.connection.answers.append(lacking_memory(jobs[0]))
    pool._receive(worker)
    assert ended == [(0, FAILED)]
    assert not pool._dispatch()


# The second GPU ---------------------------------------------------------------------------------------------


@pytest.fixture
def current(monkeypatch):
    """The device that is current in each thread, as torch.cuda.device would set it."""
    state = threading.local()

    @contextlib.contextmanager
    def device(place):
        before = getattr(state, "place", "cuda:0")
        state.place = str(place)
        try:
            yield
        finally:
            state.place = before

    monkeypatch.setattr(torch.cuda, "device", device)
    return lambda: getattr(state, "place", "cuda:0")


def test_memory_is_pinned_for_the_device_of_the_network(current, monkeypatch):
    pinned = []
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda tensor: pinned.append(current()) or tensor)
    predictor = SimpleNamespace(device=torch.device("cuda:1"), logits=lambda batch: batch)
    network = NetworkThreads(predictor, batch_size=1, threads=1)
    try:
        network.submit(0, np.zeros((1, 2, 2), dtype=np.float32))
        assert network.bell.poll(10)
        ((_, (logits, _)),) = network.answers()
        assert logits.shape == (1, 2, 2)
    finally:
        network.close()
    assert pinned == ["cuda:1"]


def test_mixed_precision_is_asked_of_the_device_of_the_input(current, monkeypatch):
    asked = []

    def autocast(*_, **__):
        asked.append(current())
        return contextlib.nullcontext()

    monkeypatch.setattr(torch, "autocast", autocast)
    inputs = SimpleNamespace(device=torch.device("cuda:1"))
    PrecisionInferer(lambda *_: torch.zeros(1), "bfloat16")(inputs, None)
    assert asked == ["cuda:1"]
