"""The node as a whole: its parts in the order in which they start, and end when SIGTERM asks."""

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
"""Of the time to drain, what is left to the threads that deliver and to the page."""


def require_packages() -> None:
    """Raise `BundleError`, with what to install, where a package of the node is missing."""
    missing = [name for name in _PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise BundleError(f"The node needs {missing[0]}: pip install 'lungfield[node]'; see docs/node.md.")


class Node:
    """All parts of a node, on one state folder; `start` and `stop` are called once each.

    Args:
        settings: what it is told.

    Raises:
        BundleError: there is no such bundle, it has no weights, or a package is missing.
        DataError: another node works on this state folder, or the settings do not fit.
        OutputError: the state folder cannot be written, or an address cannot be listened on.
    """

    def __init__(self, settings: Settings) -> None:
        require_packages()
        from lungfield.node.working import chosen_bundle

        self._settings = settings
        self._ended = threading.Event()
        # Unlike an event, a signal handler may put into it at any moment.
        self._asked: queue.SimpleQueue[Exception | None] = queue.SimpleQueue()
        self._closing = contextlib.ExitStack()
        bundle = chosen_bundle(settings)
        with self._closing_on_error():
            self._closing.enter_context(_locked(settings))
            # First of all, as its imports take seconds: workers are forked from it.
            self._context = start_forkserver(*preloads(bundle, settings.backend))
            self._closing.callback(stop_forkserver)
            self._open()

    @property
    def port(self) -> int:
        """Where it listens for DICOM."""
        return self._receiver.port

    @property
    def url(self) -> str:
        """Where its page is; '' where it has none."""
        return "" if self._page is None else self._page.url

    def wait(self) -> None:
        """Wait until `end` is called, or a part cannot go on.

        Raises:
            LungfieldError: a part cannot go on.
        """
        error = self._asked.get()
        self._ended.set()
        if error is not None:
            raise error

    def end(self) -> None:
        """Let `wait` return; for signal handlers, too."""
        self._asked.put(None)

    def stop(self) -> None:
        """Take nothing more, let what is in hand end, and close everything, within `Limits.drain_s`."""
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
            "workers": lambda: self._working.hindrance,
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
        settings: what it is told.
        begun: called once it listens.

    Raises:
        BundleError, DataError, OutputError: as `Node`; or a part could not go on.
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
    # A peer that breaks the protocol can end a thread of pynetdicom; that is no news to a person.
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
    """One node a state folder, which is made where it is missing."""
    state = settings.state
    try:
        state.mkdir(parents=True, exist_ok=True, mode=0o700)
        for folder in (settings.incoming, settings.results):
            folder.mkdir(exist_ok=True, mode=0o700)
        lock = FileLock(state / "node.lock")
        lock.acquire(timeout=0)
    except Timeout as error:
        raise DataError(
            f"Another node works on {state}. Stop it, or give this one a state folder of its own."
        ) from error
    except OSError as error:
        raise OutputError(f"The state folder {state} cannot be written to: {error.strerror}.") from error
    try:
        yield
    finally:
        lock.release()
