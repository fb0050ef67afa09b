"""Find the input files of a run, without the results of this run and of earlier ones."""

from __future__ import annotations

import logging
import os
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path, PurePath

from lungfield.batch.journal import FOLDER
from lungfield.batch.leftovers import REPORT
from lungfield.batch.options import Options
from lungfield.batch.outputs import ALL_FORMATS
from lungfield.errors import DataError, OutputError
from lungfield.radiograph import Found, search

logger = logging.getLogger(__name__)

PARTS = "results-parts"
"""The folder of the tables of a sharded run."""

WRITTEN = (
    FOLDER,
    *(kind.folder for kind in ALL_FORMATS.values()),
    "results.csv",
    "results.json",
    "results.parquet",
    REPORT,
    PARTS,
)
"""The files and folders that runs write into their output folder."""


FILTERED = "filtered"
"""The key in `Found.left_out` for files that --include and --exclude leave out."""


def find_inputs(inputs: Sequence[Path], output: Path | None, options: Options) -> Found:
    """Find the files to segment below the inputs.

    Left out are the results of this run and of earlier ones, and files that the options leave out.

    Args:
        inputs: files and folders.
        output: the output folder of this run; None if it is in a store.
        options: its `include` and `exclude` are used.

    Raises:
        DataError: an input does not exist, or there is no file to segment.
    """
    if not inputs:
        raise DataError("There is no input: name files or folders, or give a list of them with --files-from.")
    earlier = [*filter(None, [output]), *_runs_in(inputs)]
    found = _filtered(search(inputs, exclude=_results_of_runs(earlier)), options)
    for remark in found.remarks:
        logger.info("%s", remark)
    if not found.files and FILTERED in found.left_out:
        raise DataError(
            f"--include and --exclude leave none of the {found.left_out[FILTERED]} files to segment. A glob "
            "is compared with the end of the paths below the inputs: '*.dcm', 'PA/*.png'."
        )
    if not found.files:
        raise DataError(
            f"No DICOM or NIfTI file, and no picture, in {', '.join(map(str, inputs))}. Name files, or "
            f"folders that hold some.{''.join(f' ({remark}.)' for remark in found.remarks)}"
        )
    return found


def read_inputs(source: Path) -> list[Path]:
    """Read a list of files and folders, one per line; blank lines are ignored.

    Args:
        source: a text file, or '-' for standard input. Paths are relative to the working directory.

    Raises:
        DataError: the list cannot be read or is empty, or a path in it does not exist.
    """
    try:
        content = sys.stdin.buffer.read() if source == Path("-") else source.read_bytes()
    except OSError as error:
        raise DataError(f"The list of files {source} cannot be read: {error.strerror}.") from error
    lines = [os.fsdecode(line.removesuffix(b"\r")) for line in content.split(b"\n")]
    paths = {number: Path(line) for number, line in enumerate(lines, start=1) if line.strip()}
    if not paths:
        raise DataError(f"The list of files {source} is empty: write one path on each line.")
    for number, path in paths.items():
        if "\0" in str(path) or not path.exists():
            raise DataError(
                f"Line {number} of the list of files {source} names {path}, which does not exist. Paths are "
                "relative to the working directory, one on each line."
            )
    return list(paths.values())


def _filtered(found: Found, options: Options) -> Found:
    """Remove the files that `include` and `exclude` of the options leave out."""
    files = [file for file in found.files if is_chosen(file.relative, options)]
    count = len(found.files) - len(files)
    if not count:
        return found
    remark = f"left out: {count} files by --include and --exclude"
    return replace(
        found,
        files=files,
        left_out={**found.left_out, FILTERED: count},
        remarks=(*found.remarks, remark),
    )


def is_chosen(relative: PurePath, options: Options) -> bool:
    """Whether `include` and `exclude` select a file; `relative` is its path below the input folder."""
    return (not options.include or _matches([relative], options.include)) and not _matches(
        [relative, *relative.parents], options.exclude
    )


def _matches(paths: Sequence[PurePath], globs: Sequence[str]) -> bool:
    return any(path.match(glob) for path in paths for glob in globs)


def _runs_in(inputs: Sequence[Path]) -> list[Path]:
    """The inputs that hold results of an earlier run beside other files."""
    return [path for path in map(Path, inputs) if (path / FOLDER).is_dir()]


def _results_of_runs(folders: Sequence[Path]) -> list[Path]:
    """The paths of what runs write into output folders; none of it is an input."""
    return [folder / name for folder in folders for name in WRITTEN]


def require_writable(folder: Path) -> None:
    """Create the output folder if it is missing, and check that files can be created there.

    Raises:
        OutputError: the folder cannot be created or written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise OutputError(f"The output folder {folder} cannot be written to: {error.strerror}.") from error
