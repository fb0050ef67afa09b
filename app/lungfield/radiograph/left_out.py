"""What a search leaves out, by kind: the user learns how many files and why, not each name."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

OTHERS = "others"
EARLIER_RUNS = "earlier_runs"
REFERENCES = "dicomdir_references"

_SUFFIXES: Mapping[str, str] = {
    "archives": ".zip .7z .rar .tar .tgz .gz .bz2 .xz .zst .iso .cab",
    "documents": ".pdf .doc .docx .odt .ppt .pptx .rtf",
    "videos": ".mp4 .m4v .avi .mov .mkv .wmv .mpg .mpeg .webm",
    "pictures": ".heic .heif .avif .jxl .jxr .svg .psd .ico .tga .pgm .ppm .pnm .exr .dng",
    "volumes": ".mha .mhd .nrrd .nhdr .mgz .mgh .mnc .vtk .img .raw",
    "arrays": ".npy .npz .mat .h5 .hdf5 .pt .pkl",
}
_KINDS = {suffix: kind for kind, listed in _SUFFIXES.items() for suffix in listed.split()}

_REMARKS = {
    "archives": "archives{}: unpack them first",
    "documents": "documents{}: pictures inside are not looked for",
    "videos": "videos{}",
    "pictures": "pictures of a format that is not read{}: convert them to PNG or TIFF",
    "volumes": "files of image formats that are not read{}: convert them to DICOM or NIfTI",
    "arrays": "files of arrays{}: save them as PNG, TIFF or NIfTI",
    OTHERS: "other files: neither name nor content is that of an image",
    EARLIER_RUNS: "folders with the results of an earlier run",
    REFERENCES: "references of a DICOMDIR that name no file below its folder",
}


@dataclass
class LeftOut:
    """How many files of each kind were left out, and the suffixes that they had."""

    counts: Counter[str] = field(default_factory=Counter)
    suffixes: defaultdict[str, set[str]] = field(default_factory=lambda: defaultdict(set))

    def add(self, path: Path) -> None:
        """Count a file that is no input, its kind told by its suffix."""
        suffix = path.suffix.lower()
        kind = _KINDS.get(suffix, OTHERS)
        self.counts[kind] += 1
        if kind != OTHERS:
            self.suffixes[kind].add(suffix)

    def remarks(self) -> tuple[str, ...]:
        """One line a kind, for people."""
        return tuple(
            f"left out: {self.counts[kind]} {remark.format(self._listed(kind))}"
            for kind, remark in _REMARKS.items()
            if self.counts[kind]
        )

    def _listed(self, kind: str) -> str:
        return f" ({', '.join(sorted(self.suffixes[kind]))})" if kind in self.suffixes else ""
