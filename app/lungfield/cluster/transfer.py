"""Transfer files between stores and a worker process, one radiograph at a time."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lungfield.batch.jobs import Job
from lungfield.batch.outputs import ALL_FORMATS
from lungfield.cluster.stores import Store, download
from lungfield.cluster.uris import without_secrets
from lungfield.errors import UnreadableError
from lungfield.formats import NIFTI_PAIR
from lungfield.radiograph.limits import DEFAULT_LIMITS


@dataclass(frozen=True)
class StoreTransfer:
    """A `batch.jobs.Transfer`: it downloads inputs from stores and uploads results to a store.

    Attributes:
        output: the store of the results; None if the worker writes into the output folder directly.
        written: the folder that the worker writes into, used if `output` is given.
        formats: the formats that it may write.
    """

    output: Store | None
    written: Path
    formats: tuple[str, ...]

    @contextmanager
    def downloaded(self, job: Job) -> Iterator[None]:
        """Download the file of a job if it is in a store; at the end, remove it and the uploaded results."""
        try:
            if job.uri:
                self._fetch(job)
            yield
        finally:
            if job.uri:
                shutil.rmtree(job.path.parent, ignore_errors=True)
            if self.output is not None:
                for name in self.formats:
                    (self.written / ALL_FORMATS[name].place(job.name)).unlink(missing_ok=True)

    def upload(self, places: Sequence[str]) -> None:
        """Upload results, each with a single put; does nothing without `output`."""
        if self.output is not None:
            for place in places:
                self.output.upload(place, self.written / place)

    def _fetch(self, job: Job) -> None:
        if job.size is not None:
            DEFAULT_LIMITS.check_file_bytes(job.size)
        job.path.parent.mkdir(parents=True)
        _download(job.uri, job.path)
        header, image = NIFTI_PAIR
        if job.path.suffix.lower() == header:
            for suffix in (image, image.upper(), f"{image}.gz"):
                try:
                    _download(job.uri[: -len(header)] + suffix, job.path.with_suffix(suffix))
                except UnreadableError:  # if no image file exists, the reader raises
                    continue
                return


def _download(uri: str, path: Path) -> None:
    """As `stores.download`, with errors without the file's name: the table has it in the same row."""
    try:
        download(uri, path)
    except UnreadableError as error:
        text = str(error).removeprefix(f"{without_secrets(uri)}: ")
        raise UnreadableError(text, reason=error.reason) from error
