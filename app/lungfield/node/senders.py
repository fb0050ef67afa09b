"""Create the sender for a destination."""

from __future__ import annotations

from lungfield.node.commitment import Commitments
from lungfield.node.dicom_sender import DicomSender
from lungfield.node.http_senders import FHIR, HL7, DicomwebSender, MessageSender
from lungfield.node.parcels import Sender
from lungfield.node.settings import Destination


def make_sender(destination: Destination, ae_title: str, commitments: Commitments) -> Sender:
    """Create the sender for a destination.

    Args:
        destination: the destination.
        ae_title: the node's own.
        commitments: stores the reports of archives.

    Raises:
        DataError: its certificates cannot be used.
    """
    if destination.kind == "dicom":
        return DicomSender(destination, ae_title, commitments)
    if destination.kind == "dicomweb":
        return DicomwebSender(destination)
    return MessageSender(destination, HL7 if destination.kind == "hl7" else FHIR)
