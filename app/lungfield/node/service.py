"""The node as a whole: it starts its parts in order, and stops them on SIGTERM."""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import os
import queue
import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from filelock import FileLock, Timeout

from lungfield.batch.processes import start_forkserver, stop_forkserver
from lungfield.batch.segment import preloads
from lungfield.errors import BundleError, DataError, LungfieldError, OutputError
from lungfield.node.settings import Settings

logger = logging.getLogger(__name__)

_PACKAGES = ("pynetdicom", "dicomweb_client", "starlette", "uvicorn", "prometheus_client")
_SWEEP_EVERY_S = 300.0
_END_S = 6.0
"""The part of `Limits.drain_s` that is reserved for the delivering threads and the page."""


def require_packages() -> None:
    """Raise `BundleError`, with the command to install it, if a package of the node is missing."""
    missing = [name for name in _PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise BundleError(f"The node needs {missing[0]}: pip install 'lungfield[node]'; see docs/node.md.")


class Node:
    """A running node on one state folder; call `stop` once.

    Args:
        settings: its settings.

    Raises:
        BundleError: the bundle does not exist or has no weights, or a package is missing.
        DataError: another node uses this state folder, or the settings are invalid.
        OutputError: the state folder cannot be written, or the node cannot listen on an address.
    """

    def __init__(self, settings: Settings) -> None:
        require_packages()
        from lungfield.node.working import chosen_bundle

        self._settings = settings
        self._ended = threading.Event()
        # A SimpleQueue: unlike an event, it is safe to use in a signal handler at any moment.
        self._asked: queue.SimpleQueue[Exception | None] = queue.SimpleQueue()
        self._closing = contextlib.ExitStack()
        bundle = chosen_bundle(settings)
        with self._closing_on_error():
            self._closing.enter_context(_locked(settings))
            # Start it first: its imports take seconds, and workers are forked from it.
            self._context = start_forkserver(*preloads(bundle, settings.backend, settings.formats))
            self._closing.callback(stop_forkserver)
            self._open()

    @property
    def port(self) -> int:
        """The port that it listens on for DICOM."""
        return self._receiver.port

    @property
    def url(self) -> str:
        """The URL of its page; '' without a page."""
        return "" if self._page is None else self._page.url

    def wait(self) -> None:
        """Wait until `end` is called, or a part fails.

        Raises:
            LungfieldError: a part failed.
        """
        error = self._asked.get()
        self._ended.set()
        if error is not None:
            raise error

    def end(self) -> None:
        """Make `wait` return. Safe in signal handlers."""
        self._asked.put(None)

    def stop(self) -> None:
        """Refuse new objects, finish the current work, and close everything, within `Limits.drain_s`."""
        self._ended.set()
        deadline = time.monotonic() + self._settings.limits.drain_s
        self._receiver.close()
        self._sources.stop()
        self._working.close(max(0.0, deadline - time.monotonic() - _END_S))
        self._delivering.stop()
        if self._page is not None:
            self._page.stop()
        self._keeping.join(1.0)
        self._closing.close()
        logger.info("the node has ended")

    def _open(self) -> None:
        from lungfield.node.commitment import Commitments
        from lungfield.node.delivering import Delivering
        from lungfield.node.incoming import Incoming
        from lungfield.node.receiver import Receiver
        from lungfield.node.sources import Sources
        from lungfield.node.store import Store
        from lungfield.node.working import Working

        settings = self._settings
        store = self._store = Store(settings.database)
        self._closing.callback(store.close)
        incoming = Incoming(settings, store, lambda: self._working.ring())
        incoming.prepare()
        strays = incoming.remove_strays()
        if strays:
            logger.info("files were removed whose senders were never answered", extra={"count": strays})
        self._delivering = Delivering(settings, store, Commitments(settings, store))
        self._working = Working(
            settings, store, self._context, segmented=self._delivering.wake, failed=self._asked.put
        )
        self._sources = Sources(settings, store, incoming)
        self._page = self._made_page()
        if self._page is not None:
            self._closing.callback(self._page.stop)
        self._receiver = Receiver(settings, incoming, self._delivering.commitments.note)
        self._keeping = threading.Thread(target=self._keep_house, name="retention", daemon=True)
        for part in (self._working, self._delivering, self._sources, self._keeping, self._page):
            if part is not None:
                part.start()
        logger.info("the node has begun", extra={"port": self.port, "ae_title": settings.ae_title})

    def _made_page(self) -> Any:
        if not self._settings.http:
            return None
        from lungfield.node.web import Server

        checks: dict[str, Callable[[], str]] = {
            "receiving": lambda: "" if not self._ended.is_set() else "the node is being stopped",
            "workers": lambda: self._working.not_ready_reason,
        }
        return Server(self._settings, self._store, checks)

    def _keep_house(self) -> None:
        from lungfield.node.retention import sweep

        while not self._ended.wait(_SWEEP_EVERY_S):
            try:
                sweep(self._settings, self._store)
            except LungfieldError as error:
                logger.error("%s", error)

    @contextlib.contextmanager
    def _closing_on_error(self) -> Iterator[None]:
        try:
            yield
        except BaseException:
            self._closing.close()
            raise


def run(settings: Settings, begun: Callable[[Node], None] = lambda _: None) -> None:
    """Run a node until SIGTERM or SIGINT; in the main thread of a process of its own.

    Args:
        settings: of the node.
        begun: called with the node once it listens.

    Raises:
        BundleError, DataError, OutputError: as `Node`, or a part failed.
    """
    os.umask(0o077)
    node: Node | None = None
    stopping = False

    def stop(*_: object) -> None:
        nonlocal stopping
        stopping = True
        if node is not None:
            node.end()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    # A peer that breaks the protocol can end a thread of pynetdicom; a traceback would not help.
    threading.excepthook = lambda failed: logger.warning("a thread ended: %s", failed.exc_type.__name__)
    node = Node(settings)
    try:
        if not stopping:
            begun(node)
            node.wait()
    finally:
        node.stop()


@contextlib.contextmanager
def _locked(settings: Settings) -> Iterator[None]:
    """Create the state folder if it is missing, and lock it for this node."""
    state = settings.state
    try:
        state.mkdir(parents=True, exist_ok=True, mode=0o700)
        for folder in (settings.incoming, settings.results):
            folder.mkdir(exist_ok=True, mode=0o700)
        lock = FileLock(state / "node.lock")
        lock.acquire(timeout=0)
    except Timeout as error:
        raise DataError(
            f"Another node uses {state}. Stop it, or give this one its own state folder."
        ) from error
    except OSError as error:
        raise OutputError(f"The state folder {state} cannot be written to: {error.strerror}.") from error
    try:
        yield
    finally:
        lock.release()
