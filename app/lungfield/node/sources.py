"""Sources of radiographs besides the DICOM port: watched folders and polled archives."""

from __future__ import annotations

import time

from lungfield.node.incoming import Incoming
from lungfield.node.polling import Poller
from lungfield.node.settings import Settings
from lungfield.node.store import Store
from lungfield.node.watching import Watcher


class Sources:
    """Runs a thread for each watched folder and each polled archive.

    Args:
        settings: of the node.
        store: its queue.
        incoming: stores the objects.

    Raises:
        DataError: an archive's certificates cannot be used.
    """

    def __init__(self, settings: Settings, store: Store, incoming: Incoming) -> None:
        self._threads: list[Watcher | Poller] = [
            *(Watcher(settings, store, incoming, folder) for folder in settings.watch),
            *(Poller(settings, store, incoming, poll) for poll in settings.poll),
        ]

    def start(self) -> None:
        """Start the threads."""
        for one in self._threads:
            one.start()

    def stop(self, limit_s: float = 5.0) -> bool:
        """Stop within `limit_s` seconds, and return whether all threads ended."""
        end = time.monotonic() + limit_s
        for one in self._threads:
            one.close()
        for one in self._threads:
            if one.is_alive():
                one.join(max(0.0, end - time.monotonic()))
        return not any(one.is_alive() for one in self._threads)
