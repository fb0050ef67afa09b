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

_TABLES = ("results.csv", "results.json", "results.parquet", REPORT)


def find_inputs(inputs: Sequence[Path], output: Path) -> Found:
    """The files to segment, without what this run and earlier ones have written."""
    earlier = [path for path in map(Path, inputs) if (path / FOLDER).is_dir()]  # beside other files
    results = (FOLDER, *(kind.folder for kind in FORMATS.values()), *_TABLES)
    found = search(inputs, exclude=[folder / name for folder in (output, *earlier) for name in results])
    for remark in found.remarks:
        logger.info("%s", remark)
    if not found.files:
        raise DataError(
            f"No DICOM or NIfTI file, and no picture, in {', '.join(map(str, inputs))}. Name files, or "
            f"folders that hold some.{''.join(f' ({remark}.)' for remark in found.remarks)}"
        )
    return found


def require_writable(folder: Path) -> None:
    """Make the output folder where it is missing, and see that files can be made there."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise OutputError(f"The output folder {folder} cannot be written to: {error.strerror}.") from error
