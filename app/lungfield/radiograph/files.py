"""Finding the files to read in what the user names: files and folders."""

from __future__ import annotations

import logging
import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

from lungfield.errors import DataError
from lungfield.names import shown
from lungfield.radiograph.streams import has_preamble

logger = logging.getLogger(__name__)

SUFFIXES = (
    *(".dcm", ".dicom", ".dcm.gz", ".nii", ".nii.gz", ".hdr"),
    *(".png", ".jpg", ".jpeg", ".tif", ".tiff", ".jp2", ".j2k", ".webp", ".bmp", ".gif"),
)
LEFT_OUT = {
    "archives; unpack them": (".zip", ".7z", ".rar", ".tar", ".tgz", ".bz2", ".xz", ".gz"),
    "pictures of a format that cannot be read; convert them": (".heic", ".heif", ".avif", ".jxl", ".psd"),
    "volumes of a format that cannot be read; convert them": (".mha", ".mhd", ".nrrd", ".nhdr"),
    "documents or films": (".pdf", ".mp4", ".mov", ".avi", ".mpg"),
}
"""Files that may hold radiographs, and are not read: why, and their suffixes."""
RESULTS = ".lungfield"
"""A folder that holds this one holds the results of a run."""
BARE_ELEMENTS = re.compile(
    rb"(?s:\x08\0[\0-\x18]\0(?:UL|CS|UI|DA|SH|LO|OB)|\x02\0[\0-\x18]\0(?:UL|OB|UI)"
    rb"|\x08\0[\0-\x18]\0.{2}\0\0|\0\x08\0[\0-\x18](?:UL|CS|UI|DA|SH|LO|OB))"
)
"""How a data set without a preamble starts: a low element of group 0008 or 0002 (DICOM PS3.5, 7.1)."""


@dataclass(frozen=True)
class InputFile:
    """A file to read.

    Attributes:
        path: where it is.
        relative: where its results belong below the output folder: the path below the folder that was
            named, or the bare name of a file that was named. Different for every file of one search.
    """

    path: Path
    relative: PurePath


def find_files(inputs: Sequence[Path], *, exclude: Sequence[Path] = ()) -> list[InputFile]:
    """Return the files in `inputs`, in the order of `inputs`, those of one folder sorted.

    A file that is named is always returned. A folder is searched with all folders in it, though none
    that is a link or holds the results of an earlier run, for files with a suffix of `SUFFIXES` and for DICOM
    files of any name, with a preamble or without. Hidden files, DICOMDIR and __MACOSX are left out. A file
    that is reached twice is returned once. Whatever lies below a folder of `exclude` is left out, so that
    results of an earlier run are not taken for inputs. How many other files that may hold radiographs were
    left out is logged.

    Raises:
        DataError: an input does not exist, or a folder that was named cannot be listed.
    """
    excluded = [folder.resolve() for folder in exclude]
    found: dict[Path, InputFile] = {}
    for path in map(Path, inputs):
        if path.is_dir():
            candidates = [InputFile(file, file.relative_to(path)) for file in _candidates(path)]
        elif path.exists():
            candidates = [InputFile(path, PurePath(path.name))]
        else:
            raise DataError(f"{path}: no such file or folder; check the path")
        for candidate in candidates:
            place = candidate.path.resolve()
            if not any(place.is_relative_to(folder) for folder in excluded):
                found.setdefault(place, candidate)
    return _without_collisions(list(found.values()))


def stem(name: str, suffixes: Sequence[str] = SUFFIXES) -> str:
    """The name of a file without the suffix of its format: '1.2.840' has none, 'a.nii.gz' a double one."""
    lower = name.lower()
    found = (suffix for suffix in sorted(suffixes, key=len, reverse=True) if lower.endswith(suffix))
    suffix = next(found, "")
    return name[: len(name) - len(suffix)] or name


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


def _candidates(folder: Path) -> list[Path]:
    try:
        os.scandir(folder).close()
    except OSError as error:
        raise DataError(f"{folder}: the folder cannot be listed ({error.strerror})") from error
    passed_over: Counter[str] = Counter()
    found = []
    for path in _walk(folder):
        if _is_candidate(path):
            found.append(path)
        else:
            name = path.name.lower()
            passed_over.update(why for why, suffixes in LEFT_OUT.items() if name.endswith(suffixes))
    for why, count in sorted(passed_over.items()):
        logger.warning("%s: left out %d files: %s", shown(str(folder)), count, why)
    return sorted(found)


def _walk(folder: Path) -> Iterator[Path]:
    for parent, folders, names in os.walk(folder, onerror=_warn, followlinks=False):
        if RESULTS in folders and Path(parent) != folder:
            logger.warning("%s: left out, it holds the results of an earlier run", shown(parent))
            folders.clear()
            continue
        folders[:] = [name for name in folders if not name.startswith(".") and name != "__MACOSX"]
        yield from (Path(parent, name) for name in names if not name.startswith("."))


def _warn(error: OSError) -> None:
    place = shown(str(error.filename))
    logger.warning("%s: left out, the folder cannot be listed (%s)", place, error.strerror)


def _is_candidate(path: Path) -> bool:
    if path.name.upper() == "DICOMDIR":
        return False
    try:
        return path.is_file() and (path.name.lower().endswith(SUFFIXES) or _is_dicom(path))
    except OSError as error:
        logger.warning("%s: left out, the file cannot be read (%s)", shown(str(path)), error.strerror)
        return False


def _is_dicom(path: Path) -> bool:
    """Whether a file looks like DICOM, whatever its name; one without a preamble only if it has no suffix."""
    if has_preamble(path):
        return True
    if path.suffix and not path.suffix[1:].isdigit():  # '1.2.840.10008' ends in a number
        return False
    with path.open("rb") as stream:
        return BARE_ELEMENTS.match(stream.read(8)) is not None
