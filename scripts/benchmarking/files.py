"""The radiographs of the benchmark: a few phantoms, each stored in several ways under many UIDs."""

from __future__ import annotations

import multiprocessing
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from pydicom import uid

from make_sample_data import CR
from phantoms import make_phantom, phantom_dataset, write_dicom

SYNTAXES: Mapping[str, uid.UID] = {
    "uncompressed": uid.ExplicitVRLittleEndian,
    "jpeg-lossless": uid.JPEGLosslessSV1,
    "jpeg2000": uid.JPEG2000Lossless,
}
"""Lossless ways to store pixels, by their names in tables."""

DISTINCT = 4
"""Number of different pictures; the other files are copies with other UIDs."""

_SEED = 4711
_BITS_STORED = 12


@dataclass(frozen=True)
class Kind:
    """Files with the same shape (rows, columns) and the same of `SYNTAXES`."""

    shape: tuple[int, int]
    syntax: str

    def __str__(self) -> str:
        """The name in tables."""
        return f"{self.shape[0]}x{self.shape[1]} {self.syntax}"


def place(folder: Path, kind: Kind, number: int) -> Path:
    """The path of the file with a number, counted from 0."""
    return folder / str(kind).replace(" ", "-") / f"{number:05d}.dcm"


def make_files(folder: Path, counts: Mapping[Kind, int], *, processes: int) -> dict[Kind, list[Path]]:
    """Write the files of all kinds, unless an earlier call has written them.

    Pictures are 12-bit phantoms, with headers of CR and DX in turn. Drawing one of 2048x2048 takes 20 s.

    Args:
        folder: gets a folder for each kind.
        counts: files of each kind.
        processes: pictures that are drawn at a time.
    """
    tasks = [
        (folder, shape, {kind: count for kind, count in counts.items() if kind.shape == shape}, picture)
        for shape in dict.fromkeys(kind.shape for kind in counts)
        for picture in range(DISTINCT)
    ]
    with ProcessPoolExecutor(processes, mp_context=multiprocessing.get_context("spawn")) as pool:
        list(pool.map(_write_picture, *zip(*tasks, strict=True)))
    return {kind: [place(folder, kind, number) for number in range(count)] for kind, count in counts.items()}


def _write_picture(folder: Path, shape: tuple[int, int], counts: Mapping[Kind, int], picture: int) -> None:
    """Write all files that show one of the pictures."""
    missing = {
        kind: [one for one in range(picture, count, DISTINCT) if not place(folder, kind, one).exists()]
        for kind, count in counts.items()
    }
    if not any(missing.values()):
        return
    phantom = make_phantom([_SEED, picture], shape=shape)
    for kind, numbers in missing.items():
        dataset = phantom_dataset(
            phantom.pixels,
            name="Phantom^Benchmark",
            number=picture,
            entropy=["lungfield", "benchmark"],
            bits_stored=_BITS_STORED,
            transfer_syntax=SYNTAXES[kind.syntax],
            ImagerPixelSpacing=[phantom.spacing_mm, phantom.spacing_mm],
            **(CR if picture % 2 else {}),
        )
        for number in numbers:
            for level in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"):
                entropy = ["lungfield", "benchmark", f"{kind} {number}", level]
                setattr(dataset, level, uid.generate_uid(entropy_srcs=entropy))
            dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
            write_dicom(place(folder, kind, number), dataset)
