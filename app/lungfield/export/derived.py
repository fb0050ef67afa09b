"""What the DICOM objects made from a radiograph have in common: patient, study, identifiers, time."""

from __future__ import annotations

import io
import logging
import os
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import DataElement, Dataset
from pydicom.config import RAISE
from pydicom.uid import generate_uid
from pydicom.valuerep import DA, DT, TM, validate_value

from lungfield.errors import HeaderError, OutputError
from lungfield.labels import Code
from lungfield.records import Radiograph

RESEARCH_USE_ONLY = "For research use only: not a medical device, not for diagnosis or treatment."
LONG_STRING = 64
"""Characters that the value representations LO and SH allow at most (PS3.5, section 6.2)."""

_MANUFACTURER = "lungfield"

# What a reference to the source needs, verbatim.
_REQUIRED_UIDS = ("SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID")
# Patient and study, type 2: there in every object, empty where it is not known.
_TYPE_2 = (
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "PatientSex",
    "StudyDate",
    "StudyTime",
    "StudyID",
    "AccessionNumber",
    "ReferringPhysicianName",
)
# What else tells one patient or study from another, or how it was de-identified; copied where it is there.
_OPTIONAL = (
    "IssuerOfPatientID",
    "PatientAge",
    "StudyDescription",
    "PatientIdentityRemoved",
    "DeidentificationMethod",
    "LongitudinalTemporalInformationModified",
)
_CHECKED_VRS = ("AS", "CS", "DA", "DS", "TM")
_SEXES = ("M", "F", "O")


def require_dicom_source(radiograph: Radiograph, path: Path) -> None:
    """Check that a DICOM object can refer to a radiograph.

    Raises:
        HeaderError: its header has no valid identifiers to refer to.
        OutputError: it did not come from DICOM.
    """
    if radiograph.header is None:
        raise OutputError(
            f"{path}: {radiograph.path} is {radiograph.file_format} and not DICOM, and a DICOM object made "
            "from it must refer to a DICOM image; write PNG or NIfTI instead."
        )
    # A component with a leading zero is not valid, but it is found in archives, and a reference must match.
    invalid = [
        keyword
        for keyword in _REQUIRED_UIDS
        if not re.fullmatch(r"\d+(\.\d+)+", uid := str(radiograph.header.get(keyword, ""))) or len(uid) > 64
    ]
    if invalid:
        raise HeaderError(
            f"{path}: {radiograph.path} lacks a valid {', '.join(invalid)}, so that no DICOM object can "
            "refer to it; repair the file, or write PNG or NIfTI instead."
        )


def require_its_label_map(radiograph: Radiograph, label_map: NDArray[np.uint8], path: Path) -> None:
    """Check that a label map is as large as its radiograph.

    Raises:
        OutputError: it is not.
    """
    if label_map.shape != radiograph.stored_shape:
        raise OutputError(
            f"{path}: the label map has (rows, columns) {label_map.shape} and the radiograph "
            f"{radiograph.stored_shape}; give the label map of this radiograph."
        )


def source_of(radiograph: Radiograph) -> Dataset:
    """What highdicom takes from the source, made valid: identifiers verbatim, text as UTF-8."""
    header = radiograph.header
    source = Dataset()
    source.SpecificCharacterSet = "ISO_IR 192"
    source.Rows, source.Columns = radiograph.stored_shape
    for keyword in _REQUIRED_UIDS:
        setattr(source, keyword, header[keyword].value)
    for keyword in (*_TYPE_2, *_OPTIONAL):
        element = valid_element(header, keyword)
        if element is not None:
            source.add(element)
        elif keyword in _TYPE_2:
            setattr(source, keyword, "")
    if source.PatientSex not in _SEXES:
        source.PatientSex = ""
    return source


def copy_patient_and_study(source: Dataset, derived: Dataset) -> None:
    """Give an object the patient and the study of its source, and nothing else of it."""
    for keyword in ("SpecificCharacterSet", "StudyInstanceUID", *_TYPE_2, *_OPTIONAL):
        if keyword in source:
            derived.add(source[keyword])


def valid_element(header: Dataset, keyword: str) -> DataElement | None:
    """An attribute of the header, None where it is missing, empty or breaks the rules of its type."""
    try:
        element = header[keyword]
        if element.is_empty:
            return None
        if element.VR in _CHECKED_VRS:
            values = element.value if element.VM > 1 else [element.value]
            for value in values:
                validate_value(element.VR, str(value), RAISE)
    except Exception:
        return None
    return element


def instance_number(header: Dataset) -> int:
    """The radiograph's own InstanceNumber, unique in a derived series where it was in that of its source."""
    number = valid_element(header, "InstanceNumber")
    if number is not None and number.VM == 1 and 0 < int(number.value) < 2**31:
        return int(number.value)
    return 1


def derived_uids(source: Dataset, algorithm_name: str, algorithm_version: str, kind: str) -> tuple[str, str]:
    """(SeriesInstanceUID, SOPInstanceUID) of an object that an algorithm makes from a radiograph.

    They derive from the source's identifiers, the algorithm, the version of lungfield and the kind of
    object: a second run gives the same ones, and an archive does not gather copies. All radiographs of one
    series give one series of each kind.
    """
    made_by = [algorithm_name, algorithm_version, software_version(), kind]
    series, instance = (
        generate_uid(entropy_srcs=["\0".join([uid, *made_by])])
        for uid in (source.SeriesInstanceUID, source.SOPInstanceUID)
    )
    return series, instance


@cache
def software_version() -> str:
    """The version of lungfield."""
    return version("lungfield")


def equipment(algorithm_name: str) -> dict[str, str]:
    """The General Equipment module (PS3.3, section C.7.5.1) as highdicom's arguments."""
    return {
        "manufacturer": _MANUFACTURER,
        "manufacturer_model_name": algorithm_name[:LONG_STRING],
        "software_versions": software_version(),
        # Required, though software has none; what tells one copy from another is its version.
        "device_serial_number": software_version(),
    }


def concept(code: Code) -> Any:
    """A code as highdicom takes it."""
    import highdicom

    return highdicom.sr.CodedConcept(code.value, code.scheme, code.meaning)


def creation_time(created: datetime | None = None) -> datetime:
    """When an object counts as made, to the second.

    Args:
        created: what the caller says; it wins. Its wall-clock time is written, whatever its time zone.

    Returns:
        `created`, else the environment's SOURCE_DATE_EPOCH in UTC, by which builds and runs are made
        reproducible (https://reproducible-builds.org/specs/source-date-epoch), else the time of this machine.

    Raises:
        OutputError: SOURCE_DATE_EPOCH is no number of seconds.
    """
    epoch = os.environ.get("SOURCE_DATE_EPOCH")
    if created is None and epoch:
        try:
            created = datetime.fromtimestamp(int(epoch), UTC)
        except (ValueError, OverflowError, OSError) as error:
            raise OutputError(
                f"SOURCE_DATE_EPOCH is {epoch!r}; give whole seconds since 1970, or unset it."
            ) from error
    return (created or datetime.now()).replace(microsecond=0, tzinfo=None)


def stamp(derived: Dataset, created: datetime) -> None:
    """Write one time of creation wherever a library has written its own 'now'."""
    date, time = DA(created.date()), TM(created.time())
    for name in ("InstanceCreation", "Content"):
        setattr(derived, f"{name}Date", date)
        setattr(derived, f"{name}Time", time)
    for item in derived.get("ContributingEquipmentSequence", ()):
        if "ContributionDateTime" in item:
            item.ContributionDateTime = DT(created)


@contextmanager
def errors_of_header(radiograph: Radiograph, path: Path, kind: str) -> Iterator[None]:
    """Turn whatever goes wrong while an object is made into a `HeaderError`, and keep libraries quiet.

    Headers can be wrong in more ways than highdicom has errors for. Its messages, its log and pydicom's
    warnings quote values of the header, and those may hold identity.

    Args:
        radiograph: whose header is used.
        path: the file to be written.
        kind: what is made, such as 'DICOM SEG'.
    """
    try:
        with _quiet():
            yield
    except OutputError:
        raise
    except Exception as error:
        raise HeaderError(
            f"{path}: no {kind} could be made from the header of {radiograph.path} "
            f"({type(error).__name__}); check that file with a DICOM validator, or write PNG or NIfTI."
        ) from error


def to_bytes(derived: Dataset) -> bytes:
    """The object as a DICOM file (PS3.10), with its preamble and file meta information."""
    buffer = io.BytesIO()
    derived.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


@contextmanager
def _quiet() -> Iterator[None]:
    logger = logging.getLogger("highdicom")
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
