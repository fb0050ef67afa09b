"""The files that a run segments: never what this run or an earlier one has written."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Sequence
from pathlib import Path

from lungfield.batch.journal import FOLDER
from lungfield.batch.leftovers import REPORT
from lungfield.batch.outputs import FORMATS
from lungfield.errors import DataError, OutputError
from lungfield.radiograph import Found, search

logger = logging.getLogger(__name__)

PARTS = "results-parts"
"""The folder of the tables of a run in shards."""

WRITTEN = (
    FOLDER,
    *(kind.folder for kind in FORMATS.values()),
    "results.csv",
    "results.json",
    "results.parquet",
    REPORT,
    PARTS,
)
"""What runs write into their output folder."""


def find_inputs(inputs: Sequence[Path], output: Path | None) -> Found:
    """The files to segment, without what this run and earlier ones have written."""
    found = search(inputs, exclude=_results_of_runs([*filter(None, [output]), *_runs_in(inputs)]))
    for remark in found.remarks:
        logger.info("%s", remark)
    if not found.files:
        raise DataError(
            f"No DICOM or NIfTI file, and no picture, in {', '.join(map(str, inputs))}. Name files, or "
            f"folders that hold some.{''.join(f' ({remark}.)' for remark in found.remarks)}"
        )
    return found


def _runs_in(inputs: Sequence[Path]) -> list[Path]:
    """The inputs that hold results of an earlier run beside other files."""
    return [path for path in map(Path, inputs) if (path / FOLDER).is_dir()]


def _results_of_runs(folders: Sequence[Path]) -> list[Path]:
    """What runs write into output folders: none of it is an input."""
    return [folder / name for folder in folders for name in WRITTEN]


def require_writable(folder: Path) -> None:
    """Make the output folder where it is missing, and see that files can be made there."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise OutputError(f"The output folder {folder} cannot be written to: {error.strerror}.") from error
