"""The conformance statement is what the code offers, and what the node negotiates."""

import re
from itertools import product
from pathlib import Path

import pydicom
import pytest
from pynetdicom import AE, build_context
from pynetdicom.sop_class import CTImageStorage, PatientRootQueryRetrieveInformationModelFind, Verification

from lungfield.node import storage_service
from lungfield.node.conformance import statement
from lungfield.node.example_objects import example_objects
from lungfield.node.receiver import Receiver

PAGE = Path(__file__).parents[2] / "docs" / "dicom-conformance.md"


@pytest.fixture(scope="module")
def page():
    return PAGE.read_text(encoding="utf-8")


def test_the_page_is_what_is_generated(page):
    assert page == statement(), "run: python -m lungfield.node.conformance docs/dicom-conformance.md"


def test_everything_that_the_page_tells_to_receive_is_accepted(page, settings, incoming):
    receiving = page[page.index("## Receiving") : page.index("## Sending")]
    classes = re.findall(r"\| ([\d.]+) \| SCP \| all below", receiving)
    syntaxes = re.findall(r"^\| [^|]+ \| ([\d.]+) \|$", receiving, re.MULTILINE)
    assert (tuple(classes), tuple(syntaxes)) == (
        storage_service.RADIOGRAPHS,
        storage_service.TRANSFER_SYNTAXES,
    )
    receiver = Receiver(settings, incoming)
    client = AE(ae_title="TESTS")
    try:
        wanted = [build_context(*pair) for pair in product(classes, syntaxes)]
        wanted += [build_context(Verification), build_context(CTImageStorage)]
        wanted += [build_context(PatientRootQueryRetrieveInformationModelFind)]
        association = client.associate(
            "127.0.0.1", receiver.port, contexts=wanted, ae_title=settings.ae_title
        )
        assert association.is_established
        accepted = {(one.abstract_syntax, one.transfer_syntax[0]) for one in association.accepted_contexts}
        association.release()
    finally:
        receiver.close()
        client.shutdown()
    assert accepted >= set(product(classes, syntaxes))
    assert {one for one, _ in accepted} == {*classes, Verification}


def test_every_status_has_its_line(page):
    receiving = page[page.index("## Receiving") : page.index("## Sending")]
    told = {int(one, 16) for one in re.findall(r"^\| ([0-9A-F]{4}) \|", receiving, re.MULTILINE)}
    assert told == set(storage_service.STATUSES)
    assert told >= {0x0000, 0xA700, 0xA900, 0xC000}


def test_objects_are_told_as_they_are_made(page):
    made = {one.format: one for one in example_objects()}
    assert made.keys() == {"seg", "sr", "sc", "notice"}
    for one in made.values():
        assert f"| {one.sop_class.name} | {one.sop_class} | SCU |" in page
        assert {"PatientName", "PatientID", "AccessionNumber", "StudyInstanceUID"} <= set(one.copied)
        assert {"SOPInstanceUID", "SeriesInstanceUID", "Modality"} <= set(one.made)
    tables = page[page.index("## Objects that are made") :]
    tag = pydicom.tag.Tag("AccessionNumber")
    assert tables.count(f"| Accession Number | {str(tag).upper()} | radiograph |") == 4
    assert "Name^Of" not in page
