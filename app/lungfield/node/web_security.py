"""Protect the node's page from other sites in the user's browser, and from users without the password.

A browser sends requests of any site, also to addresses that only this machine can reach. So the page answers
only to its own host names, which a site with DNS rebinding to 127.0.0.1 does not have. It accepts a change
only from its own forms: from its own origin, with a token for a SameSite cookie (protection against CSRF).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import ipaddress
import secrets
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_HEADERS = {
    # Only the page's own styles and pictures: no scripts, no frames, no other sites.
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    # Not 'no-referrer', as browsers would then send 'Origin: null' with the page's own forms.
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
_FOR_PROBES = ("/healthz", "/readyz")
_COOKIE = "lungfield-node"
_COOKIE_LENGTH = 43  # of 32 random bytes


class SecurityHeaders:
    """Adds security headers to every response."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(_HEADERS)
            await send(message)

        await self._app(scope, receive, send_with_headers)


class Password:
    """Requires a password (HTTP basic authentication, RFC 7617) with any user name, except for probes.

    Args:
        app: the protected application.
        password: the password; None for no authentication.
    """

    def __init__(self, app: ASGIApp, password: str | None) -> None:
        self._app = app
        self._password = None if password is None else password.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if self._admits(scope):
            await self._app(scope, receive, send)
        else:
            asked = {"WWW-Authenticate": 'Basic realm="lungfield node", charset="UTF-8"'}
            await PlainTextResponse("The password is missing or wrong.", 401, asked)(scope, receive, send)

    def _admits(self, scope: Scope) -> bool:
        if scope["type"] != "http" or self._password is None or scope["path"] in _FOR_PROBES:
            return True
        return hmac.compare_digest(_given(Headers(scope=scope)), self._password)


def _given(headers: Headers) -> bytes:
    kind, _, value = headers.get("authorization", "").partition(" ")
    if kind.lower() != "basic":
        return b""
    try:
        return base64.b64decode(value, validate=True).partition(b":")[2]
    except (binascii.Error, ValueError):
        return b""


class Forms:
    """CSRF tokens: they prove that this process made a form for the browser that sends it."""

    def __init__(self, *, encrypted: bool) -> None:
        self._key = secrets.token_bytes(32)
        self._encrypted = encrypted
        # A browser accepts a cookie with this prefix only over https, from this host, for all of its paths.
        self._cookie = f"__Host-{_COOKIE}" if encrypted else _COOKIE

    def token(self, request: Request) -> tuple[str, str]:
        """The token for the forms of a response, and the value of its cookie."""
        cookie = request.cookies.get(self._cookie, "")
        if len(cookie) != _COOKIE_LENGTH:
            cookie = secrets.token_urlsafe(32)
        return self._of(cookie), cookie

    def give(self, response: Response, cookie: str) -> None:
        """Set the cookie for the browser's session."""
        response.set_cookie(
            self._cookie, cookie, path="/", httponly=True, samesite="strict", secure=self._encrypted
        )

    def objection(self, request: Request, token: str) -> str:
        """Why a form is refused, or ''."""
        origin, host = urlsplit(request.headers.get("origin", "")), request.headers.get("host", "")
        site = request.headers.get("sec-fetch-site", "same-origin")
        if origin.scheme not in ("http", "https") or origin.netloc.lower() != host.lower():
            return "The form was not sent from the node's own page."
        if site != "same-origin":
            return "The form was sent from another site."
        cookie = request.cookies.get(self._cookie, "")
        if not cookie or not hmac.compare_digest(self._of(cookie).encode(), token.encode()):
            return "The page is older than the node, or cookies are off: load the page again."
        return ""

    def _of(self, cookie: str) -> str:
        return hmac.new(self._key, cookie.encode(), hashlib.sha256).hexdigest()


async def small_body(request: Request, limit: int) -> bytes | None:
    """The body of a request; None if it is longer than `limit` bytes."""
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > limit:
            return None
    return body


def own_names(host: str, further: tuple[str, ...]) -> list[str]:
    """The host names that the page answers to.

    Args:
        host: the address or name that it listens on; a wildcard address adds the loopback names only.
        further: other names and addresses, with or without a port.
    """
    names = [_name(one) for one in further]
    if is_loopback(host) or _is_any(host):
        names += ["localhost", "127.0.0.1", "[::1]"]
    if not _is_any(host):
        names.append(_name(host))
    return list(dict.fromkeys(names))


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def _is_any(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.strip("[]")).is_unspecified
    except ValueError:
        return host == ""


def _name(text: str) -> str:
    """A name without its port; an IPv6 address is in brackets."""
    try:
        address = ipaddress.ip_address(text.strip("[]"))
    except ValueError:
        return urlsplit(f"//{text}").netloc.rpartition(":")[0] or text if text[-1:] != "]" else text
    return f"[{address}]" if address.version == 6 else str(address)
