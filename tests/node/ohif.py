"""OHIF (https://ohif.org), the viewer, as it is published on npm: served beside an archive's DICOMweb."""

from __future__ import annotations

import mimetypes
import shutil
import subprocess
import tarfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import requests

VERSION = "3.13.2"
_DOWNLOAD_LIMIT_S = 60
_PASSED_ON = ("accept", "host")
_CONFIGURATION = """
window.config = {
  routerBasename: '/', extensions: [], modes: [], customizationService: {}, showStudyList: true,
  maxNumberOfWebWorkers: 2, showWarningMessageForCrossOrigin: false, showLoadingIndicator: true,
  investigationalUseDialog: { option: 'never' },
  defaultDataSourceName: 'archive',
  dataSources: [{
    namespace: '@ohif/extension-default.dataSourcesModule.dicomweb', sourceName: 'archive',
    configuration: {
      friendlyName: 'archive', name: 'archive',
      qidoRoot: '/dicom-web', wadoRoot: '/dicom-web', wadoUriRoot: '/dicom-web',
      imageRendering: 'wadors', thumbnailRendering: 'wadors', enableStudyLazyLoad: true,
      qidoSupportsIncludeField: false, supportsReject: false, supportsFuzzyMatching: false,
      supportsWildcard: true, omitQuotationForMultipartRequest: true, bulkDataURI: { enabled: true },
    },
  }],
};
"""


class UnavailableError(Exception):
    """The viewer cannot be had: there is no npm, or no registry."""


def download_ohif(folder: Path) -> Path:
    """Get the built viewer into a folder; npm keeps what it has fetched before. The folder to serve.

    Raises:
        UnavailableError: it cannot be had.
    """
    npm = shutil.which("npm")
    if npm is None:
        raise UnavailableError("needs npm")
    words = [npm, "pack", f"@ohif/app@{VERSION}", "--prefer-offline", "--pack-destination", str(folder)]
    try:
        subprocess.run(words, cwd=folder, check=True, capture_output=True, timeout=_DOWNLOAD_LIMIT_S)
    except (subprocess.SubprocessError, OSError) as error:
        raise UnavailableError(f"npm cannot get OHIF {VERSION} ({type(error).__name__})") from error
    (package,) = folder.glob("*.tgz")
    with tarfile.open(package) as content:
        content.extractall(folder, filter="data")
    return folder / "package" / "dist"


@contextmanager
def served_ohif(dist: Path, archive_url: str) -> Iterator[str]:
    """Serve the viewer, and under /dicom-web what the archive has; the address, of this machine alone.

    Args:
        dist: of `download_ohif`.
        archive_url: above the archive's /dicom-web.
    """

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            file = dist / path.lstrip("/")
            if path.startswith("/dicom-web/"):
                asked = {name: value for name, value in self.headers.items() if name.lower() in _PASSED_ON}
                answer = requests.get(archive_url + self.path, headers=asked, timeout=60)
                self._answer(answer.headers.get("Content-Type", ""), answer.content, answer.status_code)
            elif path == "/app-config.js":
                self._answer("text/javascript", _CONFIGURATION.encode())
            elif file.is_file():
                self._answer(mimetypes.guess_type(file.name)[0] or "application/wasm", file.read_bytes())
            else:  # an address within the viewer
                self._answer("text/html", (dist / "index.html").read_bytes())

        def _answer(self, kind: str, content: bytes, status: int = 200) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
