"""The radiographs that are segmented: a few phantoms, each stored in several ways under many UIDs."""

from __future__ import annotations

import multiprocessing
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from pydicom.dataset import Dataset
from pydicom.uid import UID, ExplicitVRLittleEndian, JPEG2000Lossless, JPEGLosslessSV1, generate_uid

from make_sample_data import CR
from phantoms import make_phantom, phantom_dataset, write_dicom

SYNTAXES: Mapping[str, UID] = {
    "uncompressed": ExplicitVRLittleEndian,
    "jpeg-lossless": JPEGLosslessSV1,
    "jpeg2000": JPEG2000Lossless,
}
"""How pixels can be stored, by the name that the tables use; all of them lossless."""

DISTINCT = 4
"""So many different pictures; the rest are copies of them with UIDs of their own."""

_SEED = 4711
_BITS_STORED = 12


@dataclass(frozen=True)
class Kind:
    """Files that are alike.

    Attributes:
        shape: (rows, columns).
        syntax: a name of `SYNTAXES`.
    """

    shape: tuple[int, int]
    syntax: str

    def __str__(self) -> str:
        """What tables call it."""
        return f"{self.shape[0]}x{self.shape[1]} {self.syntax}"


def place(folder: Path, kind: Kind, number: int) -> Path:
    """Where the file of a number is, from 0 up."""
    return folder / str(kind).replace(" ", "-") / f"{number:05d}.dcm"


def make_files(folder: Path, counts: Mapping[Kind, int], *, processes: int) -> dict[Kind, list[Path]]:
    """Write the files of all kinds, those left out that an earlier call has written.

    Pictures are 12-bit phantoms, every other one with the header of CR, the rest with that of DX. Drawing
    one of 2048x2048 takes some 20 seconds, hence `DISTINCT` and a process for each core.

    Args:
        folder: a folder of its own for each kind is made in it.
        counts: how many files of each kind.
        processes: how many pictures are drawn at a time.
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
        kind: [
            number for number in range(picture, count, DISTINCT) if not place(folder, kind, number).exists()
        ]
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
            _renew_uids(dataset, f"{kind} {number}")
            write_dicom(place(folder, kind, number), dataset)


def _renew_uids(dataset: Dataset, name: str) -> None:
    for level in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"):
        setattr(dataset, level, generate_uid(entropy_srcs=["lungfield", "benchmark", name, level]))
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
