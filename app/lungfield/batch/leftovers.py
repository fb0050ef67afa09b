"""Remove the results of earlier runs from an output folder, unless an entry of the journal names them."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any

from lungfield.batch.journal import Journal, read_entries
from lungfield.batch.outputs import ALL_FORMATS
from lungfield.names import shown

logger = logging.getLogger(__name__)

REPORT = "report.html"

_FOLDERS = {kind.folder for kind in ALL_FORMATS.values()}


def outputs_of(row: Mapping[str, Any]) -> list[str]:
    """The paths, below the output folder, of the outputs in a row."""
    return [row[name] for name in ALL_FORMATS if row.get(name)]


def adopt(journal: Journal) -> None:
    """Announce the outputs in the rows of a journal that an older version, without announcements, wrote."""
    if not journal.announced():
        journal.announce(output for entry in journal.entries() for output in outputs_of(entry.row))


def remove_leftovers(journal: Journal, output: Path, files: Sequence[str], *, has_report: bool) -> None:
    """Remove announced files that are not results of this run, so that nobody mistakes them for results.

    Args:
        journal: of the run; entries of files that are not in `files` are removed.
        output: the output folder.
        files: the names of all files of the run.
        has_report: whether the run writes a report, so that an older one may stay.
    """
    journal.retain(files)
    results = {path for entry in read_entries(journal.path, files) for path in outputs_of(entry.row)}
    if has_report:
        results.add(REPORT)
    stale = [path for path in journal.announced() if path not in results and _is_ours(path)]
    for path in stale:
        _remove(output, output / path)
    remaining = [path for path in stale if os.path.lexists(output / path)]
    journal.forget(set(stale).difference(remaining))
    if remaining:
        logger.warning(
            "%d results of an earlier run could not be removed, such as %s; they do not belong to this run",
            len(remaining),
            shown(remaining[0]),
        )


def remove_parts(output: Path) -> None:
    """Remove the partial files of a run that was killed."""
    for folder in _FOLDERS:
        for part in (output / folder).rglob(".*.part"):
            part.unlink(missing_ok=True)


def _is_ours(path: str) -> bool:
    """Whether a path lies where runs write. A journal is not trusted: it may contain any path."""
    parts = PurePath(path).parts
    return path == REPORT or (len(parts) > 1 and parts[0] in _FOLDERS and ".." not in parts)


def _remove(output: Path, file: Path) -> None:
    """Remove a file, and its folders if they are then empty."""
    try:
        file.unlink(missing_ok=True)
        for folder in file.parents:
            if folder == output or any(folder.iterdir()):
                break
            folder.rmdir()
    except OSError:  # no permission, or a folder or link in its place
        return
