"""What each kind of DICOM object takes over from a header, and that nobody hears of it."""

import logging
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataelem import RawDataElement
from pydicom.tag import Tag

from lungfield.errors import HeaderError
from lungfield.export import Algorithm, save_dicom_seg, save_secondary_capture, save_structured_report
from lungfield.mask.measurements import measure
from lungfield.mask.regions import Regions

UNET = Algorithm("lungfield unet", "1.0.0", "ab" * 32)
KINDS = ("seg", "seg with geometry", "sr", "sr with seg", "sc")
# The others write what these do, and something beside it.
FEWER_KINDS = [
    kind if kind in ("seg", "sr", "sc") else pytest.param(kind, marks=pytest.mark.slow) for kind in KINDS
]
COPIED = ("PatientName", "PatientID", "ReferringPhysicianName", "StudyID", "StudyDescription")


@pytest.fixture
def save(tmp_path, radiograph, label_map):
    """Save an object of one kind: `save(kind, header, labels=..., algorithm=...) -> path`."""

    def save_kind(kind, header, *, labels=label_map, algorithm=UNET, name="a.dcm"):
        path, of = tmp_path / name, replace(radiograph, header=header)
        if kind.startswith("seg"):
            geometry = kind == "seg with geometry"
            save_dicom_seg(of, labels, path, algorithm=algorithm, viewer_geometry=geometry)
        elif kind == "sc":
            save_secondary_capture(of, Regions(labels), path, algorithm=algorithm)
        else:
            seg = tmp_path / f"seg of {name}"
            save_dicom_seg(of, labels, seg, algorithm=algorithm)
            measured = measure(Regions(labels), of.spacing)
            segmentation = seg if kind == "sr with seg" else None
            save_structured_report(of, measured, path, algorithm=algorithm, segmentation=segmentation)
        return path

    return save_kind


def as_in_a_file(header, implicit=False, **contents):
    """A header whose attributes have not been looked at yet; those named have these bytes."""
    for keyword, content in contents.items():
        tag = Tag(keyword)
        vr = None if implicit else pydicom.datadict.dictionary_VR(tag)
        padded = content + b" " * (len(content) % 2)
        header[tag] = RawDataElement(tag, vr, len(padded), padded, 0, implicit, True)
    return header


def bytes_of(path, keyword):
    element = pydicom.dcmread(path).get_item(keyword)
    if element is None:
        return None
    if keyword == "SpecificCharacterSet":  # which pydicom looks at while it reads
        values = element.value if element.VM > 1 else [element.value]
        return "\\".join(values).encode()
    assert isinstance(element, RawDataElement)
    return (element.value or b"").rstrip(b" \0")


@pytest.mark.parametrize("kind", FEWER_KINDS)
@pytest.mark.parametrize("implicit", [False, True], ids=["explicit", "implicit"])
@pytest.mark.parametrize(
    ("declared", "name"),
    [
        (None, "王^小东".encode("gbk")),
        (None, "Müller^Jürgen".encode()),
        (b"ISO_IR 100", "Müller^Jürgen".encode()),
        (b"ISO_IR 100", "Müller^Jürgen".encode("latin-1")),
        (b"ISO_IR 192", "Müller^Jürgen".encode()),
        (b"ISO_IR 192", "王^小东".encode("gbk")),
        (b"ISO_IR 192", b"M\xfcller^J\xfcrgen"),
        (b"GB18030", "王^小东".encode("gb18030")),
        (b"GBK", b"\x95\x5c^\x95\x5c"),  # its second byte is that of a backslash
        (b"\\ISO 2022 IR 87", b"Yamada^Tarou=\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B"),
        (b"\\ISO 2022 IR 87", b"A^B=\x1b$B;\\\x1b(B^\x1b$BB@O:\x1b(B"),  # the same
        (b"\\ISO 2022 IR 149", "Hong^Gildong=\x1b$)C洪^\x1b$)C吉洞".encode("euc_kr")),
    ],
)
def test_text_is_copied_byte_for_byte(save, make_header, kind, implicit, declared, name):
    texts = dict.fromkeys(COPIED, name)
    if declared is not None:
        texts["SpecificCharacterSet"] = declared
    path = save(kind, as_in_a_file(make_header(), implicit, **texts))
    assert bytes_of(path, "SpecificCharacterSet") == declared
    for keyword in COPIED:
        assert bytes_of(path, keyword) == name


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("declared", "name"),
    [
        (b"ISO_IR 192", "Müller^Jürgen=王^小东"),
        (b"ISO_IR 100", "Müller^Jürgen"),
        (b"GB18030", "王^小东"),
        (None, "Doe^Jane"),
    ],
)
def test_declared_text_is_valid(save, make_header, dciodvfy, kind, declared, name):
    codec = {b"ISO_IR 192": "utf-8", b"ISO_IR 100": "latin-1", b"GB18030": "gb18030"}.get(declared, "ascii")
    texts = {} if declared is None else {"SpecificCharacterSet": declared}
    path = save(kind, as_in_a_file(make_header(), **texts, PatientName=name.encode(codec)))
    assert pydicom.dcmread(path).PatientName == name
    assert dciodvfy(path) == []


@pytest.mark.parametrize(
    ("declared", "written"),
    [
        ("ISO-IR 100", "ISO_IR 100"),
        ("ISO_IR_192", "ISO_IR 192"),
        ("ISO_IR192", "ISO_IR 192"),
        ("UTF-8", "ISO_IR 192"),
        ("\\ISO-2022-IR-87", "\\ISO 2022 IR 87"),
        ("ISO_IR 6", None),
        ("ISO 2022 IR 6\\ISO 2022 IR 87", "ISO 2022 IR 6\\ISO 2022 IR 87"),
        ("ISO_IR 192\\ISO 2022 IR 87", "ISO_IR 192"),
        ("\\GBK\\ISO 2022 IR 87", "\\ISO 2022 IR 87"),
        ("Doe", None),
        ("", None),
    ],
)
def test_character_sets_that_dicom_spells_otherwise(save, make_header, declared, written):
    texts = {"SpecificCharacterSet": declared.encode(), "PatientName": "Müller^Jürgen".encode()}
    path = save("seg", as_in_a_file(make_header(), **texts))
    found = bytes_of(path, "SpecificCharacterSet")
    assert found == (None if written is None else written.encode())
    assert bytes_of(path, "PatientName") == "Müller^Jürgen".encode()


@pytest.mark.parametrize("kind", FEWER_KINDS)
@pytest.mark.parametrize("raw", [True, False], ids=["as in a file", "decoded"])
@pytest.mark.filterwarnings("ignore:Invalid value", "ignore:The value length", "ignore:Value")
@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        ("PatientBirthDate", "19990229"),
        ("PatientBirthDate", "19000229"),
        ("PatientBirthDate", "19990700"),
        ("PatientBirthDate", "00000101"),
        ("PatientBirthDate", "1999.07.01"),
        ("PatientBirthDate", "19990101-19990202"),
        ("StudyDate", "20240431"),
        ("StudyDate", "20240229\\20240301"),
        ("StudyTime", "2460"),
        ("StudyTime", "10:11:12"),
        ("StudyTime", "1011\\1012"),
        ("PatientSex", "F\\M"),
        ("PatientSex", "W"),
        ("PatientName", "Doe^Jane\\Roe^Richard"),
        ("ReferringPhysicianName", "Doe^Jane\\Roe^Richard"),
        ("PatientID", "1\\2"),
        ("StudyID", "1\\2"),
        ("AccessionNumber", "1\\2"),
        ("PatientAge", "45"),
        ("PatientAge", "045Y\\046Y"),
        ("StudyDescription", "one\\two"),
        ("IssuerOfPatientID", "one\\two"),
        ("PatientIdentityRemoved", "PERHAPS"),
        ("LongitudinalTemporalInformationModified", "A BIT"),
        ("InstanceNumber", "1\\2"),
        ("InstanceNumber", "9999999999"),
        ("BurnedInAnnotation", "YES\\NO"),
    ],
)
def test_a_value_that_cannot_be_is_left_out(save, make_header, dciodvfy, kind, raw, keyword, value):
    if raw:
        header = as_in_a_file(make_header(), **{keyword: value.encode()})
    else:
        decoded = value.split("\\") if "\\" in value else value
        if keyword == "InstanceNumber" and "\\" not in value:
            decoded = int(value)
        try:
            header = make_header(**{keyword: decoded})
        except (ValueError, OverflowError):
            pytest.skip("pydicom holds no such value")
    path = save(kind, header)
    found = bytes_of(path, keyword)
    assert found == (b"1" if keyword == "InstanceNumber" else None) or found == b""
    assert dciodvfy(path) == []


@pytest.mark.parametrize("kind", KINDS)
def test_valid_values_are_kept(save, make_header, dciodvfy, kind):
    values = {
        "PatientBirthDate": b"20240229",
        "StudyTime": b"235959.123",
        "PatientAge": b"045Y",
        "PatientSex": b"O",
        "LongitudinalTemporalInformationModified": b"MODIFIED",
        "PatientIdentityRemoved": b"YES",
        "DeidentificationMethod": b"by hand\\by eye",
        "InstanceNumber": b"7",
    }
    path = save(kind, as_in_a_file(make_header(), **values))
    assert {keyword: bytes_of(path, keyword) for keyword in values} == values
    assert dciodvfy(path) == []


@pytest.mark.parametrize("kind", ["seg", "sc"])
@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("L\\F", True),
        ("R\\F", True),
        ("LA\\FR", True),
        ("PLH\\F", True),
        ("L", False),
        ("L\\F\\H", False),
        ("L\\", False),
        ("\\F", False),
        ("l\\f", False),
        ("LEFT\\FOOT", False),
        ("LR\\F", False),
        ("L\\R", False),
        ("L\\L", False),
        ("LFAH\\F", False),
        ("L F", False),
        ("PATIENT LEFT", False),
        ("", False),
    ],
)
def test_patient_orientation_is_two_directions_or_empty(save, make_header, dciodvfy, kind, given, kept):
    path = save(kind, as_in_a_file(make_header(), PatientOrientation=given.encode()))
    assert bytes_of(path, "PatientOrientation") == (given.encode() if kept else b"")
    assert dciodvfy(path) == []


def uids_of(path):
    dataset = pydicom.dcmread(path)
    assert dataset.file_meta.MediaStorageSOPInstanceUID == dataset.SOPInstanceUID
    return dataset.SeriesInstanceUID, dataset.SOPInstanceUID


@pytest.mark.parametrize("kind", KINDS)
def test_identifiers_tell_weights_and_masks_apart(save, make_header, label_map, kind):
    series, instance = uids_of(save(kind, make_header()))
    assert uids_of(save(kind, make_header(), name="b.dcm")) == (series, instance)
    retrained = replace(UNET, weights_sha256="cd" * 32)
    other_series, other = uids_of(save(kind, make_header(), algorithm=retrained, name="c.dcm"))
    assert other_series != series
    labels = label_map.copy()
    labels[45, 20] = 0  # one pixel
    same_series, third = uids_of(save(kind, make_header(), labels=labels, name="d.dcm"))
    assert same_series == series
    assert len({instance, other, third}) == 3


def test_a_report_with_other_segments_is_another(save, make_header, label_map):
    """Also where all figures are the same."""
    moved = np.roll(label_map, 1, axis=1)
    one, other = (
        uids_of(save("sr with seg", make_header(), labels=labels, name=name))
        for labels, name in ((label_map, "a.dcm"), (moved, "b.dcm"))
    )
    assert one[0] == other[0]
    assert one[1] != other[1]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("sop_class", ["1.2.840.10008.5.1.4.1.1.7.3", "1.2.3.4.5.6"])
def test_an_unknown_class_or_a_leading_zero_is_referred_to_as_it_is(save, make_header, kind, sop_class):
    uids = {"SOPInstanceUID": b"1.2.03.4", "SeriesInstanceUID": b"1.2.04.5", "StudyInstanceUID": b"1.2.05.6"}
    path = save(kind, as_in_a_file(make_header(), SOPClassUID=sop_class.encode(), **uids))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = pydicom.dcmread(path)
        assert found.StudyInstanceUID == "1.2.05.6"
        values = [str(element.value) for element in found.iterall() if element.VR == "UI"]
    assert "1.2.03.4" in values
    assert sop_class in values


@pytest.mark.parametrize("kind", KINDS)
def test_own_text_fits_any_character_set(save, make_header, kind, dciodvfy):
    header = as_in_a_file(make_header(), SpecificCharacterSet=b"ISO_IR 100")
    path = save(kind, header, algorithm=Algorithm("lungfield лёгкие\\2", "1.0+müde" + "9" * 100))
    assert pydicom.dcmread(path).ManufacturerModelName == "lungfield ???????2"
    assert dciodvfy(path) == []


@pytest.mark.parametrize("row_mm", [1 / 7, 0.2 / 1.3, 1e-5, 123456.789012345678, 1.1e-300])
@pytest.mark.parametrize("kind", KINDS)
def test_lengths_of_any_number_of_digits(save, make_header, radiograph, dciodvfy, kind, row_mm, monkeypatch):
    monkeypatch.setitem(radiograph.__dict__, "spacing", replace(radiograph.spacing, row_mm=row_mm))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        path = save(kind, make_header())
    assert dciodvfy(path) == []


NAME = "Zebedee"
ODD = {
    "SpecificCharacterSet": b"Zebedee set",
    "PatientName": b"Zebedee^\xff\xfe\x1b$Q" + b"x" * 300,
    "PatientID": b"Zebedee" * 20,
    "PatientBirthDate": b"Zebedee",
    "PatientSex": b"ZEBEDEE",
    "PatientAge": b"Zebedee",
    "StudyDate": b"19990700",
    "StudyTime": b"Zebedee",
    "StudyID": b"Zebedee" * 20,
    "AccessionNumber": b"Zebedee\\Zebedee",
    "PatientOrientation": b"Zebedee",
    "LossyImageCompression": b"01",
    "LossyImageCompressionRatio": b"Zebedee",
    "LossyImageCompressionMethod": b"ZEBEDEE AND MUCH MORE",
    "BurnedInAnnotation": b"Zebedee",
    "InstanceNumber": b"Zebedee",
    "SOPInstanceUID": b"1.2.04711.1",
    "SeriesInstanceUID": b"1.2.04711.2",
    "StudyInstanceUID": b"1.2.04711.3",
}


def odd(make_header):
    return as_in_a_file(make_header(), **ODD)


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_of_a_header_is_said(save, make_header, kind, caplog, capfd):
    with caplog.at_level(logging.DEBUG), warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        logging.getLogger("highdicom").setLevel(logging.DEBUG)
        try:
            save(kind, odd(make_header))
        finally:
            logging.getLogger("highdicom").setLevel(logging.NOTSET)
    said = [*(str(one.message) for one in warned), caplog.text, *capfd.readouterr()]
    assert not [text for text in said if NAME.lower() in text.lower() or "4711" in text]


@pytest.mark.parametrize("kind", KINDS)
def test_text_too_long_for_its_length_is_left_out(save, make_header, kind):
    header = as_in_a_file(make_header(), implicit=True, PatientName=b"x" * 70_000)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        path = save(kind, header)
    assert bytes_of(path, "PatientName") == b""


def test_threads_leave_warnings_and_logging_alone(save, make_header, caplog):
    """Many at once, as a user's own settings stay, and nothing is said."""
    logger = logging.getLogger("highdicom")
    seen, stop = set(), threading.Event()

    def watch():
        while not stop.is_set():
            seen.add((len(warnings.filters), id(warnings.filters), logger.level))
            stop.wait(0.0005)

    with caplog.at_level(logging.DEBUG), warnings.catch_warnings():
        warnings.simplefilter("error")  # whatever is said becomes an error
        before, level = list(warnings.filters), logger.level
        watcher = threading.Thread(target=watch)
        watcher.start()
        try:
            with ThreadPoolExecutor(8) as pool:
                jobs = [
                    pool.submit(save, KINDS[n % len(KINDS)], odd(make_header), name=f"{n}.dcm")
                    for n in range(80)
                ]
                written = [job.result() for job in jobs]
        finally:
            stop.set()
            watcher.join()
        assert warnings.filters == before
        assert logger.level == level
    assert len(seen) == 1
    assert all(path.is_file() for path in written)
    assert NAME not in caplog.text


def test_a_header_without_identifiers_is_not_quoted(save, make_header):
    header = as_in_a_file(make_header(), SOPInstanceUID=b"Zebedee")
    with pytest.raises(HeaderError, match="lacks a valid SOPInstanceUID") as raised:
        save("seg", header)
    assert NAME not in str(raised.value)
    assert Path("a.dcm").name in str(raised.value)
