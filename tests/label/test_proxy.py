"""What the server passes on to its archive, with its password: questions of DICOMweb, and nothing else."""

from __future__ import annotations

import http.client
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

pytest.importorskip("lungfield.label.routes", reason="needs MONAI Label: docs/monai-label.md")

import uvicorn
from monailabel.config import settings

from lungfield.label.asgi import app

UID = "1.2.826.0.1.3680043"
STUDY, SERIES = f"studies/{UID}.1", f"studies/{UID}.1/series/{UID}.2"
INSTANCE = f"{SERIES}/instances/{UID}.3"
PASSED_ON = [
    "studies",
    "series",
    "instances",
    f"{STUDY}/series",
    f"{STUDY}/instances",
    f"{SERIES}/instances",
    *(f"{place}{what}" for place in (STUDY, SERIES, INSTANCE) for what in ("", "/metadata", "/rendered")),
    f"{INSTANCE}/thumbnail",
    f"{INSTANCE}/frames/1",
    f"{INSTANCE}/frames/1,2,12",
    f"{INSTANCE}/frames/1/rendered",
    "studies/0",
    f"studies/{'1' * 64}",
]
REFUSED = [
    "",
    "/",
    "..",
    "../instances",
    "../../tools/execute-script",
    f"{STUDY}/../../../system",
    f"{STUDY}/..",
    "%2e%2e/system",
    "%2E%2E%2Fsystem",
    f"{STUDY}%2f..%2f..%2fsystem",
    "%252e%252e/system",
    "studies/%252e%252e%252fsystem",
    "%25252e%25252e/system",
    "studies/..%5csystem",
    "studies\\..\\system",
    "studies/%2e%2e;/system",
    "studies/%c0%ae%c0%ae/system",
    "studies/%ef%bc%8e%ef%bc%8e/system",
    f"studies/{UID}%00",
    f"studies/%0a{UID}",
    f"studies/{UID}%0a/series",
    f"studies/{UID}%0d%0aX:%20y",
    f"studies/{UID}%3f/../system",
    f"studies/{UID}%23",
    "studies/.",
    "studies/1.",
    "studies/.1",
    "studies/1..2",
    f"studies/{'1' * 65}",
    "studies/١",
    "studies/*",
    "studies//series",
    "/studies",
    "studies/",
    f"{STUDY}/series/{UID}/metadata/..",
    f"{INSTANCE}/frames",
    f"{INSTANCE}/frames/x",
    f"{INSTANCE}/frames/1,",
    f"{INSTANCE}/bulkdata/1",
    f"{STUDY}/anonymize",
    "system",
    "tools/lookup",
    "patients",
    "http://127.0.0.1/studies",
    "@127.0.0.1/studies",
]


class Archive:
    """Writes down who asks for what, and answers anything."""

    def __init__(self):
        self.asked = asked = []

        class Handler(BaseHTTPRequestHandler):
            def answer(self):
                asked.append((self.command, self.path, self.headers.get("Authorization")))
                self.send_response(200)
                self.send_header("Content-Type", "application/dicom+json")
                self.end_headers()
                self.wfile.write(b"[]")

            do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = do_PATCH = do_OPTIONS = answer  # noqa: N815

            def log_message(self, *words):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server.server_port}/dicom-web"


@pytest.fixture(scope="module")
def archive():
    one = Archive()
    yield one
    one.server.shutdown()


@pytest.fixture(scope="module")
def port():
    """Of the server, which is not told to load an app."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="critical", lifespan="off"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield server.servers[0].sockets[0].getsockname()[1]
    server.should_exit = True
    thread.join()


@pytest.fixture
def ask(port, archive, monkeypatch):
    """`ask(path, method) -> status`; the path goes out as it is, which no usual client does."""
    monkeypatch.setattr(settings, "MONAI_LABEL_STUDIES", archive.url)
    monkeypatch.setattr(settings, "MONAI_LABEL_DICOMWEB_USERNAME", "user")
    monkeypatch.setattr(settings, "MONAI_LABEL_DICOMWEB_PASSWORD", "word")
    archive.asked.clear()

    def send(path, method="GET"):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        # http.client refuses what is not ASCII or has control characters; none is here after encoding.
        connection.putrequest(method, path.encode().decode("latin-1"), skip_host=False)
        connection.putheader("Content-Length", "0")
        connection.endheaders()
        return connection.getresponse().status

    return send


@pytest.mark.parametrize("service", ["qido/", "wado/", ""])
@pytest.mark.parametrize("resource", PASSED_ON)
def test_dicomweb_is_passed_on(ask, archive, service, resource):
    assert ask(f"/proxy/dicom/{service}{resource}?limit=2&PatientName=D%26e*") == 200
    ((method, path, password),) = archive.asked
    assert (method, path) == ("GET", f"/dicom-web/{resource}?limit=2&PatientName=D%26e%2A")
    assert password.startswith("Basic ")


def test_services_may_have_prefixes(ask, archive, monkeypatch):
    monkeypatch.setattr(settings, "MONAI_LABEL_QIDO_PREFIX", "q")
    monkeypatch.setattr(settings, "MONAI_LABEL_WADO_PREFIX", "w")
    for path in (f"qido/{STUDY}/series", f"wado/{STUDY}", f"qido/{SERIES}/metadata"):
        assert ask(f"/proxy/dicom/{path}") == 200
    paths = [path for _, path, _ in archive.asked]
    assert paths == [
        f"/dicom-web/{path}" for path in (f"q/{STUDY}/series", f"w/{STUDY}", f"w/{SERIES}/metadata")
    ]


@pytest.mark.parametrize("service", ["qido/", "wado/", "stow/", ""])
@pytest.mark.parametrize("path", REFUSED)
def test_nothing_else_is(ask, archive, service, path):
    encoded = "".join(letter if letter.isascii() else "%D9%A1" for letter in path)
    assert ask(f"/proxy/dicom/{service}{encoded}") == 404
    assert archive.asked == []


@pytest.mark.parametrize(
    "start", ["/proxy/../proxy/dicom/", "//proxy/dicom/", "/proxy/dicom/../dicom/", "/proxy/%64icom/"]
)
def test_nor_by_a_detour(ask, archive, start):
    ask(f"{start}qido/../system")
    assert archive.asked == []


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS"])
@pytest.mark.parametrize(
    "path", ["qido/studies", "wado/studies", "stow/studies", "studies", "tools/reset", "qido/../x"]
)
def test_questions_change_nothing(ask, archive, method, path):
    assert ask(f"/proxy/dicom/{path}", method) == 405
    assert archive.asked == []
