"""STOW-RS, HL7 and FHIR: a real Orthanc, and servers that refuse in every way that HTTP has."""

from __future__ import annotations

import json
import re
import socket
from io import BytesIO

import pydicom
import pytest
from sending import free_port, http_server, node, wait_until, web

from lungfield.node.records import Sending, State
from lungfield.node.settings import Destination
from orthanc import MISSING, running_orthanc

ALL = ("seg", "sr", "sc")
JSON = "application/dicom+json"


def uids_in(content: bytes) -> list[str]:
    """The SOP Instance UIDs of the objects of a STOW-RS request."""
    boundary = re.search(rb"--[0-9a-f-]{36}", content)[0]
    parts = [one for one in content.split(boundary) if b"\r\n\r\n" in one]
    files = (BytesIO(one[one.index(b"\r\n\r\n") + 4 :]) for one in parts)
    return [str(pydicom.dcmread(one, stop_before_pixels=True).SOPInstanceUID) for one in files]


def stored(kept, failed=(), warning=None):
    """What an archive answers (PS3.18, table 10.5.3-2)."""
    named = [{"00081155": {"vr": "UI", "Value": [uid]}} for uid in kept]
    for one in named if warning else ():
        one["00081196"] = {"vr": "US", "Value": [warning]}
    refused = [
        {"00081155": {"vr": "UI", "Value": [uid]}, "00081197": {"vr": "US", "Value": [0xA700]}}
        for uid in failed
    ]
    answer = {"00081199": {"vr": "SQ", "Value": named}} if named else {}
    answer |= {"00081198": {"vr": "SQ", "Value": refused}} if refused else {}
    return json.dumps(answer).encode()


@pytest.mark.skipif(bool(MISSING), reason=MISSING)
def test_orthanc_has_every_result_once(tmp_path):
    (tmp_path / "orthanc").mkdir()
    with (
        running_orthanc(tmp_path / "orthanc") as orthanc,
        node(tmp_path, web(orthanc.dicomweb_url)) as one,
    ):
        numbers = one.add(3, ALL)
        one.start()
        for number in numbers:
            one.until(number, State.DELIVERED)
            for result in one.store.results(number):
                assert len(orthanc.find("instances", SOPInstanceUID=result.sop_instance_uid)) == 1
        one.send_again()
        for number in numbers:
            one.until(number, State.DELIVERED)
        assert len(orthanc.find("instances")) == 9


REFUSALS = {
    "500": lambda uids: (500, "text/plain", b"oops"),
    "400": lambda uids: (400, "text/plain", b""),
    "401": lambda uids: (401, "text/plain", b""),
    "404": lambda uids: (404, "text/plain", b""),
    "503": lambda uids: (503, "text/plain", b""),
    "409 without a word": lambda uids: (409, "text/plain", b""),
    "409": lambda uids: (409, JSON, stored([], uids)),
    "202 of which one failed": lambda uids: (202, JSON, stored(uids[1:], uids[:1])),
    "200 of which one failed": lambda uids: (200, JSON, stored(uids[1:], uids[:1])),
    "200 of which one is not named": lambda uids: (200, JSON, stored(uids[1:])),
    "200 without a word": lambda uids: (200, JSON, b""),
    "200 and a page": lambda uids: (200, "text/html", b"<html>login</html>"),
    "200 and broken JSON": lambda uids: (200, JSON, b"{"),
    "200 and a list": lambda uids: (200, JSON, b"[1]"),
    "204": lambda uids: (204, JSON, b""),
}


@pytest.mark.parametrize("kind", REFUSALS)
def test_whatever_is_no_yes_is_a_no(tmp_path, kind):
    with (
        http_server(lambda request: REFUSALS[kind](uids_in(request.content))) as server,
        node(tmp_path, web(server.url, retry_for_s=0.4)) as one,
    ):
        (number,) = one.add(1, ("sr", "sc"))
        one.start()
        assert one.until(number, State.PARKED, State.DELIVERED) is State.PARKED
        found = one.delivery(number, "web")
        assert found.error
        if kind == "409" or "failed" in kind:
            assert "0xa700" in found.error


@pytest.mark.parametrize("kind", [JSON, f"{JSON}; charset=utf-8", "application/json"])
def test_a_yes_is_a_yes_and_its_warning_is_noted(tmp_path, kind):
    def answer(request):
        return 200, kind, stored(uids_in(request.content), warning=0xB000)

    with http_server(answer) as server, node(tmp_path, web(server.url)) as one:
        (number,) = one.add(1, ("sr", "sc"))
        one.start()
        one.until(number, State.DELIVERED)
        assert "0xb000" in one.delivery(number, "web").error
        assert len(server.requests) == 1


def test_one_that_is_refused_costs_no_other_and_one_that_recovers_gets_all(tmp_path):
    refused, well = set(), []

    def answer(request):
        uids = uids_in(request.content)
        bad = [uid for uid in uids if uid in refused and not well]
        return (500, "", b"") if bad else (200, JSON, stored(uids))

    with http_server(answer) as server, node(tmp_path, web(server.url)) as one:
        numbers = one.add(4)
        refused |= one.uids(numbers[1])
        one.start()
        for number in (numbers[0], *numbers[2:]):
            one.until(number, State.DELIVERED)
        wait_until(lambda: one.delivery(numbers[1], "web").attempts > 1)
        well.append(True)
        one.until(numbers[1], State.DELIVERED)


def test_token_and_password_come_from_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("LUNGFIELD_NODE_TOKEN_ONE", "t0ken")
    monkeypatch.setenv("LUNGFIELD_NODE_PASSWORD_TWO", "geheim-ü")
    with http_server(lambda request: (200, JSON, stored(uids_in(request.content)))) as server:
        with node(tmp_path, web(server.url, "one"), web(server.url, "two", user="node")) as one:
            (number,) = one.add()
            one.start()
            one.until(number, State.DELIVERED)
        sent = {request.headers["Authorization"] for request in server.requests}
        assert sent == {"Bearer t0ken", "Basic bm9kZTpnZWhlaW0tw7w="}


def test_one_that_never_answers_is_tried_again_and_keeps_no_other(tmp_path):
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        http_server(lambda request: (200, JSON, stored(uids_in(request.content)))) as server,
    ):
        hanging = web(f"http://127.0.0.1:{silent.getsockname()[1]}", "hanging", timeout_s=0.5)
        with node(tmp_path, hanging, web(server.url, "good")) as one:
            (number,) = one.add()
            one.start()
            one.until_delivery(number, "good", Sending.DELIVERED)
            wait_until(lambda: one.delivery(number, "hanging").attempts > 1)
            assert "ReadTimeout" in one.delivery(number, "hanging").error


# Messages


def test_messages_as_files_are_there_once_under_a_name_without_identity(tmp_path):
    folders = {kind: tmp_path / kind for kind in ("hl7", "fhir")}
    send_to = [Destination(kind, kind, folder=folder, formats=()) for kind, folder in folders.items()]
    with node(tmp_path, *send_to) as one:
        (number,) = one.add(1, PatientID="4711", PatientName="Doe^Jane")
        one.start()
        one.until(number, State.DELIVERED)
        (hl7,), (fhir,) = (list(folder.iterdir()) for folder in folders.values())
        assert re.fullmatch(r"[0-9a-f]{64}\.hl7", hl7.name)
        assert b"4711^^^^PI" in hl7.read_bytes()
        assert json.loads(fhir.read_bytes())["resourceType"] == "DiagnosticReport"


def test_a_message_is_posted_and_a_refusal_in_the_answer_is_heard(tmp_path):
    answers = [
        (500, "text/plain", b""),
        (302, "text/plain", b""),
        (200, "text/plain", b"MSH|^~\\&|R\rMSA|AE|1|unknown patient\r"),
        (200, "text/plain", b"MSH|^~\\&|R\rMSA|AA|1\r"),
    ]
    with (
        http_server(lambda request: answers.pop(0)) as server,
        node(tmp_path, web(f"{server.url}/in", "ris", "hl7", formats=())) as one,
    ):
        (number,) = one.add(1, PatientID="4711")
        one.start()
        one.until(number, State.DELIVERED)
        assert len(server.requests) == 4
        assert len({request.content for request in server.requests}) == 1
        assert server.requests[0].headers["Content-Type"].startswith("application/hl7-v2")
        told = one.told(number)
        assert all(text in told for text in ("answered 500", "answered 302", "answered AE"))
        assert "unknown patient" not in told


def test_a_fhir_server_takes_a_report_once_by_its_identifier(tmp_path):
    reports = {}

    def answer(request):
        condition = request.headers["If-None-Exist"]
        new = condition not in reports
        reports.setdefault(condition, json.loads(request.content))
        return (201 if new else 200), "application/fhir+json", b""

    with http_server(answer) as server, node(tmp_path, web(server.url, "ehr", "fhir", formats=())) as one:
        numbers = one.add(2, PatientID="4711")
        one.start()
        for number in numbers:
            one.until(number, State.DELIVERED)
        assert len(reports) == 2
        for condition, report in reports.items():
            identifier = report["identifier"][0]
            assert condition == f"identifier={identifier['system']}|{identifier['value']}"


def test_a_radiograph_without_patient_id_is_parked_at_once_and_says_so(tmp_path):
    with node(tmp_path, Destination("ris", "hl7", folder=tmp_path / "hl7", formats=())) as one:
        (number,) = one.add(1, PatientID="")
        one.start()
        one.until(number, State.PARKED)
        assert "no PatientID" in one.delivery(number, "ris").error
        assert one.delivery(number, "ris").attempts == 1


def test_a_folder_that_cannot_be_written_or_a_server_that_is_down_is_tried_again(tmp_path):
    blocked = tmp_path / "blocked"
    blocked.write_text("a file in the folder's place")
    send_to = Destination("ris", "hl7", folder=blocked, formats=(), first_retry_s=0.1, longest_retry_s=0.2)
    with node(tmp_path, send_to, web(f"http://127.0.0.1:{free_port()}", "down", "fhir", formats=())) as one:
        (number,) = one.add(1, PatientID="4711")
        one.start()
        wait_until(
            lambda: one.delivery(number, "ris").attempts > 1 and one.delivery(number, "down").attempts > 1
        )
        blocked.unlink()
        wait_until(lambda: str(one.delivery(number, "ris").state) == "delivered")
