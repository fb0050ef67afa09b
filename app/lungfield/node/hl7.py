"""HL7 v2.5.1: the measurements as an unsolicited observation message, ORU^R01 (chapter 7), in UTF-8."""

from __future__ import annotations

import re
from collections.abc import Iterator

from lungfield.export.concepts import PROCEDURE
from lungfield.labels import Code
from lungfield.node.messages import Finding, Message

CONTENT_TYPE = "application/hl7-v2; charset=utf-8"
_LONGEST_CONTROL_ID = 20  # MSH-10
_PRELIMINARY = "P"  # tables 0123 and 0085: not verified by a person
_RADIOLOGY = "RAD"  # table 0074
_SCHEMES = {"SRT": "SNM3", "LN": "LN"}  # DICOM's coding scheme designators, by HL7's table 0396
_LOCAL_SCHEME = "99LUNGFIELD"
_STUDY = Code("110180", "DCM", "Study Instance UID")
_ESCAPES = {"\\": "\\E\\", "|": "\\F\\", "^": "\\S\\", "~": "\\R\\", "&": "\\T\\"}
# Representation of a name: alphabetic, ideographic, phonetic (table 0465), the groups of PS3.5, 6.2.1.2.
_REPRESENTATIONS = "AIP"
_ACCEPTED = ("AA", "CA")  # table 0008


def oru_r01(message: Message, *, sender: str = "LUNGFIELD") -> bytes:
    """An ORU^R01 with the areas and lengths of the lungs, the flags, and the note on research use.

    The bytes and the control ID (MSH-10) depend on the message only, so that a receiver recognises a repeated
    message. The order numbers are in ORC-2, ORC-3, OBR-2 and OBR-3; the accession number is in OBR-18, and
    also in OBR-3 if the radiograph has no filler order number.

    Args:
        message: the content.
        sender: MSH-3, the sending application.

    Returns:
        The message in UTF-8, with segments that end in a carriage return.
    """
    created = message.created.strftime("%Y%m%d%H%M%S+0000")
    header = ["MSH", r"^~\&", _escaped(sender), "", "", "", created, "", "ORU^R01^ORU_R01"]
    header += [message.digest[:_LONGEST_CONTROL_ID], "P", "2.5.1", "", "", "", "", "", "UNICODE UTF-8"]
    filler = message.filler_order or message.accession_number
    orders = [_escaped(message.placer_order), _escaped(filler)]
    taken = message.taken + (message.offset if len(message.taken) > 8 else "")
    request = ["OBR", "1", *orders, _code(message.procedure or PROCEDURE), "", "", taken]
    request += [""] * 10 + [_escaped(message.accession_number)]  # OBR-18
    request += [""] * 3 + [created, "", _RADIOLOGY, _PRELIMINARY]  # OBR-22, OBR-24, OBR-25
    segments = [header, _patient(message), ["ORC", "RE", *orders], request]
    segments += [["NTE", str(at), "", _escaped(text)] for at, text in enumerate(message.remarks, 1)]
    segments += [
        ["OBX", str(at), kind, name, "", value, unit, "", "", "", "", _PRELIMINARY, "", "", taken]
        for at, (kind, name, value, unit) in enumerate(_observations(message), 1)
    ]
    return "".join("|".join(one).rstrip("|") + "\r" for one in segments).encode()


def refusal(answer: bytes) -> str | None:
    """Why a receiver refused a message, from the acknowledgement in its answer (MSA-1, chapter 2.9).

    Returns:
        None if it accepted the message, or if its answer is no acknowledgement.
    """
    for segment in re.split(rb"[\r\n\x0b\x1c]+", answer):
        name, *fields = segment.split(segment[3:4] or b"|")
        if name == b"MSA":
            code = fields[0].decode("ascii", errors="replace") if fields else ""
            return (
                None if code in _ACCEPTED else f"the receiver answered {_escaped(code) or 'nothing'} (MSA-1)"
            )
    return None


def _patient(message: Message) -> list[str]:
    identifier = f"{_escaped(message.patient_id)}^^^{_escaped(message.issuer)}^PI"
    return ["PID", "1", "", identifier, "", _name(message.name), "", message.birth_date, message.sex or "U"]


def _name(name: str) -> str:
    """A PN of DICOM (PS3.5, 6.2.1) as XPN; type 'U' (unspecified) for an empty name."""
    names = []
    for group, representation in zip(name.split("="), _REPRESENTATIONS, strict=False):
        if group.strip("^ "):
            parts = [_escaped(part.strip()) for part in group.split("^")] + [""] * 5
            family, given, middle, prefix, suffix = parts[:5]
            names.append("^".join([family, given, middle, suffix, prefix, "", "L", representation]))
    return "~".join(names) or "^^^^^^U"


def _observations(message: Message) -> Iterator[tuple[str, str, str, str]]:
    """(type, name, value, units) of each OBX."""
    for finding in message.findings:
        yield "NM", _observed(finding), f"{finding.value:.10g}", _code(finding.unit)
    flags = message.flags or ("none",)
    yield (
        "ST",
        f"quality-flags^Quality flags of the masks^{_LOCAL_SCHEME}",
        "~".join(map(_escaped, flags)),
        "",
    )
    software = _escaped(f"{message.software} {message.version}".strip())
    yield "ST", f"software^Software^{_LOCAL_SCHEME}", software, ""
    yield "ST", _code(_STUDY), _escaped(message.study), ""


def _observed(finding: Finding) -> str:
    """OBX-3: our own name first, as it includes the lung, and the concept as the alternate identifier."""
    own = f"{finding.key.replace('_', '-')}^{_escaped(finding.title)}^{_LOCAL_SCHEME}"
    return f"{own}^{_code(finding.concept)}"


def _code(code: Code) -> str:
    scheme = _SCHEMES.get(code.scheme, code.scheme)
    return "^".join(map(_escaped, (code.value, code.meaning, scheme)))


def _escaped(text: str) -> str:
    """A text with escaped separators (chapter 2.7.1), and without control characters, which end segments."""
    return "".join(_ESCAPES.get(one, one if one.isprintable() else " ") for one in text)
