"""Find input files in the files, folders and DICOMDIRs that a user gives."""

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
"""The hidden folder in the output folder of a run (`lungfield.batch.journal.FOLDER`)."""

# Kinds of files that a search leaves out; the user gets their numbers and the reason, not each name.
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
        path: of the file.
        relative: its path below the input folder, or the name of an input file; also the path of its results
            below the output folder. Unique within a search.
    """

    path: Path
    relative: PurePath


@dataclass(frozen=True)
class Found:
    """The result of a search.

    Attributes:
        files: the input files.
        left_out: number of other files, by kind.
        remarks: the same as text, one line per kind.
    """

    files: list[InputFile]
    left_out: Mapping[str, int]
    remarks: tuple[str, ...]


def find_files(inputs: Sequence[Path], *, exclude: Sequence[Path] = ()) -> list[InputFile]:
    """Return the files of `search`, with its errors; the remarks are logged."""
    found = search(inputs, exclude=exclude)
    for remark in found.remarks:
        logger.warning("%s", remark)
    return found.files


def search(inputs: Sequence[Path], *, exclude: Sequence[Path] = ()) -> Found:
    """Find the input files in `inputs`, in their order; the files of a folder are sorted.

    An input that is a file is always returned, except a DICOMDIR, which is replaced by the files that it
    lists, including missing ones. An input folder is searched recursively, without following links, for files
    with a suffix of `formats.RADIOGRAPHS` and for DICOM files of any name. Hidden files, DICOMDIR, __MACOSX
    and folders of results (with a `RUN_FOLDER`) are left out there. Each file is returned only once. Paths in
    `exclude`, and paths below them, are left out without being counted.

    Raises:
        DataError: an input does not exist, or an input folder cannot be listed.
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
        """Add the files that a DICOMDIR lists; return False if it lists none."""
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
        """The files below a folder, without DICOMDIR and the image file of a NIfTI pair."""
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
        """Whether a path is not excluded and was not found before."""
        place = path.resolve()
        new = place not in self._seen and not self._is_excluded(place)
        self._seen.add(place)
        return new

    def _is_excluded(self, place: Path) -> bool:
        return not self._excluded.isdisjoint((place, *place.parents))


@dataclass
class LeftOut:
    """The number of files left out, and their suffixes, by kind."""

    counts: Counter[str] = field(default_factory=Counter)
    suffixes: defaultdict[str, set[str]] = field(default_factory=lambda: defaultdict(set))

    def add(self, path: Path) -> None:
        """Count a file that is no input; its suffix gives its kind."""
        suffix = path.suffix.lower()
        kind = _KINDS.get(suffix, OTHERS)
        self.counts[kind] += 1
        if kind != OTHERS:
            self.suffixes[kind].add(suffix)

    def remarks(self) -> tuple[str, ...]:
        """One line of text per kind."""
        return tuple(
            f"left out: {self.counts[kind]} {remark.format(self._listed(kind))}"
            for kind, remark in _REMARKS.items()
            if self.counts[kind]
        )

    def _listed(self, kind: str) -> str:
        return f" ({', '.join(sorted(self.suffixes[kind]))})" if kind in self.suffixes else ""


def output_stems(files: Sequence[InputFile]) -> dict[Path, PurePath]:
    """The name of each file's results: without its suffix, unless two files would get the same name."""
    short = {file.path: file.relative.with_name(stem(file.relative.name)) for file in files}
    # On some systems, names that differ only in case are the same file.
    stems = Counter(str(one).casefold() for one in short.values())
    names = {str(file.relative).casefold(): file.path for file in files}

    def alone(file: InputFile) -> bool:
        name = str(short[file.path]).casefold()
        return stems[name] == 1 and names.get(name, file.path) == file.path

    return {file.path: short[file.path] if alone(file) else file.relative for file in files}


def _without_collisions(files: list[InputFile]) -> list[InputFile]:
    """If two relative paths are the same, replace all by paths below the common parent folder."""
    if len({file.relative for file in files}) == len(files):
        return files
    # Not resolve(), which follows links; and '..' must not remain in the path below the output folder.
    absolute = [Path(os.path.abspath(file.path)) for file in files]  # noqa: PTH100
    common = os.path.commonpath([path.parent for path in absolute])
    return [
        InputFile(file.path, path.relative_to(common)) for file, path in zip(files, absolute, strict=True)
    ]


def _warn(error: OSError) -> None:
    place = shown(str(error.filename))
    logger.warning("%s: left out, the folder cannot be listed (%s)", place, error.strerror)


def _is_input(path: Path) -> bool | None:
    """Whether a file is an input by name or content; None if it cannot be read."""
    try:
        if not path.is_file():
            return None
        return path.name.lower().endswith(RADIOGRAPHS) or is_dicom(path)
    except OSError as error:
        logger.warning("%s: left out, the file cannot be read (%s)", shown(str(path)), error.strerror)
        return None
