"""Workers: what they may hold, and that they end with what they work for."""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import threading
import time
from multiprocessing.connection import Pipe
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from lungfield.batch import processes
from lungfield.batch.gpu import BatchedNetwork, NetworkError, remote_network
from lungfield.batch.interrupts import Interrupted, deferred, interruptible
from lungfield.batch.segment import importing
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
        signal.raise_signal(number)  # to this thread: a process with others may get it later
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


def test_imports_are_neither_interrupted_nor_collected():
    collects = []

    def import_a_package():
        with importing():
            collects.append(gc.isenabled())
            with contextlib.suppress(BaseException):  # as packages do that look for others
                signal.raise_signal(signal.SIGINT)
                time.sleep(0.01)

    with interruptible(), pytest.raises(Interrupted):
        import_a_package()
    assert [*collects, gc.isenabled()] == [False, True]


def test_an_interrupt_does_not_lose_the_fork_server(monkeypatch):
    """The signal comes when the process is there, and its number is not yet noted."""
    from multiprocessing import forkserver

    server = SimpleNamespace(_forkserver_pid=None)
    pid = os.posix_spawn("/bin/sleep", ["sleep", "60"], {})

    def ensure_running():
        signal.raise_signal(signal.SIGINT)
        time.sleep(0.01)
        server._forkserver_pid = pid

    monkeypatch.setattr(forkserver, "_forkserver", server)
    monkeypatch.setattr(processes._Started, "pid", None)  # and afterwards that of the other tests again
    monkeypatch.setattr(forkserver, "ensure_running", ensure_running)
    with interruptible(), pytest.raises(Interrupted):
        processes.start_forkserver()
    processes.stop_forkserver()
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL


def test_a_fork_server_of_others_is_left_alone(monkeypatch):
    from multiprocessing import forkserver

    monkeypatch.setattr(forkserver, "_forkserver", SimpleNamespace(_forkserver_pid=os.getpid()))
    monkeypatch.setattr(processes._Started, "pid", None)
    monkeypatch.setattr(forkserver, "ensure_running", lambda: None)
    processes.start_forkserver()
    processes.stop_forkserver()  # or this process would end here


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


def predictor_on(device, answers):
    return SimpleNamespace(device=torch.device(device), answers=answers)


def ask(network, *inputs):
    """What workers get that ask at the same time, one input each."""
    connections = [network.connect() for _ in inputs]
    for connection, value in zip(connections, inputs, strict=True):
        connection.send(np.full((1, 2, 2), value, dtype=np.float32))
    return [connection.recv() for connection in connections]


def test_memory_is_pinned_for_the_device_of_the_network(current, monkeypatch):
    pinned = []
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda tensor: pinned.append(current()) or tensor)
    network = BatchedNetwork(predictor_on("cuda:1", lambda batch: (batch, None)), batch_size=1)
    try:
        ((logits, mirrored),) = ask(network, 3)
        assert logits.shape == (1, 2, 2)
        assert mirrored is None
    finally:
        network.close()
    assert pinned == ["cuda:1"]


def test_each_worker_gets_its_own_answer_and_pays_for_its_own_fault_alone():
    sizes = []

    def answers(batch):
        sizes.append(len(batch))
        if (batch == 13).any():
            raise RuntimeError("out of memory")
        return 2 * batch, 3 * batch

    network = BatchedNetwork(predictor_on("cpu", answers), batch_size=2)
    try:
        first, failed, third = ask(network, 1, 13, 5)
    finally:
        network.close()
    assert [part.max() for part in first] == [2, 3]
    assert [part.max() for part in third] == [10, 15]
    assert isinstance(failed, NetworkError)
    assert failed.reason == Reason.OUT_OF_MEMORY
    assert max(sizes) <= 2


def test_what_waits_while_a_batch_is_computed_makes_the_next_batch():
    sizes, first_begun, go_on = [], threading.Event(), threading.Event()

    def answers(batch):
        sizes.append(len(batch))
        first_begun.set()
        go_on.wait(10)
        return batch, None

    network = BatchedNetwork(predictor_on("cpu", answers), batch_size=16)
    connections = [network.connect() for _ in range(4)]
    try:
        connections[0].send(np.zeros((1, 2, 2), dtype=np.float32))
        assert first_begun.wait(10)
        for connection in connections[1:]:
            connection.send(np.zeros((1, 2, 2), dtype=np.float32))
        go_on.set()
        assert [len(connection.recv()) for connection in connections] == [2] * 4
    finally:
        network.close()
    assert sizes == [1, 3]


def test_a_worker_that_has_ended_is_forgotten():
    network = BatchedNetwork(predictor_on("cpu", lambda batch: (batch, None)), batch_size=16)
    try:
        network.connect().close()
        assert len(ask(network, 1, 2)) == 2
    finally:
        network.close()


def test_a_failure_of_the_network_is_raised_in_the_worker():
    ours, theirs = Pipe()
    ours.send(NetworkError("the network failed on it (KeyError)", reason=Reason.OUT_OF_MEMORY))
    with pytest.raises(NetworkError) as caught:
        remote_network(theirs)(torch.zeros(1, 2, 2))
    assert caught.value.reason == Reason.OUT_OF_MEMORY


def test_mixed_precision_is_asked_of_the_device_of_the_input(current, monkeypatch):
    asked = []

    def autocast(*_, **__):
        asked.append(current())
        return contextlib.nullcontext()

    monkeypatch.setattr(torch, "autocast", autocast)
    inputs = SimpleNamespace(device=torch.device("cuda:1"))
    PrecisionInferer(lambda *_: torch.zeros(1), "bfloat16")(inputs, None)
    assert asked == ["cuda:1"]
