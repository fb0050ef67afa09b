"""Senders that, like a modality, repeat each radiograph until it is answered with success."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from pathlib import Path

import pydicom
import pynetdicom

SUCCESS = 0x0000
_PAUSE_S = 0.2


class Senders:
    """Sends files over several associations at once.

    Attributes:
        answered: SOPInstanceUIDs that were answered with success, with the time.
        tries: number of attempts.

    Args:
        port: of the node, on 127.0.0.1.
        paths: files to send.
        associations: number of parallel associations.
        ae_title: of the node.
        over_s: duration of sending in seconds, with pauses; 0 for as fast as possible.
    """

    def __init__(
        self,
        port: int,
        paths: Sequence[Path],
        *,
        associations: int,
        ae_title: str = "LUNGFIELD",
        over_s: float = 0.0,
    ) -> None:
        self.answered: dict[str, float] = {}
        self.tries = 0
        self._port, self._ae_title = port, ae_title
        self._pause_s = over_s * associations / max(len(paths), 1)
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._send, args=(paths[number::associations],), daemon=True)
            for number in range(associations)
        ]

    def start(self) -> None:
        """Start the senders."""
        for one in self._threads:
            one.start()

    def wait(self, limit_s: float) -> bool:
        """Wait until all are answered; return False after `limit_s` seconds."""
        end = time.monotonic() + limit_s
        for one in self._threads:
            one.join(max(0.0, end - time.monotonic()))
        return not any(one.is_alive() for one in self._threads)

    def stop(self) -> None:
        """Stop sending."""
        self._stop.set()

    def _send(self, paths: Sequence[Path]) -> None:
        left = list(paths)
        while left and not self._stop.is_set():
            dataset = pydicom.dcmread(left[0])
            client = pynetdicom.AE("MODALITY")
            client.add_requested_context(dataset.SOPClassUID, dataset.file_meta.TransferSyntaxUID)
            client.acse_timeout = client.dimse_timeout = client.network_timeout = 30
            association = client.associate("127.0.0.1", self._port, ae_title=self._ae_title)
            while left and association.is_established and not self._stop.is_set():
                dataset = pydicom.dcmread(left[0])
                self.tries += 1
                try:
                    status = association.send_c_store(dataset)
                except (RuntimeError, ValueError, OSError):  # it was cut in the middle
                    break
                if status.get("Status") != SUCCESS:
                    break
                self.answered[str(dataset.SOPInstanceUID)] = time.monotonic()
                left.pop(0)
                self._stop.wait(self._pause_s)
            if association.is_established:
                association.release()
            elif left:
                time.sleep(_PAUSE_S)
