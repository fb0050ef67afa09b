"""Radiographs to send: a few phantoms, each with many UIDs."""

from __future__ import annotations

from pathlib import Path

import pydicom
from pydicom.uid import generate_uid

from phantoms import make_phantom, phantom_dataset, write_dicom

_PHANTOMS = 8


def make_radiographs(folder: Path, count: int, *, size: int, seed: int = 0) -> list[Path]:
    """Write radiographs, each in its own study.

    Args:
        folder: created if missing.
        count: number of radiographs.
        size: rows and columns.
        seed: the same seed gives the same radiographs.
    """
    folder.mkdir(parents=True, exist_ok=True)
    phantoms = []
    for number in range(min(count, _PHANTOMS)):
        path = folder / f"phantom_{number}.dcm"
        phantom = make_phantom([seed, number], shape=(size, size))
        dataset = phantom_dataset(
            phantom.pixels, name="Phantom^Soak", number=number, entropy=[str(seed), str(number)]
        )
        write_dicom(path, dataset)
        phantoms.append(pydicom.dcmread(path))
    paths = []
    for number in range(count):
        dataset = phantoms[number % len(phantoms)]
        for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"):
            setattr(dataset, keyword, generate_uid(entropy_srcs=[keyword, str(seed), str(size), str(number)]))
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
        dataset.AccessionNumber = f"SOAK{number}"
        path = folder / f"{number:05}.dcm"
        dataset.save_as(path)
        paths.append(path)
    return paths
