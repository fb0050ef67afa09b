"""A radiograph with both lungs in its label map, and the header of a DICOM file to go with it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom import Dataset, dcmread
from pydicom.datadict import dictionary_VR, keyword_for_tag
from pydicom.uid import DigitalXRayImageStorageForPresentation

from lungfield.records import Radiograph, Spacing

SHAPE = (61, 83)


@pytest.fixture
def label_map() -> NDArray[np.uint8]:
    """(61, 83), like none of its own flips and turns; rows times columns is no multiple of 8."""
    labels = np.zeros(SHAPE, dtype=np.uint8)
    labels[5:50, 8:30], labels[9:44, 50:70] = 1, 2
    labels[5, 8] = 0
    labels[12, 75] = 2
    return labels


@pytest.fixture
def make_header() -> Callable[..., Dataset]:
    """A factory of DICOM headers: attributes by keyword; None takes one away."""

    def make(**attributes: Any) -> Dataset:
        header = Dataset()
        given = {
            "SOPClassUID": DigitalXRayImageStorageForPresentation,
            "SOPInstanceUID": "1.2.826.0.1.3680043.2.1.1",
            "SeriesInstanceUID": "1.2.826.0.1.3680043.2.1.2",
            "StudyInstanceUID": "1.2.826.0.1.3680043.2.1.3",
            "PatientName": "Doe^Jane",
            "PatientID": "PID-4711",
            "PatientBirthDate": "19501231",
            "PatientSex": "F",
            "StudyDate": "20240229",
            "StudyTime": "101112",
            "StudyID": "S1",
            "AccessionNumber": "ACC-0815",
            "PatientOrientation": ["L", "F"],
            "Modality": "DX",
            "InstanceNumber": 3,
            "Rows": SHAPE[0],
            "Columns": SHAPE[1],
        }
        for keyword, value in (given | attributes).items():
            if value is not None:
                setattr(header, keyword, value)
        return header

    return make


@pytest.fixture
def radiograph(make_header: Callable[..., Dataset]) -> Radiograph:
    rows, columns = np.mgrid[: SHAPE[0], : SHAPE[1]]
    pixels = ((rows + columns) / (sum(SHAPE) - 2)).astype(np.float32)
    spacing = Spacing(0.143, 0.15, "PixelSpacing")
    return Radiograph(Path("a.dcm"), pixels, spacing=spacing, file_format="DICOM", header=make_header())


@pytest.fixture
def differences() -> Callable[[Dataset, Dataset], set[str]]:
    """Keywords of the attributes, at any depth, in which two data sets are not alike."""
    return _differences


def _differences(one: Dataset, other: Dataset) -> set[str]:
    different = set()
    for tag in {element.tag for element in one} | {element.tag for element in other}:
        if tag not in one or tag not in other:
            different.add(keyword_for_tag(tag))
        elif one[tag].VR == "SQ" and len(one[tag].value) == len(other[tag].value):
            pairs = zip(one[tag].value, other[tag].value, strict=True)
            different |= set().union(*(_differences(*pair) for pair in pairs))
        elif one[tag].value != other[tag].value:
            different.add(one[tag].keyword)
    return different


@pytest.fixture
def assert_reproducible() -> Callable[[Callable[[datetime | None, str], Path]], None]:
    """Assert that `save(created, name)` gives the same bytes for one time; another changes but the times."""

    def check(save: Callable[[datetime | None, str], Path]) -> None:
        noon = datetime(2024, 5, 6, 12, 0, 0, 999)
        first = save(noon, "first.dcm")
        assert first.read_bytes() == save(noon, "second.dcm").read_bytes()
        found, later = dcmread(first), dcmread(save(datetime(2025, 1, 2, 3, 4, 5), "later.dcm"))
        assert (found.ContentDate, found.ContentTime) == ("20240506", "120000")
        assert (found.InstanceCreationDate, found.InstanceCreationTime) == ("20240506", "120000")
        changed = _differences(found, later)
        assert {"ContentDate", "InstanceCreationTime", "ContributionDateTime"} <= changed
        assert {dictionary_VR(keyword) for keyword in changed} == {"DA", "TM", "DT"}
        assert found.file_meta == later.file_meta

    return check
