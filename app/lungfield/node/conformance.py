"""The DICOM conformance statement of the node (PS3.2), generated from the code.

`python -m lungfield.node.conformance docs/dicom-conformance.md` writes the page.
"""

from __future__ import annotations

import sys
from dataclasses import fields
from importlib.metadata import version
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from pydicom.datadict import dictionary_description, tag_for_keyword
from pydicom.tag import Tag
from pydicom.uid import PYDICOM_IMPLEMENTATION_UID, UID
from pynetdicom import (
    DEFAULT_TRANSFER_SYNTAXES,
    PYNETDICOM_IMPLEMENTATION_UID,
    PYNETDICOM_IMPLEMENTATION_VERSION,
)
from pynetdicom.sop_class import StorageCommitmentPushModel, Verification

from lungfield.atomic import write_whole
from lungfield.node import storage_service
from lungfield.node.dicom_sender import STATUSES as SENT_STATUSES
from lungfield.node.dicom_sender import TRANSFER_SYNTAXES as SENT_UNCOMPRESSED
from lungfield.node.example_objects import ExampleObject, example_objects
from lungfield.node.settings import Destination, Limits, Settings
from lungfield.radiograph.header.codes import MODALITIES

_TITLES = {
    "seg": "Segmentation",
    "sr": "Measurement report (TID 1500)",
    "sc": "Picture",
    "notice": "Notice of what was skipped (`skipped_notice`)",
}


def statement() -> str:
    """The conformance statement as Markdown."""
    environment = Environment(
        loader=PackageLoader("lungfield.node", "assets"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701  (Markdown of our own words)
    )
    made = tuple(example_objects())
    defaults = {kind.__name__.lower(): _defaults(kind) for kind in (Settings, Limits, Destination)}
    return environment.get_template("conformance.md.j2").render(
        defaults,
        version=version("lungfield"),
        implementation=(PYNETDICOM_IMPLEMENTATION_UID, PYNETDICOM_IMPLEMENTATION_VERSION),
        file_implementation=PYDICOM_IMPLEMENTATION_UID,
        uncompressed=", ".join(UID(one).name for one in DEFAULT_TRANSFER_SYNTAXES),
        verification=_uid(Verification),
        commitment=_uid(StorageCommitmentPushModel),
        received=[_uid(UID(one)) for one in storage_service.RADIOGRAPHS],
        received_syntaxes=[_uid(UID(one)) for one in storage_service.TRANSFER_SYNTAXES],
        statuses=[(f"{status:04X}", text) for status, text in storage_service.STATUSES.items()],
        sent=list(dict.fromkeys((*_uid(one.sop_class), _syntaxes(one)) for one in made)),
        sent_statuses=[_range(statuses, text) for statuses, text in SENT_STATUSES],
        made=[(_TITLES[one.format], *_uid(one.sop_class), _rows(one)) for one in made],
        modalities=sorted(MODALITIES),
    )


def _defaults(kind: type) -> dict[str, Any]:
    return {one.name: one.default for one in fields(kind)}


def _uid(uid: UID) -> tuple[str, str]:
    return uid.name, str(uid)


def _syntaxes(example: ExampleObject) -> str:
    own = [] if example.transfer_syntax in SENT_UNCOMPRESSED else [example.transfer_syntax]
    return ", ".join(one.name for one in (*own, *SENT_UNCOMPRESSED))


def _range(statuses: range, text: str) -> tuple[str, str]:
    first, last = f"{statuses[0]:04X}", f"{statuses[-1]:04X}"
    return (first if first == last else f"{first} to {last}"), text


def _rows(example: ExampleObject) -> list[tuple[str, str, str]]:
    """Name, tag and source of every top-level attribute, in the order of their tags."""
    sources = dict.fromkeys(example.copied, "radiograph") | dict.fromkeys(example.made, "made")
    tags = {keyword: Tag(tag_for_keyword(keyword) or 0) for keyword in sources}
    return [
        (dictionary_description(tags[keyword]), f"{tags[keyword]}".upper(), sources[keyword])
        for keyword in sorted(sources, key=tags.__getitem__)
    ]


if __name__ == "__main__":
    write_whole(Path(sys.argv[1]), statement().encode())
