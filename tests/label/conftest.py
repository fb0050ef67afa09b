"""A real MONAI Label server for the tests of this folder, and radiographs in every format for it."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nibabel
import numpy as np
import pytest
from PIL import Image

from lungfield.bundles import find_bundle, shipped
from lungfield.radiograph import read_radiograph

if TYPE_CHECKING:
    import requests  # comes with MONAI Label

NIFTI_AFFINE = np.array([[-0.4, 0, 0, 30], [0, -0.6, 0, -70], [0, 0, 2, 5], [0, 0, 0, 1]])
_START_S = 240


@dataclass(frozen=True)
class Server:
    """A running server: its address, its process, the file of what it printed, its home folder."""

    url: str
    process: subprocess.Popen[bytes]
    log: Path
    home: Path

    def call(self, method: str, path: str, **more: Any) -> requests.Response:
        import requests

        return requests.request(method, self.url + path, timeout=200, **more)

    def get(self, path: str, **params: Any) -> requests.Response:
        return self.call("GET", path, params=params)

    def infer(self, model: str, image: str, *, output: str = "image", **params: Any) -> requests.Response:
        return self.call(
            "POST",
            f"/infer/{model}",
            params={"image": image, "output": output},
            data={"params": json.dumps(params)},
        )

    def save_label(self, image: str, file: Path, **params: Any) -> requests.Response:
        with file.open("rb") as content:
            return self.call(
                "PUT",
                "/datastore/label",
                params={"image": image},
                data={"params": json.dumps(params)},
                files={"label": (file.name, content)},
            )

    def run(self, kind: str, path: str, **params: Any) -> dict[str, Any]:
        """Start a task in the background, wait for its end and return its last state."""
        self.call("POST", path, json=params).raise_for_status()
        deadline = time.monotonic() + 500
        while time.monotonic() < deadline:
            state = self.get(kind).json()
            if state["status"] not in ("SUBMITTED", "RUNNING"):
                return state
            time.sleep(0.5)
        raise TimeoutError(f"{path} did not end; see {self.log}")


class Network:
    """A proxy that lets nothing through and counts who asked."""

    def __init__(self) -> None:
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        self.requests: list[str] = []
        threading.Thread(target=self._refuse, daemon=True).start()

    def _refuse(self) -> None:
        while True:
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return
            with connection:
                self.requests.append(connection.recv(200).decode(errors="replace").splitlines()[0])

    @property
    def environment(self) -> dict[str, str]:
        proxy = f"http://127.0.0.1:{self.port}"
        names = ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
        return dict.fromkeys(names, proxy) | {"no_proxy": "127.0.0.1", "NO_PROXY": "127.0.0.1"}


@pytest.fixture(scope="session")
def network() -> Iterator[Network]:
    one = Network()
    yield one
    one.socket.close()


@pytest.fixture(scope="session")
def serve(tmp_path_factory, network) -> Iterator[Any]:
    """Return `serve(studies, *words, env=None) -> Server`; servers are stopped at the end.

    `command` replaces `lungfield label STUDIES` for servers that are started otherwise.
    """
    servers: list[Server] = []

    def start(
        studies: Path | str, *words: str, env: dict[str, str] | None = None, command: list[str] | None = None
    ) -> Server:
        home = tmp_path_factory.mktemp("home")
        port = free_port()
        command = command or [
            sys.executable,
            "-m",
            "lungfield.cli",
            "label",
            str(studies),
            "--home",
            str(home),
        ]
        log = home / "printed.log"
        with log.open("wb") as printed:
            process = subprocess.Popen(
                [*command, *words, "--port", str(port)],
                stdout=printed,
                stderr=subprocess.STDOUT,
                cwd=home,
                env=os.environ | network.environment | (env or {}),
            )
        servers.append(Server(f"http://127.0.0.1:{port}", process, log, home))
        _wait_for(servers[-1])
        return servers[-1]

    yield start
    for server in servers:
        server.process.terminate()
        try:
            server.process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            server.process.kill()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as one:
        return one.getsockname()[1]


def _wait_for(server: Server) -> None:
    import requests

    deadline = time.monotonic() + _START_S
    while time.monotonic() < deadline and server.process.poll() is None:
        try:
            server.get("/info/").raise_for_status()
            return
        except requests.ConnectionError:
            time.sleep(0.3)
    raise RuntimeError(f"the server did not start:\n{server.log.read_text()[-3000:]}")


@pytest.fixture(scope="session")
def studies(tmp_path_factory) -> Path:
    """A folder with a radiograph in each format, none of them square, and a file that is none."""
    folder = tmp_path_factory.mktemp("studies")
    samples = shipped("sample_data") / "images"
    shutil.copy(samples / "02_dx_inverse_jpeg2000.dcm", folder / "dicom.dcm")
    shutil.copy(samples / "03_cr_monochrome1_implicit.dcm", folder / "monochrome1.DCM")
    pixels = read_radiograph(samples / "06_cr_window_jpegls.dcm").pixels
    Image.fromarray((pixels * 255).astype(np.uint8)).save(folder / "picture.png")
    pixels = read_radiograph(samples / "04_dx_padding_rle.dcm").pixels
    volume = nibabel.Nifti1Image(pixels.T[..., np.newaxis].astype(np.float32), NIFTI_AFFINE)
    nibabel.save(volume, folder / "volume.nii.gz")
    (folder / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    return folder


@pytest.fixture(scope="session")
def small_bundle(tmp_path_factory) -> Path:
    """The U-Net at an eighth of its size on each side: no good masks, but quick to train."""
    root = tmp_path_factory.mktemp("bundles") / "small_unet"
    shutil.copytree(find_bundle("unet").root, root, ignore=shutil.ignore_patterns("docs"))
    for name in ("train.yaml", "inference.yaml"):
        config = root / "configs" / name
        text = config.read_text()
        assert text.count("\nimage_size: [256, 256]") == 1
        config.write_text(text.replace("\nimage_size: [256, 256]", "\nimage_size: [64, 64]"))
    return root


@pytest.fixture(scope="session")
def server(serve, studies, small_bundle) -> Server:
    return serve(studies, "--bundle", "unet", "--bundle", str(small_bundle))
