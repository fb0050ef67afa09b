"""Access to a DICOMweb archive: query series, retrieve and store objects (PS3.18, chapter 10)."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dicomweb_client import DICOMwebClient
from pydicom import Dataset
from requests import RequestException

from lungfield.errors import DataError, OutputError
from lungfield.export.derived import to_bytes

_AS_STORED = (("application/dicom", "*"),)  # otherwise archives decompress objects


@dataclass(frozen=True)
class InstanceReference:
    """StudyInstanceUID, SeriesInstanceUID, SOPInstanceUID and Modality of an object."""

    study: str
    series: str
    instance: str
    modality: str

    @classmethod
    def of(cls, header: Dataset) -> InstanceReference:
        """The reference to the object of a header."""
        return cls(
            str(header.StudyInstanceUID),
            str(header.SeriesInstanceUID),
            str(header.SOPInstanceUID),
            str(header.get("Modality", "")),
        )

    @property
    def info(self) -> dict[str, str]:
        """The reference by DICOM keywords."""
        return {
            "StudyInstanceUID": self.study,
            "SeriesInstanceUID": self.series,
            "SOPInstanceUID": self.instance,
            "Modality": self.modality,
        }


class Archive:
    """A DICOMweb archive, with errors that name its URL.

    All methods raise `DataError` if the archive does not answer or refuses the request.
    """

    def __init__(self, client: DICOMwebClient) -> None:
        self._client = client

    @property
    def url(self) -> str:
        """Its URL."""
        return str(self._client.base_url)

    def series(self, filters: Mapping[str, str]) -> Iterator[Dataset]:
        """All matching series (QIDO-RS), over all pages of the answer.

        Args:
            filters: values by DICOM keyword.

        Raises:
            DataError: the archive does not answer, or refuses the request.
        """
        yield from self._pages(
            "SeriesInstanceUID",
            lambda offset: self._client.search_for_series(search_filters=dict(filters), offset=offset),
        )

    def instances(self, study: str, series: str) -> Iterator[Dataset]:
        """All objects of a series (QIDO-RS), over all pages of the answer.

        Raises:
            DataError: the archive does not answer, or refuses the request.
        """
        yield from self._pages(
            "SOPInstanceUID", lambda offset: self._client.search_for_instances(study, series, offset=offset)
        )

    def _pages(self, keyword: str, ask: Callable[[int], list[dict[str, Any]]]) -> Iterator[Dataset]:
        seen: set[str] = set()
        while True:
            with self._errors("cannot be searched"):
                found = {str(one[keyword].value): one for one in map(_dataset, ask(len(seen)))}
            new = found.keys() - seen
            if not new:  # the last page; or an archive without paging, which repeats its answer
                return
            yield from (one for uid, one in found.items() if uid in new)
            seen |= new

    def headers(self, study: str, series: str) -> list[Dataset]:
        """The headers of a series' objects (WADO-RS metadata) by InstanceNumber, without bulk data."""
        with self._errors("gave no headers"):
            headers = [_dataset(one) for one in self._client.retrieve_series_metadata(study, series)]
        return sorted(headers, key=lambda header: int(header.get("InstanceNumber") or 0))

    @contextmanager
    def fetched(self, reference: InstanceReference) -> Iterator[Path]:
        """A context with an object as a temporary file, in the archive's transfer syntax (WADO-RS)."""
        with self._errors("gave no image"):
            dataset = self._client.retrieve_instance(
                reference.study, reference.series, reference.instance, media_types=_AS_STORED
            )
        with as_file(dataset) as path:
            yield path

    def send(self, *datasets: Dataset, insist: bool = False) -> list[str]:
        """Store objects in the archive (STOW-RS, PS3.18, section 10.5).

        Args:
            datasets: the objects.
            insist: raise an error for an object that the answer does not list as stored.

        Returns:
            A line for each object that was stored with a warning.

        Raises:
            DataError: the archive does not answer, or refuses the request.
            OutputError: an object was not stored.
        """
        try:
            with self._errors("took no object"):
                answer = self._client.store_instances(datasets)
        except DataError as error:
            answer = _refusals(error.__cause__)
            if answer is None:
                raise
        for failure in answer.get("FailedSOPSequence") or ():
            raise OutputError(
                f"{self.url}: did not store a {_kind(failure, datasets)} object (FailureReason "
                f"{int(failure.get('FailureReason') or 0):#06x}, PS3.18 annex I); see the archive's log."
            )
        kept = {
            str(one.get("ReferencedSOPInstanceUID")): one for one in answer.get("ReferencedSOPSequence") or ()
        }
        for dataset in datasets if insist else ():
            if str(dataset.SOPInstanceUID) not in kept:
                raise OutputError(
                    f"{self.url}: does not confirm that it stored a {dataset.Modality} object; "
                    "see the archive's log."
                )
        return [
            f"stored a {_kind(one, datasets)} object with WarningReason {int(one.WarningReason):#06x}"
            for one in kept.values()
            if one.get("WarningReason")
        ]

    @contextmanager
    def _errors(self, what: str) -> Iterator[None]:
        """Turn the client's exceptions into a `DataError` with the URL and advice."""
        try:
            yield
        # ValueError: the answer is no valid DICOMweb answer.
        except (RequestException, ValueError, AttributeError) as error:
            response = getattr(error, "response", None)
            status = "" if response is None else f" {response.status_code}"
            raise DataError(
                f"{self.url}: the archive {what} ({type(error).__name__}{status}); check that this is the "
                "root of its DICOMweb services, that it is up, and that user and password are right."
            ) from error


@contextmanager
def as_file(dataset: Dataset) -> Iterator[Path]:
    """A context with a data set as a temporary file, in a folder that only its owner may read."""
    with tempfile.TemporaryDirectory(prefix="lungs-") as folder:
        path = Path(folder) / "object.dcm"
        path.write_bytes(to_bytes(dataset))
        yield path


def _kind(item: Dataset, datasets: Sequence[Dataset]) -> str:
    """The modality of the object that an item of the answer refers to."""
    uid = item.get("ReferencedSOPInstanceUID")
    named = datasets if len(datasets) == 1 else [one for one in datasets if one.SOPInstanceUID == uid]
    return str(named[0].Modality) if named else "DICOM"


def _refusals(error: BaseException | None) -> Dataset | None:
    """The data set in an answer of failure (409), with a reason for each object; None without one."""
    response = getattr(error, "response", None)
    try:
        answer = Dataset.from_json(response.json()) if response is not None else Dataset()
    except Exception:  # no JSON, or no DICOM JSON
        return None
    return answer if answer.get("FailedSOPSequence") else None


def _dataset(item: Mapping[str, Any]) -> Dataset:
    """A header from DICOM JSON (PS3.18, annex F); values that are given by a URI are empty."""
    return Dataset.from_json(dict(item), bulk_data_uri_handler=lambda uri: None)  # noqa: ARG005
