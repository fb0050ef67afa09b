"""A radiograph with both lungs in its label map, and the header of a DICOM file to go with it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom import Dataset
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
