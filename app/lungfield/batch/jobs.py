"""What the main process and its workers tell each other. Free of torch."""

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
"""How a file can end."""


class Carrier(Protocol):
    """Brings files to a worker and takes its results away, where they lie in no folder of this machine."""

    def at_hand(self, job: Job) -> AbstractContextManager[None]:
        """Have the file of a job at its `path` while the block runs."""

    def deliver(self, places: Sequence[str]) -> None:
        """Take away the files that were written at these places below `WorkerSettings.output`."""


@dataclass(frozen=True)
class WorkerSettings:
    """What all files of a run share.

    Attributes:
        bundle: what segments them.
        formats: what to write, by the names of `outputs.FORMATS`.
        created: date and time that DICOM objects bear.
        backend: what runs the network on a CPU: 'torch' or 'openvino'.
        check_mirrored: also segment every mirrored radiograph.
        structures: as in `SaveOptions`, and likewise `viewer_geometry`.
        require_frontal: skip what is no frontal view of the chest by its header.
        memory_bytes: how much memory a worker may take for its files; more is refused to it.
        skipped_notice: write a secondary capture that says why, of a DICOM image that is skipped.
        carrier: carries inputs and results; None where they lie in folders of this machine.
        niceness: added to that of the process that starts the workers (nice(2)), where there is such a thing.
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
    carrier: Carrier | None = None
    niceness: int = 0


@dataclass(frozen=True)
class Job:
    """One file to segment: its number in the run, its path, and its place below the folder that was named.

    `name` is that place without the suffix, as the results are called. `created` is the date and time that
    its DICOM objects bear; None for that of the settings. `uri` is where a carrier finds it, empty for a file
    that is at `path` already, and `size` is in bytes, where a carrier knows it.
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
    """From a worker: it has started."""


@dataclass(frozen=True)
class Ended:
    """From a worker: how the file of a ticket ended.

    Attributes:
        row: what the tables say of it.
        uid_hash: a digest of its SOP Instance UID, where it has one.
        stop: why the run cannot go on (no space, a read-only disk), else empty.
    """

    ticket: int
    row: dict[str, Any]
    uid_hash: str | None = None
    stop: str = ""


def ended_row(job: Job, status: str, reason: Reason, text: str, seconds: float) -> dict[str, Any]:
    """The row of a file that was not segmented."""
    return {
        "file": job.relative.as_posix(),
        "status": status,
        "reason_code": str(reason),
        "reason": text,
        "seconds": seconds,
    }
