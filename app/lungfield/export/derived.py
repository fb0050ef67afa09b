"""Common parts of the DICOM objects derived from a radiograph: patient, study, identifiers, time."""

from __future__ import annotations

import hashlib
import io
import os
import re
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import astuple, dataclass
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import version
from pathlib import Path, PurePath
from typing import Any

from pydicom import DataElement, Dataset
from pydicom.charset import convert_encodings, default_encoding
from pydicom.config import IGNORE
from pydicom.dataelem import RawDataElement
from pydicom.uid import ComputedRadiographyImageStorage, generate_uid
from pydicom.valuerep import DT, EXPLICIT_VR_LENGTH_32

from lungfield import labels
from lungfield.cache import cached, fingerprint
from lungfield.errors import HeaderError, OutputError
from lungfield.export.source import (
    Source,
    character_set,
    instance_number,
    patient_and_study,
    raw_element,
)
from lungfield.labels import Code
from lungfield.records import Radiograph

RESEARCH_USE_ONLY = "For research use only: not a medical device, not for diagnosis or treatment."
MANUFACTURER = "lungfield"
_LONGEST_LO = 64

STAND_IN = Source(ComputedRadiographyImageStorage, *(generate_uid() for _ in range(3)))
"""Replaces the radiograph's identifiers for highdicom, which writes identifiers to its log."""


@dataclass(frozen=True)
class Algorithm:
    """The algorithm that made a mask.

    Attributes:
        name: such as 'lungfield unet'.
        version: of the bundle.
        weights_sha256: SHA-256 of the file of weights, in hexadecimal; '' without weights.
    """

    name: str
    version: str
    weights_sha256: str = ""

    @property
    def short_name(self) -> str:
        """The name as a value of LO: at most 64 ASCII characters."""
        return _long_string(self.name)

    @property
    def short_version(self) -> str:
        """The version as a value of LO: at most 64 ASCII characters."""
        return _long_string(self.version)


def require_its_shape(radiograph: Radiograph, shape: tuple[int, ...], path: Path) -> None:
    """Raise `OutputError` unless the shape of a label map is that of its radiograph."""
    if shape != radiograph.stored_shape:
        raise OutputError(
            f"{path}: the label map has (rows, columns) {shape} and the radiograph "
            f"{radiograph.stored_shape}; give the label map of this radiograph."
        )


def stand_in() -> Dataset:
    """A data set with invented identifiers and nothing else, from which highdicom derives objects."""
    dataset = Dataset()
    dataset.SOPClassUID = STAND_IN.sop_class
    dataset.SOPInstanceUID = STAND_IN.instance
    dataset.SeriesInstanceUID = STAND_IN.series
    dataset.StudyInstanceUID = STAND_IN.study
    for keyword in ("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "ReferringPhysicianName"):
        setattr(dataset, keyword, "")
    for keyword in ("StudyDate", "StudyTime", "StudyID", "AccessionNumber"):
        setattr(dataset, keyword, "")
    return dataset


def refer_to_source(derived: Dataset, source: Source, others: Mapping[str, str] | None = None) -> None:
    """Replace the identifiers of `stand_in` by those of the radiograph, in all sequences.

    Args:
        derived: changed in place.
        source: the radiograph.
        others: further identifiers to replace, with their replacements.
    """
    names = dict(zip(astuple(STAND_IN), astuple(source), strict=True)) | dict(others or {})
    for element in derived.iterall():
        if element.VR == "UI" and str(element.value) in names:
            element.validation_mode = IGNORE
            element.value = names[str(element.value)]


def set_uid(dataset: Dataset, keyword: str, uid: str) -> None:
    """Set an identifier without validation: pydicom would quote a slightly invalid one in a warning."""
    dataset.add(DataElement(keyword, "UI", uid, validation_mode=IGNORE))


def give_identity(derived: Dataset, header: Dataset, source: Source, series: str, instance: str) -> None:
    """Set the patient and study of an object to those of its radiograph, and set its own identifiers.

    Args:
        derived: the object, with file meta information. Its own text is ASCII, so that any
            SpecificCharacterSet fits.
        header: of the radiograph.
        source: the radiograph's identifiers.
        series: SeriesInstanceUID of the object.
        instance: SOPInstanceUID of the object.
    """
    derived.pop("SpecificCharacterSet", None)
    for element in identity(header, source, series, instance):
        derived[element.tag] = element
    # Without this, pydicom decodes the copied elements and encodes them again.
    terms = character_set(header)
    derived.set_original_encoding(False, True, convert_encodings(terms) if terms else default_encoding)
    derived.file_meta.MediaStorageSOPInstanceUID = instance


def identity(header: Dataset, source: Source, series: str, instance: str) -> Iterator[RawDataElement]:
    """The elements that `give_identity` sets, but for the file meta information."""
    yield from patient_and_study(header)
    yield raw_element("StudyInstanceUID", source.study.encode())
    yield raw_element("SeriesInstanceUID", series.encode())
    yield raw_element("SOPInstanceUID", instance.encode())
    yield raw_element("InstanceNumber", str(instance_number(header)).encode())


def derived_uids(source: Source, algorithm: Algorithm, kind: str, content: bytes) -> tuple[str, str]:
    """(SeriesInstanceUID, SOPInstanceUID) of an object of a kind that an algorithm makes from a radiograph.

    They are hashes of the source's identifiers, the algorithm with its weights, the version of lungfield and
    the kind; the SOPInstanceUID also of the content, such as the mask's pixels. So a second run gives the
    same identifiers, and an archive does not collect copies, while other weights or another mask give new
    identifiers. All radiographs of one series share one series for each kind.
    """
    made_by = [algorithm.name, algorithm.version, algorithm.weights_sha256, software_version(), kind]
    return (
        _uid(source.series, *made_by),
        _uid(source.instance, *made_by, hashlib.sha256(content).hexdigest()),
    )


def _uid(*origin: str) -> str:
    return str(generate_uid(entropy_srcs=["\0".join(origin)]))


@cache
def software_version() -> str:
    """The version of lungfield."""
    return version("lungfield")


def equipment(algorithm: Algorithm) -> dict[str, str]:
    """The General Equipment module (PS3.3, section C.7.5.1) as highdicom's arguments."""
    return {
        "manufacturer": MANUFACTURER,
        "manufacturer_model_name": algorithm.short_name,
        "software_versions": software_version(),
        # DeviceSerialNumber is required, but software has none; use the version.
        "device_serial_number": software_version(),
    }


def concept(code: Code) -> Any:
    """A code as a highdicom CodedConcept."""
    import highdicom

    return highdicom.sr.CodedConcept(code.value, code.scheme, code.meaning)


def creation_time(created: datetime | None = None) -> datetime:
    """The creation time for objects, to the second, without time zone.

    It is `created` if given, else the environment variable SOURCE_DATE_EPOCH in UTC, which makes runs
    reproducible (https://reproducible-builds.org/specs/source-date-epoch), else the current local time.

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
    """Replace the current time that libraries have written into an object by `created`."""
    for element in creation(created):
        derived[element.tag] = element
    for item in derived.get("ContributingEquipmentSequence", ()):
        if "ContributionDateTime" in item:
            item.ContributionDateTime = DT(created)


def creation(created: datetime) -> Iterator[RawDataElement]:
    """The elements with the date and time at which an object and its content were made."""
    for name in ("InstanceCreation", "Content"):
        yield raw_element(f"{name}Date", f"{created:%Y%m%d}".encode())
        yield raw_element(f"{name}Time", f"{created:%H%M%S}".encode())


@contextmanager
def errors_of_header(source_path: Path, path: Path, kind: str) -> Iterator[None]:
    """Turn any exception while an object is made into a `HeaderError`.

    Libraries raise many kinds of exceptions for a bad header, and their messages may quote its values.

    Args:
        source_path: the file of the header.
        path: the file to write.
        kind: of the object, such as 'DICOM SEG', for the message.
    """
    try:
        yield
    except OutputError:
        raise
    except Exception as error:
        raise HeaderError(
            f"{path}: no {kind} could be made from the header of {source_path} "
            f"({type(error).__name__}); check that file with a DICOM validator, or write PNG or NIfTI."
        ) from error


def to_bytes(derived: Dataset) -> bytes:
    """The object as a DICOM file (PS3.10), with its preamble and file meta information."""
    buffer = io.BytesIO()
    derived.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def encoded(elements: Iterable[RawDataElement]) -> Iterator[bytes]:
    """Elements in explicit VR little endian (PS3.5, section 7.1.2), with their bytes as they are.

    pydicom's writer does the same, but takes more than ten times as long.
    """
    for element in elements:
        value, vr = element.value or b"", str(element.VR)
        length = struct.pack("<2xL" if vr in EXPLICIT_VR_LENGTH_32 else "<H", len(value))
        yield struct.pack("<HH", element.tag.group, element.tag.element) + vr.encode() + length
        yield value


def kept(kind: str, depends_on: object, make: Callable[[], bytes]) -> bytes:
    """A template of objects, from the user's cache folder, or made and stored there.

    Args:
        kind: of the objects, a name for the file.
        depends_on: its `repr` names all that the template depends on besides versions and this package.
        make: returns the template, without anything of a radiograph.
    """
    parts = [repr(depends_on), *(version(package) for package in ("highdicom", "lungfield", "pydicom"))]
    sources = (Path(labels.__file__), *sorted(Path(__file__).parent.glob("*.py")))
    return cached(PurePath("templates", f"{kind}-{fingerprint(parts, sources)}"), make)


def _long_string(text: str) -> str:
    """A text as a value of LO (PS3.5, section 6.2) in ASCII, which is valid in any character set."""
    return re.sub(r"[^ -\[\]-~]", "?", text)[:_LONGEST_LO]
