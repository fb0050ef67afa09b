"""The server of the node's page over HTTP or HTTPS, in a thread."""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from lungfield.errors import DataError
from lungfield.node.page import Page
from lungfield.node.readiness import Check
from lungfield.node.receiver import server_tls
from lungfield.node.settings import Settings
from lungfield.node.store import Store
from lungfield.node.web_security import is_loopback

_CONNECTIONS = 64
_FIRST_BYTE_S = 10.0
_STOP_S = 5

logger = logging.getLogger(__name__)


class Server:
    """The page, served from a thread.

    Args:
        settings: the node's; `http` says where to listen.
        store: its queue.
        checks: the readiness checks of the node's parts, by name.

    Raises:
        DataError: the address is invalid or in use, or the certificate cannot be used.
    """

    def __init__(self, settings: Settings, store: Store, checks: Mapping[str, Check]) -> None:
        host, port = _address(settings.http)
        self._socket = _listening(host, port, settings.http)
        self._tls = settings.http_tls
        config = uvicorn.Config(
            Page(settings, store, checks).application(host),
            http=_Protocol,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=5,
            timeout_graceful_shutdown=_STOP_S,
        )
        config.load()
        if self._tls.certificate is not None:
            try:
                config.ssl = server_tls(self._tls)
            except DataError:
                self._socket.close()
                raise
        elif not is_loopback(host):
            logger.warning("the page is not encrypted, and other machines can reach it; set http_tls")
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._run, name="page", daemon=True)

    @property
    def url(self) -> str:
        """The URL of the page."""
        host, port = self._socket.getsockname()[:2]
        scheme = "http" if self._tls.certificate is None else "https"
        return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Stop within a few seconds; started requests are still answered."""
        self._server.should_exit = True
        if self._thread.is_alive():
            self._thread.join(_STOP_S + 2)
        self._socket.close()

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=_Loop) as runner:
            runner.run(self._server.serve(sockets=[self._socket]))


class _Loop(asyncio.SelectorEventLoop):
    """Sets a shorter timeout of the TLS handshake than asyncio's minute; uvicorn has no setting for it."""

    async def create_server(self, *args: Any, **options: Any) -> Any:
        if options.get("ssl") is not None:
            options["ssl_handshake_timeout"] = _FIRST_BYTE_S
        return await super().create_server(*args, **options)


class _Protocol(H11Protocol):
    """HTTP with a timeout for silent connections, which would use up the node's file descriptors."""

    def connection_made(self, transport: asyncio.Transport) -> None:
        super().connection_made(transport)
        if len(self.connections) > _CONNECTIONS:
            transport.close()
            return
        self.loop.call_later(_FIRST_BYTE_S, self._close_silent)

    def _close_silent(self) -> None:
        if self.cycle is None:
            self.transport.close()


def _address(text: str) -> tuple[str, int]:
    try:
        parts = urlsplit(f"//{text}")
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if host is None or port is None:
        raise DataError(f"'{text}' is no address for the page; give HOST:PORT, such as 127.0.0.1:8080.")
    return host, port


def _listening(host: str, port: int, text: str) -> socket.socket:
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        return socket.create_server(address[:2], family=family)
    except OSError as error:
        raise DataError(
            f"The page cannot listen on {text}: {error.strerror or error}; choose another address with "
            "`http`, or '' for no page."
        ) from error
