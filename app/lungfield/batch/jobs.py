"""The messages between the main process and its workers. Does not import torch."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any, Protocol

from lungfield.batch.references import References
from lungfield.bundles import Bundle
from lungfield.errors import Reason
from lungfield.labels import ONLY_LUNGS

DONE, SKIPPED, FAILED = "done", "skipped", "failed"
"""The values of a file's status."""


class Transfer(Protocol):
    """Transfers a worker's inputs and results, if they are not in folders of this machine."""

    def downloaded(self, job: Job) -> AbstractContextManager[None]:
        """A context in which the file of a job is at `job.path`."""

    def upload(self, places: Sequence[str]) -> None:
        """Upload the files at these paths below `WorkerSettings.output`."""


@dataclass(frozen=True)
class WorkerSettings:
    """The settings that all files of a run share.

    Attributes:
        bundle: the bundle that segments them.
        output: folder that the worker writes into.
        formats: what to write, by the names of `outputs.FORMATS`.
        created: date and time of content and series in DICOM objects.
        backend: 'torch' or 'openvino', which runs on a CPU only.
        check_mirrored: also run the network on the mirrored radiograph.
        structures: as in `SaveOptions`, and likewise `viewer_geometry`.
        references: reference masks to compare with; None for no comparison.
        require_frontal: skip images whose header says that they are no frontal view of the chest.
        memory_bytes: limit of the memory that a worker may allocate for its files; None for no limit.
        skipped_notice: write a secondary capture with the reason for each DICOM image that is skipped.
        transfer: transfers inputs and results; None if they are in folders of this machine.
        niceness: added to the niceness of the process that starts the workers (nice(2)).
    """

    bundle: Bundle
    output: Path
    formats: tuple[str, ...]
    created: datetime.datetime
    backend: str = "torch"
    check_mirrored: bool = False
    structures: tuple[str, ...] = ONLY_LUNGS
    viewer_geometry: bool = False
    references: References | None = None
    require_frontal: bool = True
    memory_bytes: int | None = None
    skipped_notice: bool = False
    transfer: Transfer | None = None
    niceness: int = 0


@dataclass(frozen=True)
class Job:
    """One file to segment.

    Attributes:
        ticket: its number in the run.
        path: of the file on this machine.
        relative: its path below the input folder.
        name: `relative` without the suffix; the name of its results.
        created: date and time for its DICOM objects; None for `WorkerSettings.created`.
        uri: from where `Transfer` downloads it to `path`; empty if it is at `path` already.
        size: in bytes; None if not known before the download.
    """

    ticket: int
    path: Path
    relative: PurePath
    name: PurePath
    created: datetime.datetime | None = None
    uri: str = ""
    size: int | None = None


@dataclass(frozen=True)
class Ready:
    """Message of a worker: it has started."""


@dataclass(frozen=True)
class Ended:
    """Message of a worker: the result of a file.

    Attributes:
        ticket: of its `Job`.
        row: its row in the tables.
        uid_hash: SHA-256 of its SOP Instance UID in hexadecimal; None if it has none.
        stop: why the run cannot continue (no space, a read-only disk), else empty.
    """

    ticket: int
    row: dict[str, Any]
    uid_hash: str | None = None
    stop: str = ""


def ended_row(job: Job, status: str, reason: Reason, text: str, seconds: float) -> dict[str, Any]:
    """The table row of a file that was not segmented; `text` is the reason for people."""
    return {
        "file": job.relative.as_posix(),
        "status": status,
        "reason_code": str(reason),
        "reason": text,
        "seconds": seconds,
    }
