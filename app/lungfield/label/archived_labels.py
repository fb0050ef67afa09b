"""Find the labels among an archive's DICOM SEG objects: those that an annotator drew or corrected."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from pydicom import Dataset

from lungfield.dicomweb import Archive, InstanceReference
from lungfield.label.segmentations import AUTOMATIC
from lungfield.labels import LUNGS

_LUNG_CODES = {lung.code.value for lung in LUNGS}


@dataclass(frozen=True)
class ArchivedLabel:
    """A segmentation of an image.

    Attributes:
        reference: the DICOM SEG.
        image: SeriesInstanceUID of the image.
        created: date and time of creation, as text that sorts by time.
    """

    reference: InstanceReference
    image: str
    created: str


class ArchivedLabels:
    """The labels of an archive: its DICOM SEG objects that an annotator drew or corrected."""

    def __init__(self, archive: Archive) -> None:
        self._archive = archive
        # Objects never change in an archive, so a series of segmentations is read only once.
        self._known: dict[tuple[str, str], list[ArchivedLabel]] = {}

    def newest(self, images: Mapping[str, Dataset]) -> dict[str, ArchivedLabel]:
        """The newest label of each labelled image, by the image's SeriesInstanceUID.

        `images` holds the archive's attributes of the images' series, by SeriesInstanceUID.
        """
        studies = {str(series.StudyInstanceUID) for series in images.values()}
        newest: dict[str, ArchivedLabel] = {}
        for series in self._archive.series({"Modality": "SEG"}):
            if str(series.StudyInstanceUID) not in studies:
                continue
            for label in self._labels_in(series):
                if label.image in images and label.created >= getattr(newest.get(label.image), "created", ""):
                    newest[label.image] = label
        return newest

    def _labels_in(self, series: Dataset) -> list[ArchivedLabel]:
        """The labels among the segmentations of a series."""
        key = str(series.SeriesInstanceUID), str(series.get("NumberOfSeriesRelatedInstances", ""))
        if key not in self._known:
            headers = self._archive.headers(str(series.StudyInstanceUID), str(series.SeriesInstanceUID))
            self._known[key] = [label for header in headers for label in _labels_of(header)]
        return self._known[key]


def _labels_of(header: Dataset) -> Iterator[ArchivedLabel]:
    """The label of a segmentation's header; none if no segment is a lung that an annotator drew."""
    segments = header.get("SegmentSequence") or ()
    codes = {
        code.get("CodeValue")
        for segment in segments
        for code in segment.get("SegmentedPropertyTypeCodeSequence") or ()
    }
    drawn = any(segment.get("SegmentAlgorithmType") != AUTOMATIC for segment in segments)
    if not (drawn and codes & _LUNG_CODES):
        return
    created = f"{header.get('ContentDate', '')}{header.get('ContentTime', '')}"
    for series in header.get("ReferencedSeriesSequence") or ():
        yield ArchivedLabel(InstanceReference.of(header), str(series.SeriesInstanceUID), created)
