"""Finding the files to read in what the user names: files, folders and DICOMDIRs."""

from __future__ import annotations

import logging
import os
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePath

from lungfield.errors import DataError
from lungfield.formats import NIFTI_PAIR, RADIOGRAPHS, stem
from lungfield.names import shown
from lungfield.radiograph.dicomdir import is_dicomdir, read_dicomdir
from lungfield.radiograph.sniffing import is_dicom

logger = logging.getLogger(__name__)

RUN_FOLDER = ".lungfield"
"""What the output folder of a run holds (`lungfield.batch.journal.FOLDER`)."""

# What a search leaves out, by kind: the user learns how many files and why, not each name.
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


@dataclass(frozen=True)
class InputFile:
    """A file to read.

    Attributes:
        relative: where its results belong below the output folder: the path below the folder that was
            named, or the bare name of a file that was named. Different for every file of one search.
    """

    path: Path
    relative: PurePath


@dataclass(frozen=True)
class Found:
    """What a search found.

    Attributes:
        left_out: how many others there were, by kind.
        remarks: the same for people, one line a kind.
    """

    files: list[InputFile]
    left_out: Mapping[str, int]
    remarks: tuple[str, ...]


def find_files(inputs: Sequence[Path], *, exclude: Sequence[Path] = ()) -> list[InputFile]:
    """Return the files of `search`, with its errors; what was left out goes to the log."""
    found = search(inputs, exclude=exclude)
    for remark in found.remarks:
        logger.warning("%s", remark)
    return found.files


def search(inputs: Sequence[Path], *, exclude: Sequence[Path] = ()) -> Found:
    """Return the files in `inputs`, in the order of `inputs`, those of one folder sorted.

    A file that is named is always returned, but for a DICOMDIR, which stands for the files that it lists,
    missing ones included. A folder is searched with all folders in it, though none that is a link, for files
    with a suffix of `formats.RADIOGRAPHS` and for DICOM files of any name, with preamble or without. Hidden
    files, DICOMDIR and __MACOSX are left out there, and so are folders of results: those with a `RUN_FOLDER`.
    A file that is reached twice is returned once. Whatever is a path of `exclude`, or lies below one, is left
    out without a count, so that results of this run are not taken for inputs.

    Raises:
        DataError: an input does not exist, or a folder that was named cannot be listed.
    """
    scan = _Search(frozenset(path.resolve() for path in exclude))
    for path in map(Path, inputs):
        scan.add(path)
    return Found(
        _without_collisions(list(scan.found.values())), dict(scan.left_out.counts), scan.left_out.remarks()
    )


class _Search:
    def __init__(self, excluded: frozenset[Path]) -> None:
        self._excluded = excluded
        self._seen: set[Path] = set()
        self.found: dict[Path, InputFile] = {}
        self.left_out = LeftOut()

    def add(self, path: Path) -> None:
        if path.is_dir():
            self._add_folder(path)
        elif not path.exists():
            raise DataError(f"{path}: no such file or folder; check the path")
        elif not (is_dicomdir(path) and self._add_listed(path)):
            self._take(path, PurePath(path.name))

    def _add_listed(self, dicomdir: Path) -> bool:
        """Take the files that a DICOMDIR lists; False where it lists none."""
        listed = read_dicomdir(dicomdir)
        if listed is None:
            return False
        files, refused = listed
        for file in files:
            self._take(file, file.relative_to(dicomdir.parent))
        if refused:
            self.left_out.counts[REFERENCES] += refused
        return bool(files)

    def _add_folder(self, folder: Path) -> None:
        try:
            os.scandir(folder).close()
        except OSError as error:
            raise DataError(f"{folder}: the folder cannot be listed ({error.strerror})") from error
        for path in sorted(self._walk(folder)):
            kept = _is_input(path)
            if kept:
                self._take(path, path.relative_to(folder))
            elif kept is False and self._is_new(path):
                self.left_out.add(path)

    def _walk(self, folder: Path) -> Iterator[Path]:
        """The files below a folder; the second of a pair, and DICOMDIR, are no files of their own."""
        for parent, folders, names in os.walk(folder, onerror=_warn, followlinks=False):
            folders[:] = [name for name in folders if self._is_entered(Path(parent, name))]
            lower = {name.lower() for name in names}
            for name in names:
                header = name.lower().removesuffix(NIFTI_PAIR[1]) + NIFTI_PAIR[0]
                paired = name.lower().endswith(NIFTI_PAIR[1]) and header in lower
                if not (name.startswith(".") or paired or is_dicomdir(Path(name))):
                    yield Path(parent, name)

    def _is_entered(self, folder: Path) -> bool:
        if folder.name.startswith(".") or folder.name == "__MACOSX" or folder.is_symlink():
            return False
        if self._is_excluded(folder.resolve()):
            return False
        run = folder / RUN_FOLDER
        if run.is_dir() and not self._is_excluded(run.resolve()):
            self.left_out.counts[EARLIER_RUNS] += self._is_new(folder)
            return False
        return True

    def _take(self, path: Path, relative: PurePath) -> None:
        place = path.resolve()
        if not self._is_excluded(place):
            self.found.setdefault(place, InputFile(path, relative))

    def _is_new(self, path: Path) -> bool:
        """Whether a path is met for the first time, and is not excluded."""
        place = path.resolve()
        new = place not in self._seen and not self._is_excluded(place)
        self._seen.add(place)
        return new

    def _is_excluded(self, place: Path) -> bool:
        return not self._excluded.isdisjoint((place, *place.parents))


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


def output_stems(files: Sequence[InputFile]) -> dict[Path, PurePath]:
    """The name of each file's results: without its suffix, unless another file could then have the same."""
    short = {file.path: file.relative.with_name(stem(file.relative.name)) for file in files}
    # Names that differ in case only are one file on some systems.
    stems = Counter(str(one).casefold() for one in short.values())
    names = {str(file.relative).casefold(): file.path for file in files}

    def alone(file: InputFile) -> bool:
        name = str(short[file.path]).casefold()
        return stems[name] == 1 and names.get(name, file.path) == file.path

    return {file.path: short[file.path] if alone(file) else file.relative for file in files}


def _without_collisions(files: list[InputFile]) -> list[InputFile]:
    """Take the paths below the folder common to all where two of the shorter ones would be the same."""
    if len({file.relative for file in files}) == len(files):
        return files
    # Neither links followed, as resolve() would, nor '..' left in the way of the output folder.
    absolute = [Path(os.path.abspath(file.path)) for file in files]  # noqa: PTH100
    common = os.path.commonpath([path.parent for path in absolute])
    return [
        InputFile(file.path, path.relative_to(common)) for file, path in zip(files, absolute, strict=True)
    ]


def _warn(error: OSError) -> None:
    place = shown(str(error.filename))
    logger.warning("%s: left out, the folder cannot be listed (%s)", place, error.strerror)


def _is_input(path: Path) -> bool | None:
    """Whether a file is an input by name or content; None where there is no file to be read."""
    try:
        if not path.is_file():
            return None
        return path.name.lower().endswith(RADIOGRAPHS) or is_dicom(path)
    except OSError as error:
        logger.warning("%s: left out, the file cannot be read (%s)", shown(str(path)), error.strerror)
        return None
