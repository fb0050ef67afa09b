"""An example of each object that a node makes, without a patient, for the conformance statement."""

from __future__ import annotations

import datetime
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydicom import Dataset, dcmread
from pydicom.datadict import keyword_for_tag
from pydicom.uid import UID, DigitalXRayImageStorageForPresentation

from lungfield import export
from lungfield.errors import Reason
from lungfield.mask import Regions, measure
from lungfield.records import Radiograph, Spacing

_SIZE = 64
_HEADER = {
    "SpecificCharacterSet": "ISO_IR 100",
    "SOPClassUID": DigitalXRayImageStorageForPresentation,
    "SOPInstanceUID": "2.25.1",
    "SeriesInstanceUID": "2.25.2",
    "StudyInstanceUID": "2.25.3",
    "PatientName": "Name^Of",
    "PatientID": "identifier",
    "IssuerOfPatientID": "issuer",
    "PatientBirthDate": "19010203",
    "PatientSex": "O",
    "PatientAge": "099Y",
    "PatientIdentityRemoved": "YES",
    "DeidentificationMethod": "method",
    "LongitudinalTemporalInformationModified": "REMOVED",
    "StudyDate": "20010203",
    "StudyTime": "040506",
    "StudyID": "study",
    "StudyDescription": "description",
    "AccessionNumber": "accession",
    "ReferringPhysicianName": "Name^Other",
    "PatientOrientation": ["L", "F"],
    "BurnedInAnnotation": "NO",
    "Modality": "DX",
    "InstanceNumber": 7,
    "Rows": _SIZE,
    "Columns": _SIZE,
}


@dataclass(frozen=True)
class ExampleObject:
    """The properties of a format's DICOM objects.

    Attributes:
        format: its name in `formats`, or 'notice' (`skipped_notice`).
        sop_class: its SOP class.
        transfer_syntax: that of its file.
        copied: keywords of the top-level attributes that have the radiograph's value.
        made: keywords of the other top-level attributes.
    """

    format: str
    sop_class: UID
    transfer_syntax: UID
    copied: tuple[str, ...]
    made: tuple[str, ...]


def example_objects() -> Iterator[ExampleObject]:
    """Make one object of each format, and read its attributes."""
    radiograph, label_map = _radiograph(), _label_map()
    algorithm = export.Algorithm("lungfield example", "1.0", "0" * 64)
    created = datetime.datetime(2001, 2, 3, tzinfo=datetime.UTC)
    how = {"algorithm": algorithm, "created": created}
    with tempfile.TemporaryDirectory() as folder:
        names = ("seg", "sr", "sc", "notice")
        seg, sr, sc, notice = (Path(folder) / f"{name}.dcm" for name in names)
        export.save_dicom_seg(radiograph, label_map, seg, **how)  # type: ignore[arg-type]
        regions = Regions(label_map)
        measurements = measure(regions, radiograph.spacing)
        export.save_structured_report(radiograph, measurements, sr, segmentation=seg, **how)  # type: ignore[arg-type]
        export.save_secondary_capture(radiograph, regions, sc, **how)  # type: ignore[arg-type]
        export.save_skipped_notice(
            radiograph.header, radiograph.path, Reason.OTHER_VIEW, notice, created=created
        )
        for path in (seg, sr, sc, notice):
            yield _described(path, radiograph.header)


def _described(path: Path, header: Dataset) -> ExampleObject:
    made = dcmread(path, stop_before_pixels=False)
    keywords = [keyword_for_tag(element.tag) for element in made]
    own = ("SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "InstanceNumber", "Rows", "Columns")
    copied = [
        one for one in keywords if one in header and one not in own and made[one].value == header[one].value
    ]
    return ExampleObject(
        path.stem,
        made.SOPClassUID,
        made.file_meta.TransferSyntaxUID,
        tuple(copied),
        tuple(one for one in keywords if one not in copied),
    )


def _radiograph() -> Radiograph:
    header = Dataset()
    for keyword, value in _HEADER.items():
        setattr(header, keyword, value)
    pixels = np.linspace(0, 1, _SIZE * _SIZE, dtype=np.float32).reshape(_SIZE, _SIZE)
    spacing = Spacing(1.0, 1.0, "PixelSpacing")
    return Radiograph(Path("example"), pixels, spacing=spacing, file_format="DICOM", header=header)


def _label_map() -> np.ndarray:
    label_map = np.zeros((_SIZE, _SIZE), dtype=np.uint8)
    label_map[10:50, 8:28], label_map[10:50, 36:56] = 1, 2
    return label_map
