"""What a search leaves out, by kind: the user learns how many files and why, not each name."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

ARCHIVES = "archives"
DOCUMENTS = "documents"
VIDEOS = "videos"
PICTURES = "pictures"
VOLUMES = "volumes"
ARRAYS = "arrays"
OTHERS = "others"
EARLIER_RUNS = "earlier_runs"
REFERENCES = "dicomdir_references"

_SUFFIXES: Mapping[str, str] = {
    ARCHIVES: ".zip .7z .rar .tar .tgz .gz .bz2 .xz .zst .iso .cab",
    DOCUMENTS: ".pdf .doc .docx .odt .ppt .pptx .rtf",
    VIDEOS: ".mp4 .m4v .avi .mov .mkv .wmv .mpg .mpeg .webm",
    PICTURES: ".heic .heif .avif .jxl .jxr .svg .psd .ico .tga .pgm .ppm .pnm .exr .dng",
    VOLUMES: ".mha .mhd .nrrd .nhdr .mgz .mgh .mnc .vtk .img .raw",
    ARRAYS: ".npy .npz .mat .h5 .hdf5 .pt .pkl",
}
_KINDS = {suffix: kind for kind, listed in _SUFFIXES.items() for suffix in listed.split()}

_REMARKS = {
    ARCHIVES: "archives{}: unpack them first",
    DOCUMENTS: "documents{}: pictures inside are not looked for",
    VIDEOS: "videos{}",
    PICTURES: "pictures of a format that is not read{}: convert them to PNG or TIFF",
    VOLUMES: "files of image formats that are not read{}: convert them to DICOM or NIfTI",
    ARRAYS: "files of arrays{}: save them as PNG, TIFF or NIfTI",
    OTHERS: "other files: neither name nor content is that of an image",
    EARLIER_RUNS: "folders with the results of an earlier run",
    REFERENCES: "references of a DICOMDIR that name no file below its folder",
}


def kind_of(path: Path) -> str:
    """The kind of a file that is no input, by its suffix."""
    return _KINDS.get(path.suffix.lower(), OTHERS)


@dataclass
class LeftOut:
    """A count of what was left out.

    Attributes:
        counts: how many of each kind.
        suffixes: those met of each kind.
    """

    counts: Counter[str] = field(default_factory=Counter)
    suffixes: dict[str, set[str]] = field(default_factory=dict)

    def add(self, path: Path) -> None:
        """Count a file."""
        kind = kind_of(path)
        self.counts[kind] += 1
        if kind != OTHERS:
            self.suffixes.setdefault(kind, set()).add(path.suffix.lower())

    def remarks(self) -> tuple[str, ...]:
        """One line a kind, for people."""
        return tuple(self._remark(kind) for kind in _REMARKS if self.counts[kind])

    def _remark(self, kind: str) -> str:
        return f"left out: {self.counts[kind]} {_REMARKS[kind].format(_listed(self.suffixes.get(kind, ())))}"


def _listed(suffixes: Iterable[str]) -> str:
    return f" ({', '.join(sorted(suffixes))})" if suffixes else ""
