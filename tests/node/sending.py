"""A queue with results to deliver, and destinations that behave badly, for the tests of delivering."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from functools import cache
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Thread
from types import SimpleNamespace
from typing import Any

import numpy as np
import pydicom
from pydicom.uid import (
    ImplicitVRLittleEndian,
    JPEGBaseline8Bit,
    SecondaryCaptureImageStorage,
    generate_uid,
)
from pynetdicom import AE, evt

from lungfield.export import Algorithm, save_dicom_seg, save_secondary_capture, save_structured_report
from lungfield.mask import Regions, measure
from lungfield.node.delivering import Delivering
from lungfield.node.records import Delivery, Received, Result, Sending, State
from lungfield.node.settings import Destination, Settings
from lungfield.node.store import Store
from lungfield.radiograph import read_radiograph
from soaking.dcmtk import dcmtk

SAMPLE = Path(__file__).parents[2] / "sample_data" / "images" / "03_cr_monochrome1_implicit.dcm"
ALGORITHM = Algorithm("lungfield test", "1")
QUICK = {"first_retry_s": 0.1, "longest_retry_s": 0.4, "timeout_s": 5.0}


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def archive(port: int, name: str = "pacs", title: str = "PACS", **changes: Any) -> Destination:
    """A C-STORE destination on this machine that is tried again at once."""
    values = {"host": "127.0.0.1", "port": port, "ae_title": title, **QUICK, **changes}
    return Destination(name, "dicom", **values)


def web(url: str, name: str = "web", kind: str = "dicomweb", **changes: Any) -> Destination:
    """An HTTP destination that is tried again at once."""
    return Destination(name, kind, url=url, **{**QUICK, **changes})  # type: ignore[arg-type]


class Node:
    """A state folder whose queue holds segmented radiographs, and what delivers them.

    Args:
        folder: where it may write.
        send_to: its destinations.
    """

    def __init__(self, folder: Path, *send_to: Destination) -> None:
        self.settings = Settings(state=folder / "state", send_to=send_to, port=0)
        self.settings.state.mkdir(exist_ok=True)
        self.store = Store(self.settings.database)
        self.delivering = Delivering(self.settings, self.store)

    def add(self, count: int = 1, formats: tuple[str, ...] = ("sc",), **header: Any) -> list[int]:
        """Put radiographs with results into the queue; their numbers."""
        return [self._add(formats, header) for _ in range(count)]

    def _add(self, formats: tuple[str, ...], header: dict[str, Any]) -> int:
        dataset = pydicom.dcmread(SAMPLE)
        uid = dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        for keyword, value in header.items():
            setattr(dataset, keyword, value)
        name = sha256(uid.encode()).hexdigest()
        path = self.settings.incoming / name[:2] / f"{name}.dcm"
        path.parent.mkdir(parents=True, exist_ok=True)
        dataset.save_as(path)
        self.store.receive(
            Received(
                *(uid, dataset.SOPClassUID, dataset.file_meta.TransferSyntaxUID, dataset.StudyInstanceUID),
                *(dataset.SeriesInstanceUID, name, path.stat().st_size),
                *(path.relative_to(self.settings.state).as_posix(), "dicom"),
            )
        )
        (instance,) = self.store.claim(1)
        results, row = _results(path, self.settings.results, formats)
        names = [one.name for one in self.settings.first_destinations]
        self.store.segmented(instance.id, row, [(one, 1) for one in results], names)
        return instance.id

    def start(self) -> None:
        self.delivering.start()

    def restart(self, *send_to: Destination) -> None:
        """Another process with the same state folder, which may have other destinations."""
        self.delivering.stop()
        self.settings = replace(self.settings, send_to=send_to or self.settings.send_to)
        self.delivering = Delivering(self.settings, self.store)
        self.delivering.start()

    def send_again(self) -> None:
        """Let everything be as before its delivery, as after a kill before the answers were noted."""

        def change(database: Any) -> None:
            database.execute("UPDATE delivery SET state = 'waiting'")
            database.execute("UPDATE instance SET state = 'segmented'")

        self.store._database.write(change)
        self.delivering.wake()

    def close(self) -> None:
        self.delivering.stop(1.0)
        self.store.close()

    def until(self, number: int, *states: State, timeout_s: float = 15.0) -> State:
        """Wait until an instance has one of the states."""
        wait_until(lambda: self.store.instance(number).state in states, timeout_s, lambda: self.told(number))
        return self.store.instance(number).state

    def delivery(self, number: int, destination: str) -> Delivery:
        """The delivery of an instance to a destination."""
        return next(one for one in self.store.deliveries(number) if one.destination == destination)

    def until_delivery(
        self, number: int, destination: str, *states: Sending, timeout_s: float = 15.0
    ) -> Delivery:
        """Wait until a delivery has one of the states."""
        wait_until(
            lambda: self.delivery(number, destination).state in states, timeout_s, lambda: self.told(number)
        )
        return self.delivery(number, destination)

    def told(self, number: int) -> str:
        """All changes of an instance, for messages."""
        return "\n".join(map(str, self.store.transitions(number)))

    def uids(self, number: int) -> set[str]:
        """The identifiers of an instance's results."""
        return {one.sop_instance_uid for one in self.store.results(number)}


@contextmanager
def node(folder: Path, *send_to: Destination) -> Iterator[Node]:
    """A node that delivers nothing yet."""
    one = Node(folder, *send_to)
    try:
        yield one
    finally:
        one.close()


def _results(path: Path, folder: Path, formats: tuple[str, ...]) -> tuple[list[Result], dict[str, Any]]:
    """Results as of a radiograph: copies of one's, under identifiers of their own."""
    made, row = _template(formats)
    study = pydicom.dcmread(path, stop_before_pixels=True).StudyInstanceUID
    results = []
    for one in formats:
        dataset = pydicom.dcmread(BytesIO(made[one]))
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        dataset.StudyInstanceUID = study
        place = Path(one) / path.name
        (folder / one).mkdir(parents=True, exist_ok=True)
        dataset.save_as(folder / place)
        uids = (str(dataset.SOPClassUID), str(dataset.SOPInstanceUID), str(dataset.SeriesInstanceUID))
        results.append(Result(one, place.as_posix(), *uids))
    return results, row


@cache
def _template(formats: tuple[str, ...]) -> tuple[dict[str, bytes], dict[str, Any]]:
    """Real results of the sample, and its row."""
    radiograph = read_radiograph(SAMPLE)
    rows, columns = radiograph.stored_shape
    label_map = np.zeros((rows, columns), np.uint8)
    label_map[rows // 4 : rows // 2, columns // 8 : columns // 3] = 1
    label_map[rows // 4 : rows // 2, columns // 2 : columns // 4 * 3] = 2
    measurements = measure(Regions(label_map), radiograph.spacing)
    how: dict[str, Any] = {"algorithm": ALGORITHM, "created": datetime(2024, 1, 2, 3, 4, 5)}
    writers: dict[str, Callable[[Path], None]] = {
        "seg": lambda to: save_dicom_seg(radiograph, label_map, to, **how),
        "sr": lambda to: save_structured_report(radiograph, measurements, to, **how),
        "sc": lambda to: save_secondary_capture(radiograph, Regions(label_map), to, **how),
    }
    made = {}
    with TemporaryDirectory() as folder:
        for one in formats:
            writers[one](Path(folder) / one)
            made[one] = (Path(folder) / one).read_bytes()
    row = {"status": "done", "flags": ["asymmetric"], "bundle": "test", "bundle_version": "1"}
    return made, row | measurements.to_row()


class Peer:
    """An archive by pynetdicom: what it answers is up to the test; it keeps what it answers with success."""

    def __init__(self, answer=lambda event: 0x0000, *, tls=None, syntaxes=None, after=None):
        self.kept: list[str] = []
        self.datasets: list[pydicom.Dataset] = []
        self.associations = 0
        self._answer = answer
        entity = AE("PACS")
        wanted = syntaxes or [ImplicitVRLittleEndian, JPEGBaseline8Bit]
        entity.add_supported_context(SecondaryCaptureImageStorage, wanted)
        handlers = [(evt.EVT_C_STORE, self._store), (evt.EVT_ESTABLISHED, self._established)]
        self._server = entity.start_server(
            ("127.0.0.1", 0), block=False, ssl_context=tls, evt_handlers=handlers
        )
        self.port = self._server.server_address[1]

    def _established(self, event):
        self.associations += 1

    def _store(self, event):
        status = self._answer(event)
        if status == 0x0000 or 0xB000 <= status < 0xC000:
            self.kept.append(str(event.request.AffectedSOPInstanceUID))
            dataset = event.dataset
            dataset.file_meta = event.file_meta
            self.datasets.append(dataset)
        return status

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._server.shutdown()


def wait_until(
    condition: Callable[[], bool], timeout_s: float = 15.0, told: Callable[[], str] = lambda: ""
) -> None:
    """Wait for a condition; fail with what is told then where it does not come."""
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end, f"it did not come in {timeout_s} s\n{told()}"
        time.sleep(0.02)


@contextmanager
def storescp(folder: Path, *options: str, port: int = 0, title: str = "PACS") -> Iterator[SimpleNamespace]:
    """dcmtk's storescp, which keeps what it takes in `folder`."""
    folder.mkdir(exist_ok=True)
    port = port or free_port()
    command = [dcmtk("storescp"), "-aet", title, *options, "-od", str(folder), str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: listens(port))
        yield SimpleNamespace(port=port, folder=folder)
    finally:
        process.terminate()
        process.wait(timeout=10)


def listens(port: int) -> bool:
    """Whether a port of this machine takes connections."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def kept(folder: Path) -> list[str]:
    """The SOP Instance UIDs of the DICOM files in a folder, each as often as it is there."""
    return [str(pydicom.dcmread(one, stop_before_pixels=True).SOPInstanceUID) for one in folder.iterdir()]


@contextmanager
def http_server(
    answer: Callable[[SimpleNamespace], tuple[int, str, bytes]], context: Any = None
) -> Iterator[SimpleNamespace]:
    """An HTTP server that answers requests with (status, type, content), and keeps them."""
    requests: list[SimpleNamespace] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            request = SimpleNamespace(path=self.path, headers=self.headers, content=self._content())
            requests.append(request)
            status, kind, content = answer(request)
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST  # noqa: N815

        def _content(self) -> bytes:
            if self.headers.get("Transfer-Encoding") != "chunked":
                return self.rfile.read(int(self.headers.get("Content-Length") or 0))
            content = b""
            while size := int(self.rfile.readline(), 16):
                content += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return content

        def log_message(self, *_: Any) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    scheme = "http" if context is None else "https"
    try:
        yield SimpleNamespace(url=f"{scheme}://127.0.0.1:{server.server_port}", requests=requests)
    finally:
        server.shutdown()
        server.server_close()


def certificates(folder: Path) -> SimpleNamespace:
    """An authority, and the certificates that it has signed for this machine and for a client."""

    def openssl(*words: str) -> None:
        subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True)

    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    openssl(
        "req", "-x509", *key, "-keyout", "ca.key", "-out", "ca.pem", "-days", "2", "-subj", "/CN=authority"
    )
    for name, alternative in (
        ("server", "IP:127.0.0.1,DNS:localhost"),
        ("client", "DNS:node"),
        ("other", "DNS:other"),
    ):
        openssl("req", *key, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}")
        (folder / f"{name}.ext").write_text(f"subjectAltName={alternative}\n")
        openssl(
            *("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial"),
            *("-out", f"{name}.pem", "-days", "2", "-extfile", f"{name}.ext"),
        )
    return SimpleNamespace(**{one.name.replace(".", "_"): one for one in folder.iterdir()})


MISSING_DCMTK = "" if dcmtk("storescp") else "needs storescp (Debian: dcmtk)"
MISSING_OPENSSL = "" if shutil.which("openssl") else "needs openssl"
