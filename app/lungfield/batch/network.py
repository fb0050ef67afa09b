"""The network's place in a batch: threads that take prepared radiographs and give logits."""

from __future__ import annotations

import threading
from collections import deque
from multiprocessing.connection import Connection, Pipe
from queue import Empty, SimpleQueue

import numpy as np
import torch
from numpy.typing import NDArray

from lungfield.bundles.precision import current_device
from lungfield.bundles.predictor import Predictor

Array = NDArray[np.float32]
Answer = tuple[Array, Array | None] | Exception
"""Logits (C, h, w), those of the mirrored radiograph mirrored back (where asked for); or what went wrong."""


class NetworkThreads:
    """Runs a network on what is submitted, apart from the thread that submits.

    On CUDA one thread gathers what waits into batches. On a CPU each thread takes one radiograph at a time
    and uses one core: the logits of a radiograph then are the same bits whatever else is in work, and no core
    waits for another.

    Args:
        predictor: the loaded bundle.
        batch_size: how many radiographs to a batch at most.
        threads: how many batches at a time.
        with_mirrored: also run the mirrored radiograph.
    """

    def __init__(
        self, predictor: Predictor, *, batch_size: int, threads: int, with_mirrored: bool = False
    ) -> None:
        self._predictor = predictor
        self._batch_size = batch_size
        self._with_mirrored = with_mirrored
        self._waiting: deque[tuple[int, Array]] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._answers: SimpleQueue[tuple[int, Answer]] = SimpleQueue()
        self.bell: Connection
        """Readable when answers wait: what `multiprocessing.connection.wait` can wait for."""
        self.bell, self._ringer = Pipe(duplex=False)
        self._ringing = threading.Lock()
        self._threads = [threading.Thread(target=self._work, daemon=True) for _ in range(threads)]
        for thread in self._threads:
            thread.start()

    def submit(self, ticket: int, network_input: Array) -> None:
        """Hand over a prepared radiograph, (C, h, w)."""
        with self._changed:
            self._waiting.append((ticket, network_input))
            self._changed.notify()

    def answers(self) -> list[tuple[int, Answer]]:
        """What is ready, in the order in which it became so."""
        while self.bell.poll():
            self.bell.recv_bytes()
        ready = []
        while True:
            try:
                ready.append(self._answers.get_nowait())
            except Empty:
                return ready

    def close(self) -> None:
        """End the threads, whatever waits."""
        with self._changed:
            self._closed = True
            self._waiting.clear()
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    def _work(self) -> None:
        with current_device(self._predictor.device):
            self._answer_all()

    def _answer_all(self) -> None:
        while batch := self._take():
            tickets = [ticket for ticket, _ in batch]
            for ticket, answer in zip(tickets, self._run([array for _, array in batch]), strict=True):
                self._answers.put((ticket, answer))
            with self._ringing:
                self._ringer.send_bytes(b"!")

    def _take(self) -> list[tuple[int, Array]]:
        """The next batch, of one shape; empty when the threads are to end."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closed)
            if self._closed:
                return []
            batch = [self._waiting.popleft()]
            while (
                len(batch) < self._batch_size
                and self._waiting
                and self._waiting[0][1].shape == batch[0][1].shape
            ):
                batch.append(self._waiting.popleft())
            return batch

    def _run(self, arrays: list[Array]) -> list[Answer]:
        try:
            batch = torch.from_numpy(np.stack(arrays))
            if self._predictor.device.type == "cuda":
                batch = batch.pin_memory()
            logits = self._predictor.logits(batch).cpu().numpy()
            if not self._with_mirrored:
                return [(one, None) for one in logits]
            mirrored = self._predictor.logits(batch.flip(-1)).flip(-1).cpu().numpy()
            return list(zip(logits, mirrored, strict=True))
        except Exception as error:
            # What one radiograph breaks, a batch of others must not pay for.
            return [error] if len(arrays) == 1 else [self._run([one])[0] for one in arrays]
