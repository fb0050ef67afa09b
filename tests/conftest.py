"""Fixtures for every test: an asymmetric picture, and a factory of DICOM files made in memory."""

from __future__ import annotations

import functools
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    HTJ2K,
    UID,
    DeflatedExplicitVRLittleEndian,
    DigitalXRayImageStorageForPresentation,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    HTJ2KLossless,
    HTJ2KLosslessRPCL,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
    generate_uid,
)

pytest_plugins = ["hearts"]

MakeDicom = Callable[..., Path]

_CACHE = pytest.StashKey[str]()


def pytest_configure(config: pytest.Config) -> None:
    """Prepare what processes that are started here inherit.

    Converted networks are kept apart from the user's, and shared. Of several test processes, each computes in
    one thread.
    """
    if getattr(config.option, "numprocesses", None):
        for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
            os.environ.setdefault(name, "1")
    if "LUNGFIELD_CACHE" not in os.environ:
        config.stash[_CACHE] = os.environ["LUNGFIELD_CACHE"] = tempfile.mkdtemp(prefix="lungfield-cache-")


def pytest_unconfigure(config: pytest.Config) -> None:
    """Remove them, where this process has made the folder."""
    if folder := config.stash.get(_CACHE, None):
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session", autouse=True)
def _fork_server_stays() -> Iterator[None]:
    """Let all batches of this process share one fork server, whatever they end with.

    A batch that fails ends its own, and the next one imports all that workers need again: 8 s of CPU. With
    `lean` before everything, as for shipped bundles, it is 5 s.
    """
    from lungfield.batch import processes, segment

    with pytest.MonkeyPatch.context() as patch:
        start = functools.partial(processes.start_forkserver, "lungfield.batch.lean")
        patch.setattr(segment, "start_forkserver", start)
        patch.setattr(segment, "stop_forkserver", lambda: None)
        yield


CallLungfield = Callable[..., subprocess.CompletedProcess[str]]

NATIVE = (
    ImplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    DeflatedExplicitVRLittleEndian,
)


def _htj2k(pixels: NDArray[Any]) -> bytes:
    return imagecodecs.htj2k_encode(pixels, reversible=True)


def _baseline(pixels: NDArray[Any]) -> bytes:
    buffer = BytesIO()
    Image.fromarray(pixels).save(buffer, format="JPEG", quality=100, subsampling=0)
    return buffer.getvalue()


ENCODERS: dict[UID, Callable[[NDArray[Any]], bytes]] = {
    JPEGBaseline8Bit: _baseline,
    JPEGExtended12Bit: lambda pixels: imagecodecs.jpeg8_encode(pixels, level=100, bitspersample=12),
    JPEGLossless: lambda pixels: imagecodecs.ljpeg_encode(pixels, bitspersample=12),
    JPEGLosslessSV1: lambda pixels: imagecodecs.jpeg8_encode(pixels, lossless=True, bitspersample=12),
    HTJ2K: _htj2k,
    HTJ2KLossless: _htj2k,
    HTJ2KLosslessRPCL: _htj2k,
}
"""The syntaxes that pydicom reads but cannot write: one picture to one code stream."""


@pytest.fixture
def picture() -> NDArray[np.uint16]:
    """(96, 80) uint16 in [0, 4095]: no two of its eight flips and turns are alike, and no side is."""
    rows, columns = np.mgrid[0:96, 0:80]
    values = 500 + 20 * rows + 9 * columns
    values[8:24, 8:40] = 4095  # a bright bar at the top left
    values[70:90, 60:72] = 0  # a dark one at the bottom right
    return values.astype(np.uint16)


@pytest.fixture
def make_dicom() -> MakeDicom:
    """Return `make_dicom(path, pixels, *, transfer_syntax, preamble, **keywords) -> Path`."""
    return write_dicom


def write_dicom(
    path: Path,
    pixels: NDArray[Any] | None,
    *,
    transfer_syntax: UID = ExplicitVRLittleEndian,
    preamble: bool = True,
    **keywords: Any,
) -> Path:
    """Write a DX image of `pixels` and return its path.

    Args:
        path: where to; folders are made.
        pixels: (H, W) or (frames, H, W) or (H, W, 3), of an integer type; None for an object without
            pixels.
        transfer_syntax: how to encode them; lossy ones at their best quality.
        preamble: False for a bare data set without preamble and file meta information.
        **keywords: attributes by DICOM keyword, which win over the defaults; None leaves one out.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset = build_dataset(pixels, transfer_syntax=transfer_syntax, **keywords)
    implicit, little = dataset.file_meta._tsyntax_encoding
    if preamble:
        dataset.save_as(path, enforce_file_format=True)
    else:
        del dataset.file_meta
        dataset.save_as(path, implicit_vr=implicit, little_endian=little)
    return path


def build_dataset(
    pixels: NDArray[Any] | None, *, transfer_syntax: UID = ExplicitVRLittleEndian, **keywords: Any
) -> Dataset:
    """The data set that `write_dicom` writes; see there."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = transfer_syntax
    dataset = Dataset()
    dataset.file_meta = meta
    dataset.SOPClassUID = DigitalXRayImageStorageForPresentation
    dataset.SOPInstanceUID = generate_uid()
    dataset.StudyInstanceUID = generate_uid()
    dataset.SeriesInstanceUID = generate_uid()
    dataset.Modality = "DX"
    dataset.PatientName = "Nemo^Nobody"
    dataset.PatientID = "secret-4711"
    dataset.PatientBirthDate = "19000101"
    dataset.PatientSex = "O"
    dataset.StudyDate = "20000101"
    dataset.StudyTime = "120000"
    dataset.StudyID = "1"
    dataset.AccessionNumber = "1"
    dataset.SeriesNumber = 1
    dataset.InstanceNumber = 1
    dataset.BodyPartExamined = "CHEST"
    dataset.ViewPosition = "PA"
    dataset.PatientOrientation = ["L", "F"]
    dataset.PixelSpacing = [0.2, 0.2]
    if pixels is not None:
        _add_image(dataset, pixels, keywords)
    for keyword, value in keywords.items():
        if value is None:
            if keyword in dataset:
                del dataset[keyword]
        else:
            setattr(dataset, keyword, value)
    if pixels is not None and "PixelData" not in keywords:
        _add_pixel_data(dataset, pixels)
    meta.MediaStorageSOPClassUID = dataset.get("SOPClassUID", DigitalXRayImageStorageForPresentation)
    meta.MediaStorageSOPInstanceUID = dataset.get("SOPInstanceUID", None) or generate_uid()
    return dataset


def _add_image(dataset: Dataset, pixels: NDArray[Any], keywords: dict[str, Any]) -> None:
    colour = pixels.ndim == 3 and pixels.shape[-1] == 3
    dataset.SamplesPerPixel = 3 if colour else 1
    dataset.PhotometricInterpretation = "RGB" if colour else "MONOCHROME2"
    if colour:
        dataset.PlanarConfiguration = 0
    elif pixels.ndim == 3:
        dataset.NumberOfFrames = len(pixels)
    dataset.Rows, dataset.Columns = pixels.shape[:2] if colour else pixels.shape[-2:]
    bits = pixels.dtype.itemsize * 8
    stored = keywords.get("BitsStored") or (12 if bits == 16 else bits)
    dataset.BitsAllocated = bits
    dataset.BitsStored = stored
    dataset.HighBit = stored - 1
    dataset.PixelRepresentation = int(pixels.dtype.kind == "i")


def _add_pixel_data(dataset: Dataset, pixels: NDArray[Any]) -> None:
    syntax = dataset.file_meta.TransferSyntaxUID
    if syntax in NATIVE:
        order = ">" if syntax == ExplicitVRBigEndian else "<"
        data = pixels.astype(pixels.dtype.newbyteorder(order)).tobytes()
        dataset.PixelData = data + b"\0" * (len(data) % 2)
        dataset["PixelData"].VR = "OB" if pixels.dtype.itemsize == 1 else "OW"
    elif syntax in ENCODERS:
        dataset.PixelData = encapsulate([ENCODERS[syntax](pixels)])
        dataset["PixelData"].VR = "OB"
    elif syntax in (RLELossless, JPEG2000Lossless, JPEGLSLossless):
        dataset.compress(syntax, np.ascontiguousarray(pixels), generate_instance_uid=False)
    else:
        raise ValueError(f"no encoder for {syntax.name}; choose another transfer syntax")


@pytest.fixture
def bundle_without_ranges(tmp_path: Path) -> Any:
    """A copy of the default bundle that has no ranges for 8-bit integers."""
    # Imported on use: other tests check what is imported.
    from lungfield.bundles import find_bundle
    from lungfield.bundles.quantization import int8_file

    root = tmp_path / "copy"
    shutil.copytree(find_bundle("efficientnet_lite0_unet").root, root)
    int8_file(find_bundle(root)).unlink()
    return find_bundle(root)


@pytest.fixture(scope="session")
def call_lungfield() -> CallLungfield:
    """Call the command line in a process of its own, as a user does."""

    def call(*words: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "lungfield.cli", *map(str, words)],
            cwd=cwd,
            capture_output=True,
            text=True,
            timeout=280,
            check=False,
        )

    return call


@pytest.fixture
def call_here(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> CallLungfield:
    """The same in this process, where nothing depends on its being another: importing torch takes seconds."""

    def call(*words: object) -> subprocess.CompletedProcess[str]:
        from lungfield.cli.main import main

        monkeypatch.setattr(sys, "argv", ["lungfield", *map(str, words)])
        code: Any = 0
        try:
            main()
        except SystemExit as stop:
            code = stop.code or 0
        return subprocess.CompletedProcess(sys.argv, code, *capfd.readouterr())

    return call


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """The system's Chromium, without a window; by itself it asks nothing of a network."""
    with _running_chromium("--disable-gpu") as browser:
        yield browser


@pytest.fixture(scope="module")
def chromium_with_webgl() -> Iterator[Any]:
    """The same with WebGL, computed in software: what shows volumes and masks draws with it."""
    with _running_chromium("--use-angle=swiftshader", "--enable-unsafe-swiftshader") as browser:
        yield browser


@contextmanager
def _running_chromium(*options: str) -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    program = shutil.which("chromium")
    if program is None:
        pytest.skip("chromium is not installed")
    arguments = [
        "--no-sandbox",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        *options,
    ]
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=program, args=arguments)
        yield browser
        browser.close()


@pytest.fixture
def dciodvfy() -> Callable[[Path], list[str]]:
    """The errors that David Clunie's validator finds in a DICOM file; skips where it is not installed."""
    if shutil.which("dciodvfy") is None:
        pytest.skip("dciodvfy (dicom3tools) is not on the PATH")

    def errors(path: Path) -> list[str]:
        done = subprocess.run(["dciodvfy", path], capture_output=True, text=True, check=False)
        # It names what it takes the object for, if it knows it at all.
        assert re.search(r"^(Segmentation|ComprehensiveSR|SCImage)$", done.stderr, flags=re.MULTILINE)
        return re.findall(r"^Error.*", done.stderr + done.stdout, flags=re.MULTILINE)

    return errors
