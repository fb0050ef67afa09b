"""The node's HTTP application: page, health and metrics."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from importlib import resources
from importlib.metadata import version
from urllib.parse import parse_qs

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from lungfield.errors import LungfieldError
from lungfield.export.report.messages import FLAGS
from lungfield.node import metrics, pictures, web_security
from lungfield.node.formatting import duration, number, size
from lungfield.node.readiness import Check, all_checks, readiness
from lungfield.node.settings import Settings, secret
from lungfield.node.status import Status, status_of
from lungfield.node.store import Store

REFRESH_S = 30
"""The interval at which the page reloads, in seconds."""

_LARGEST_FORM = 4096
_DONE = {
    "retried": "They go on.",
    "parked": "It is parked.",
    "late": "Nothing was changed: its state had changed meanwhile.",
}

logger = logging.getLogger(__name__)


class Page:
    """The handlers of the page's addresses.

    Args:
        settings: the node's.
        store: its queue.
        checks: of the parts that make it ready, by name.
    """

    def __init__(self, settings: Settings, store: Store, checks: Mapping[str, Check]) -> None:
        self._settings, self._store = settings, store
        self._checks = all_checks(settings, store, checks)
        self._metrics = metrics.Metrics(store, self._status, self._readiness)
        self._forms = web_security.Forms(encrypted=settings.http_tls.certificate is not None)
        environment = Environment(
            loader=PackageLoader("lungfield.node", "assets"), autoescape=True, undefined=StrictUndefined
        )
        environment.filters |= {"duration": duration, "size": size}
        environment.globals |= {"number": number, "flag_texts": FLAGS, "version": version("lungfield")}
        self._template = environment.get_template("page.html.j2")

    def application(self, host: str) -> Starlette:
        """The web application.

        Args:
            host: the address that it listens on.
        """
        names = web_security.own_names(host, self._settings.http_hosts)
        return Starlette(
            routes=[
                Route("/", self.show),
                Route("/healthz", self.health),
                Route("/readyz", self.ready),
                Route("/metrics", self.tell_metrics),
                Route("/pictures/{number:int}", self.picture),
                Route("/style.css", _asset("style.css", "text/css")),
                Route("/icon.svg", _asset("icon.svg", "image/svg+xml")),
                Route("/retry", self.change, methods=["POST"]),
                Route("/{number:int}/{action:str}", self.change, methods=["POST"]),
            ],
            middleware=[
                Middleware(web_security.SecurityHeaders),
                Middleware(TrustedHostMiddleware, allowed_hosts=names, www_redirect=False),
                Middleware(web_security.Password, password=secret("PASSWORD", "http")),
            ],
            exception_handlers={LungfieldError: _unusable},
        )

    async def health(self, _: Request) -> Response:
        """Answer that the process is alive."""
        return PlainTextResponse("alive\n")

    def ready(self, _: Request) -> Response:
        """Whether the node can receive radiographs: 200, or 503 with the reason."""
        said = self._readiness()
        answer = {check: why or "ok" for check, why in said.items()}
        return JSONResponse(answer, status_code=503 if any(said.values()) else 200)

    def tell_metrics(self, _: Request) -> Response:
        """The metrics for Prometheus."""
        return Response(self._metrics.text(), headers={"Content-Type": metrics.CONTENT_TYPE})

    def picture(self, request: Request) -> Response:
        """The thumbnail of an instance."""
        content = None
        if self._settings.http_thumbnails:
            results = self._store.results(request.path_params["number"])
            content = pictures.thumbnail(results, self._settings.results)
        if content is None:
            return PlainTextResponse("There is no picture of it.\n", 404)
        return Response(content, media_type=pictures.MEDIA_TYPE)

    def show(self, request: Request) -> Response:
        """The page."""
        token, cookie = self._forms.token(request)
        text = self._template.render(
            status=self._status(),
            unready={check: why for check, why in self._readiness().items() if why},
            settings=self._settings,
            token=token,
            done=_DONE.get(request.query_params.get("done", ""), ""),
            refresh_s=None if "still" in request.query_params else REFRESH_S,
        )
        response = HTMLResponse(text)
        self._forms.give(response, cookie)
        return response

    async def change(self, request: Request) -> Response:
        """Retry or park the instances that a form of the page names."""
        body = await web_security.small_body(request, _LARGEST_FORM)
        if body is None:
            return PlainTextResponse("The form is too large.\n", 413)
        token = parse_qs(body.decode("latin-1")).get("token", [""])[0]
        objection = self._forms.objection(request, token)
        if objection:
            logger.warning("a form was refused", extra={"peer": _peer(request), "status": 403})
            return PlainTextResponse(f"{objection}\n", 403)
        which: int | None = request.path_params.get("number")
        action = request.path_params.get("action", "retry")
        if action not in ("retry", "park"):
            return PlainTextResponse("There is nothing here.\n", 404)
        return await run_in_threadpool(self._change, request, action, which)

    def _change(self, request: Request, action: str, which: int | None) -> Response:
        if action == "retry":
            changed = self._store.retry(None if which is None else [which])
        else:
            changed = int(which is not None and self._store.park(which))
        about: dict[str, int | str] = {"peer": _peer(request), "count": changed}
        logger.info("%s by hand", action, extra=about if which is None else about | {"instance": which})
        done = ("retried" if action == "retry" else "parked") if changed else "late"
        return RedirectResponse(f"/?done={done}", 303)

    def _status(self) -> Status:
        return status_of(
            self._store,
            self._settings.state,
            destinations=[one.name for one in self._settings.send_to],
            disk_threshold_bytes=self._settings.limits.disk_free_bytes,
        )

    def _readiness(self) -> dict[str, str]:
        return readiness(self._checks)


def _asset(name: str, media_type: str) -> Callable[[Request], Response]:
    content = resources.files("lungfield.node").joinpath("assets", name).read_bytes()

    async def answer(_: Request) -> Response:
        return Response(content, media_type=media_type)

    return answer


def _unusable(_: Request, error: Exception) -> Response:
    return PlainTextResponse(f"{error}\n", 503)


def _peer(request: Request) -> str:
    return request.client.host if request.client else ""
