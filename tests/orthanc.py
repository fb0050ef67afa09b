"""A PACS for the tests: Orthanc (https://www.orthanc-server.com) on free ports of 127.0.0.1."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pydicom
import pynetdicom
import requests
from dicomweb_client import DICOMwebClient

ORTHANC = shutil.which("Orthanc", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")
DICOMWEB_PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
MISSING = (
    "" if ORTHANC and DICOMWEB_PLUGIN.exists() else "needs Orthanc (Debian: orthanc and orthanc-dicomweb)"
)
"""Why there is no PACS to test with; empty where there is one."""

_START_TIMEOUT_S = 30
_SENDER = "LUNGFIELD"


@dataclass(frozen=True)
class Orthanc:
    """A running server.

    Attributes:
        http_port: of its REST interface and DICOMweb.
        dicom_port: where it takes C-STORE.
        process: the server, for tests that kill it.
    """

    http_port: int
    dicom_port: int
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """The root of its REST interface."""
        return f"http://127.0.0.1:{self.http_port}"

    @property
    def dicomweb_url(self) -> str:
        """The root of QIDO-RS, WADO-RS and STOW-RS."""
        return f"{self.url}/dicom-web"

    def send(self, paths: Iterable[Path]) -> None:
        """Send DICOM files by C-STORE, each in the transfer syntax it is stored in."""
        for path in paths:
            dataset = pydicom.dcmread(path)
            client = pynetdicom.AE(ae_title=_SENDER)
            client.add_requested_context(dataset.SOPClassUID, dataset.file_meta.TransferSyntaxUID)
            association = client.associate("127.0.0.1", self.dicom_port, ae_title="ORTHANC")
            if not association.is_established:
                raise ConnectionError(f"Orthanc took no association for {path.name}")
            try:
                status = association.send_c_store(dataset)
            finally:
                association.release()
            if status.get("Status") != 0x0000:
                raise ConnectionError(f"Orthanc did not store {path.name}: {status}")

    def find(self, level: str, **query: str) -> list[pydicom.Dataset]:
        """Ask by QIDO-RS: `level` is a path such as 'series' or 'studies/1.2.3/series'."""
        answer = requests.get(f"{self.dicomweb_url}/{level}", params=query, timeout=10)
        answer.raise_for_status()
        return [pydicom.Dataset.from_json(item) for item in answer.json()]

    def fetch(self, place: pydicom.Dataset) -> pydicom.Dataset:
        """The object that an answer at the level of instances tells of, by WADO-RS."""
        client = DICOMwebClient(self.dicomweb_url)
        return client.retrieve_instance(place.StudyInstanceUID, place.SeriesInstanceUID, place.SOPInstanceUID)


@contextmanager
def running_orthanc(
    folder: Path,
    *,
    ports: tuple[int, int] | None = None,
    modalities: Mapping[str, object] | None = None,
    more: Mapping[str, object] | None = None,
) -> Iterator[Orthanc]:
    """Start Orthanc with its storage and its log in `folder`, and stop it at the end.

    Args:
        folder: where its files are; what an earlier one has stored there is found again.
        ports: of HTTP and of DICOM; free ones by default.
        modalities: further peers, as in its configuration.
        more: further settings of its configuration.
    """
    http_port, dicom_port = ports or (free_port(), free_port())
    configuration = {
        "Name": "lungfield-tests",
        "StorageDirectory": str(folder / "storage"),
        "IndexDirectory": str(folder / "storage"),
        "Plugins": [str(DICOMWEB_PLUGIN)],
        "HttpPort": http_port,
        "DicomPort": dicom_port,
        # Orthanc listens on every interface; so it answers nobody but this machine.
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": False,
        "DicomCheckModalityHost": True,
        "DicomAlwaysAllowStore": False,
        "DicomModalities": {"sender": [_SENDER, "127.0.0.1", dicom_port], **(modalities or {})},
        "DicomWeb": {"Enable": True, "Root": "/dicom-web/", "Host": "127.0.0.1"},
        **(more or {}),
    }
    file = folder / "orthanc.json"
    file.write_text(json.dumps(configuration), encoding="utf-8")
    with (folder / "orthanc.log").open("a") as log:
        process = subprocess.Popen([str(ORTHANC), str(file)], stdout=log, stderr=subprocess.STDOUT)
    try:
        wait_for(f"http://127.0.0.1:{http_port}/system", process, folder / "orthanc.log")
        yield Orthanc(http_port, dicom_port, process)
    finally:
        process.terminate()
        process.wait(timeout=20)


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def wait_for(
    url: str, process: subprocess.Popen[bytes], log: Path, timeout_s: float = _START_TIMEOUT_S
) -> None:
    """Wait until a server answers.

    Raises:
        RuntimeError: it ended, or did not answer in time; with the end of its log.
    """
    end = time.monotonic() + timeout_s
    while time.monotonic() < end and process.poll() is None:
        try:
            requests.get(url, timeout=2).raise_for_status()
            return
        except requests.RequestException:
            time.sleep(0.05)
    raise RuntimeError(f"{process.args!r} does not answer at {url}:\n{log.read_text()[-3000:]}")
