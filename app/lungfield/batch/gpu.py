"""The network on a GPU: it runs in the main process, in batches of the inputs that workers send."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from multiprocessing.connection import Connection, Pipe, wait
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from lungfield.bundles.device import current_device
from lungfield.bundles.predictor import Answer, Predictor
from lungfield.errors import LungfieldError, Reason

Array = NDArray[np.float32]
_Reply = tuple[Array, Array | None]


class NetworkError(LungfieldError):
    """The network failed on a radiograph."""


class BatchedNetwork:
    """Runs the network for worker processes in one thread, with one connection to each worker.

    The inputs that arrive while a batch is computed make up the next batch. So no worker waits for a batch to
    fill.

    Args:
        predictor: the loaded bundle.
        batch_size: the largest number of radiographs in a batch.
    """

    def __init__(self, predictor: Predictor, *, batch_size: int) -> None:
        self._predictor = predictor
        self._batch_size = batch_size
        self._workers: list[Connection] = []
        self._changing = threading.Lock()
        # Wakes the thread for a new worker, and at the end.
        self._wake_reader, self._wake_writer = Pipe(duplex=False)
        self._closed = False
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def connect(self) -> Connection:
        """A connection for a new worker process; close it in this process once the worker has started."""
        ours, theirs = Pipe()
        with self._changing:
            self._workers.append(ours)
        self._wake_writer.send_bytes(b"!")
        return theirs

    def close(self) -> None:
        """End the thread at once, also if workers wait for answers."""
        self._closed = True
        self._wake_writer.send_bytes(b"!")
        self._thread.join()
        for connection in (*self._workers, self._wake_reader, self._wake_writer):
            connection.close()

    def _serve(self) -> None:
        with current_device(self._predictor.device):
            while not self._closed:
                with self._changing:
                    handles = [self._wake_reader, *self._workers]
                asked = self._receive(wait(handles))
                while asked:
                    shape = asked[0][1].shape
                    batch = [one for one in asked if one[1].shape == shape][: self._batch_size]
                    chosen = {worker for worker, _ in batch}
                    asked = [one for one in asked if one[0] not in chosen]
                    self._answer(batch)

    def _receive(self, handles: list[Any]) -> list[tuple[Connection, Array]]:
        """The inputs that have arrived, with their connections; connections of ended workers are removed."""
        asked = []
        for handle in handles:
            if handle is self._wake_reader:
                self._wake_reader.recv_bytes()
                continue
            try:
                asked.append((handle, handle.recv()))
            except (EOFError, OSError):
                with self._changing:
                    self._workers.remove(handle)
                handle.close()
        return asked

    def _answer(self, batch: list[tuple[Connection, Array]]) -> None:
        answers = self._run([array for _, array in batch])
        for (worker, _), answer in zip(batch, answers, strict=True):
            with contextlib.suppress(OSError):  # the worker has ended
                worker.send(answer)

    def _run(self, arrays: list[Array]) -> list[_Reply | NetworkError]:
        try:
            batch = torch.from_numpy(np.stack(arrays))
            if self._predictor.device.type == "cuda":
                batch = batch.pin_memory()
            logits, mirrored = self._predictor.answers(batch)
        except Exception as error:
            # An input that fails must not fail the rest of its batch: run them one by one.
            return [_failure(error)] if len(arrays) == 1 else [self._run([one])[0] for one in arrays]
        flipped = [None] * len(arrays) if mirrored is None else mirrored.numpy()
        return list(zip(logits.numpy(), flipped, strict=True))


def remote_network(network: Connection) -> Callable[[torch.Tensor], Answer]:
    """A function that runs the network in a `BatchedNetwork`, for use in a worker.

    Args:
        network: a connection from `BatchedNetwork.connect`.

    Returns:
        A function of a network input (C, h, w) float32 that returns its `Answer`, and raises `NetworkError`
        if the network failed on it.
    """

    def answer(network_input: torch.Tensor) -> Answer:
        network.send(network_input.numpy())
        reply = network.recv()
        if isinstance(reply, NetworkError):
            raise reply
        logits, mirrored = reply
        return torch.from_numpy(logits), None if mirrored is None else torch.from_numpy(mirrored)

    return answer


def _failure(error: Exception) -> NetworkError:
    lacks_memory = isinstance(error, MemoryError) or "memory" in str(error).lower()
    reason = Reason.OUT_OF_MEMORY if lacks_memory else Reason.INTERNAL
    return NetworkError(f"the network failed on it ({type(error).__name__})", reason=reason)
