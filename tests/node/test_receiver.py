"""The SCP with real peers: what is answered with success is durable; what peers do wrong costs them alone."""

import contextlib
import shutil
import socket
import struct
import subprocess
import sys
import threading
import time
from collections import namedtuple
from dataclasses import replace
from pathlib import Path

import pydicom
import pynetdicom
import pytest
from peers import SAMPLES, needs_dcmtk, radiograph, with_limits
from pydicom.encaps import encapsulate
from pydicom.uid import (
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
    generate_uid,
)
from pynetdicom.sop_class import ComputedRadiographyImageStorage, CTImageStorage, Verification

from lungfield.errors import DataError, OutputError
from lungfield.node import storage_service, transcoding
from lungfield.node.incoming import Incoming
from lungfield.node.receiver import Receiver
from lungfield.node.records import Receipt, State
from lungfield.node.settings import Tls
from soaking.dcmtk import dcmtk, storescu

SYNTAXES = {
    "01_dx_explicit.dcm": "-x=",
    "02_dx_inverse_jpeg2000.dcm": "-xv",
    "03_cr_monochrome1_implicit.dcm": "-xi",
    "04_dx_padding_rle.dcm": "-xr",
    "05_capture_deflated.dcm": "-xd",
    "06_cr_window_jpegls.dcm": "-xt",
    "07_dx_shutter_jpeg_lossless.dcm": "-xs",
}

Listening = namedtuple("Listening", "receiver store")


@pytest.fixture
def listen(settings, store):
    """Starts a receiver with given settings; all are closed at the end."""
    started = []

    def start(given=settings, **more):
        incoming = Incoming(given, store)
        incoming.prepare()
        receiver = Receiver(given, incoming, **more)
        started.append(receiver)
        return receiver

    yield start
    for one in started:
        one.close()


def associate(
    receiver, *, calling="MODALITY", called="LUNGFIELD", contexts=(ComputedRadiographyImageStorage,)
):
    client = pynetdicom.AE(ae_title=calling)
    for one in contexts:
        client.add_requested_context(one, ImplicitVRLittleEndian)
    return client.associate("127.0.0.1", receiver.port, ae_title=called)


def send(receiver, dataset, **how):
    association = associate(receiver, **how)
    assert association.is_established
    try:
        return association.send_c_store(dataset).get("Status")
    finally:
        association.release()


def dataset_of(folder, **changes):
    return pydicom.dcmread(radiograph(folder, **changes))


@needs_dcmtk
def test_echo(listen):
    port = str(listen().port)
    assert subprocess.run([dcmtk("echoscu"), "-aec", "LUNGFIELD", "127.0.0.1", port]).returncode == 0


@needs_dcmtk
def test_every_transfer_syntax_arrives_as_it_was_sent(listen, store, settings):
    port = listen().port
    for name, option in SYNTAXES.items():
        sent = storescu(port, SAMPLES / name, options=(option,))
        assert sent.returncode == 0, sent.stderr
        expected = pydicom.dcmread(SAMPLES / name)
        kept = store.find(expected.SOPInstanceUID)
        assert kept.transfer_syntax_uid == expected.file_meta.TransferSyntaxUID
        found = pydicom.dcmread(settings.state / kept.path)
        assert found.PixelData == expected.PixelData
        assert found.file_meta.TransferSyntaxUID == expected.file_meta.TransferSyntaxUID
    assert store.counts()[State.RECEIVED] == len(SYNTAXES)
    assert {one.calling_ae_title for one in store.last(10)} == {"MODALITY"}


def test_files_are_private_and_their_names_hold_no_identity(listen, store, settings, tmp_path):
    dataset = dataset_of(tmp_path)
    assert send(listen(), dataset) == 0
    path = settings.state / store.find(dataset.SOPInstanceUID).path
    assert path.stat().st_mode & 0o077 == 0
    assert path.parent.stat().st_mode & 0o077 == 0
    assert str(dataset.SOPInstanceUID) not in str(path)


def test_the_same_object_is_answered_again_and_another_content_is_parked(listen, store, tmp_path):
    receiver, dataset = listen(), dataset_of(tmp_path)
    assert [send(receiver, dataset) for _ in range(3)] == [0, 0, 0]
    dataset.add_new(0x00091001, "LO", "an archive's own")
    assert send(receiver, dataset) == 0
    assert store.counts()[State.PARKED] == 0
    dataset.PatientName = "Another^Name"
    assert send(receiver, dataset) == 0
    assert store.counts()[State.RECEIVED] == 1
    (failure,) = store.failures()
    assert failure.instance.reason_code == "conflict"


@needs_dcmtk
def test_the_same_object_in_explicit_and_implicit_vr_is_one(listen, store, tmp_path):
    port, path = listen().port, radiograph(tmp_path)
    assert storescu(port, path, options=("-xi",)).returncode == 0
    assert storescu(port, path, options=("-xe",)).returncode == 0
    assert (store.counts()[State.RECEIVED], store.counts()[State.PARKED]) == (1, 0)


@pytest.mark.parametrize("syntax", [JPEG2000Lossless, JPEGLSLossless, RLELossless])
def test_the_same_radiograph_in_another_lossless_compression_is_one(
    incoming, store, tmp_path, syntax, monkeypatch
):
    monkeypatch.setattr(transcoding, "_LIMIT_S", 200.0)  # of a busy machine
    path = radiograph(tmp_path, sample="01_dx_explicit.dcm")
    assert keep(incoming, path) is Receipt.NEW
    dataset = pydicom.dcmread(path)
    dataset.compress(syntax, generate_instance_uid=False)
    dataset.save_as(path)
    assert keep(incoming, path) is Receipt.KNOWN
    store._database.write(lambda database: database.execute("UPDATE instance SET purged = 1"))
    assert keep(incoming, path) is Receipt.KNOWN  # it is remembered
    dataset.decompress(generate_instance_uid=False)
    dataset.compress(JPEGLSNearLossless, jls_error=3, generate_instance_uid=False)
    dataset.save_as(path)
    assert keep(incoming, path) is Receipt.CONFLICT


@pytest.mark.parametrize("what", ["pixel", "name", "damaged"])
def test_another_content_in_another_compression_is_a_conflict(incoming, tmp_path, what):
    path = radiograph(tmp_path, sample="01_dx_explicit.dcm")
    assert keep(incoming, path) is Receipt.NEW
    dataset = pydicom.dcmread(path)
    if what == "pixel":
        values = dataset.pixel_array.copy()
        values[100, 100] ^= 1
        dataset.PixelData = values.tobytes()
    elif what == "name":
        dataset.PatientName = "Another^Name"
    dataset.compress(JPEGLSLossless, generate_instance_uid=False)
    if what == "damaged":
        dataset.PixelData = encapsulate([b"\xff\xd8" + bytes(100)])
    dataset.save_as(path)
    assert keep(incoming, path) is Receipt.CONFLICT


def keep(incoming, path):
    with incoming.part() as part:
        part.write(path.read_bytes())
    return incoming.keep(Path(part.name), source="dicom")


def test_our_own_results_are_not_taken_back(listen, store, tmp_path):
    dataset = dataset_of(tmp_path, SourceImageSequence=[pydicom.Dataset()])
    assert send(listen(), dataset) == storage_service.NOT_AUTHORIZED
    assert sum(store.counts().values()) == 0


def test_what_does_not_match_or_has_no_uid_is_refused(listen, store, tmp_path):
    receiver, dataset = listen(), dataset_of(tmp_path)
    association = associate(receiver)
    request = pynetdicom.dimse_primitives.C_STORE()
    request.MessageID, request.Priority = 7, 2
    request.AffectedSOPClassUID = dataset.SOPClassUID
    request.AffectedSOPInstanceUID = generate_uid()
    request.DataSet = _encoded(dataset)
    association._reactor_checkpoint.clear()
    association.dimse.send_msg(request, 1)
    _, answer = association.dimse.get_msg(block=True)
    assert answer.Status == storage_service.DOES_NOT_MATCH
    association._reactor_checkpoint.set()
    association.release()
    assert sum(store.counts().values()) == 0


def _encoded(dataset):
    from io import BytesIO

    from pynetdicom.dsutils import encode

    return BytesIO(encode(dataset, True, True))


def test_kinds_that_are_no_radiograph_have_no_context(listen):
    receiver = listen()
    association = associate(receiver, contexts=(CTImageStorage, Verification))
    assert [one.abstract_syntax for one in association.accepted_contexts] == [Verification]
    association.release()


def test_titles_and_addresses_that_are_not_allowed_stay_out(listen, settings):
    receiver = listen(replace(settings, calling_ae_titles=("PACS",), calling_addresses=("127.0.0.0/8",)))
    assert associate(receiver).is_rejected
    assert associate(receiver, calling="PACS", called="OTHER").is_rejected
    allowed = associate(receiver, calling="PACS")
    assert allowed.is_established
    allowed.release()
    elsewhere = listen(replace(settings, calling_addresses=("10.0.0.0/8", "::1")))
    assert not associate(elsewhere).is_established
    with pytest.raises(DataError, match="network"):
        listen(replace(settings, calling_addresses=("hospital",)))


def test_a_port_in_use_is_reported(listen, settings):
    with pytest.raises(OutputError, match="cannot listen on"):
        listen(replace(settings, port=listen().port))


def test_no_more_associations_than_the_limit(listen, settings):
    receiver = listen(with_limits(settings, associations=2))
    first, second = associate(receiver), associate(receiver)
    assert associate(receiver).is_rejected
    first.release()
    end = time.monotonic() + 5
    while receiver.associations > 1 and time.monotonic() < end:
        time.sleep(0.02)
    third = associate(receiver)
    assert third.is_established
    for one in (second, third):
        one.release()


def test_under_the_threshold_of_the_disk_objects_are_refused(listen, settings, store, tmp_path):
    receiver = listen(with_limits(settings, disk_free_bytes=1 << 60))
    assert send(receiver, dataset_of(tmp_path)) == storage_service.OUT_OF_RESOURCES
    assert sum(store.counts().values()) == 0
    assert list(settings.incoming.rglob("*.dcm")) == []


def test_a_disk_that_is_full_while_an_object_comes_is_told(listen, settings, store, tmp_path, monkeypatch):
    receiver, dataset = listen(), dataset_of(tmp_path)
    real = Incoming.part

    def failing(self):
        file = real(self)
        written = 0
        write = file.write

        def limited(content):
            nonlocal written
            written += len(content)
            if written > 50_000:
                raise OSError(28, "No space left on device")
            return write(content)

        file.write = limited
        return file

    monkeypatch.setattr(Incoming, "part", failing)
    receiver._server.admission = replace(receiver._server.admission, part=lambda: failing(receiver._incoming))
    association = associate(receiver)
    assert association.send_c_store(dataset).get("Status") == storage_service.OUT_OF_RESOURCES
    receiver._server.admission = replace(receiver._server.admission, part=lambda: real(receiver._incoming))
    association.release()
    assert send(receiver, dataset) == 0
    assert len(list(settings.incoming.rglob("*.dcm"))) == 1


def test_an_object_over_the_limit_is_refused_and_the_next_one_taken(listen, settings, tmp_path):
    receiver = listen(with_limits(settings, object_bytes=100_000))
    association = associate(receiver)
    large = dataset_of(tmp_path)
    assert len(large.PixelData) > 150_000
    assert association.send_c_store(large).get("Status") == storage_service.OUT_OF_RESOURCES
    small = dataset_of(tmp_path, Rows=100, Columns=100)
    small.PixelData = small.PixelData[:20_000]
    assert association.send_c_store(small).get("Status") == 0
    association.release()


def test_a_connection_that_is_cut_in_the_middle_leaves_nothing(listen, settings, store, tmp_path):
    receiver, dataset = listen(with_limits(settings, pdu_bytes=16_384)), dataset_of(tmp_path)
    association = associate(receiver)
    send_all = association.dul.socket.send
    sent = 0

    def cut(content):
        nonlocal sent
        sent += len(content)
        if sent > 100_000:
            association.dul.socket.socket.shutdown(socket.SHUT_RDWR)
        else:
            send_all(content)

    association.dul.socket.send = cut
    assert "Status" not in association.send_c_store(dataset)
    end = time.monotonic() + 5
    while list(settings.incoming.rglob("*.dcm")) and time.monotonic() < end:
        time.sleep(0.02)
    assert list(settings.incoming.rglob("*.dcm")) == []
    assert sum(store.counts().values()) == 0
    assert send(receiver, dataset) == 0


def request_pdu():
    """An A-ASSOCIATE-RQ for Verification, made by pynetdicom."""
    from pynetdicom.pdu import A_ASSOCIATE_RQ
    from pynetdicom.pdu_primitives import A_ASSOCIATE, MaximumLengthNotification
    from pynetdicom.pdu_primitives import ImplementationClassUIDNotification as Implementation

    primitive = A_ASSOCIATE()
    primitive.application_context_name = "1.2.840.10008.3.1.1.1"
    primitive.calling_ae_title, primitive.called_ae_title = "HOSTILE", "LUNGFIELD"
    length, implementation = MaximumLengthNotification(), Implementation()
    length.maximum_length_received = 16384
    implementation.implementation_class_uid = "1.2.3"
    primitive.user_information = [length, implementation]
    context = pynetdicom.build_context(ComputedRadiographyImageStorage, ImplicitVRLittleEndian)
    context.context_id = 1
    primitive.presentation_context_definition_list = [context]
    pdu = A_ASSOCIATE_RQ()
    pdu.from_primitive(primitive)
    return pdu.encode()


def data_pdu(content, *, claims=None, header=2):
    value = struct.pack(">LBB", len(content) + 2, 1, header) + content
    return struct.pack(">BBL", 4, 0, len(value) if claims is None else claims) + value


HOSTILE = {
    "nothing of DICOM": [b"GET / HTTP/1.1\r\nHost: node\r\n\r\n"],
    "a PDU of 3 GB": [request_pdu(), struct.pack(">BBL", 4, 0, 3 << 30) + bytes(100_000)],
    "a request of 4 GB": [struct.pack(">BBL", 1, 0, 0xFFFFFFFF)],
    "a truncated request": [request_pdu()[:60]],
    "a request with a wrong length": [request_pdu()[:2] + struct.pack(">L", 30) + request_pdu()[6:]],
    "data before the request": [data_pdu(b"abc")],
    "a PDV longer than its PDU": [request_pdu(), struct.pack(">BBLLBB", 4, 0, 6, 1 << 31, 1, 3)],
    "an empty PDV": [request_pdu(), struct.pack(">BBLLB", 4, 0, 5, 1, 1)],
    "another context": [request_pdu(), struct.pack(">BBLLBB", 4, 0, 8, 4, 77, 3) + b"ab"],
    "a command without end": [request_pdu(), *[data_pdu(bytes(16_000), header=1)] * 20],
    "a command that is none": [request_pdu(), data_pdu(b"\xff" * 100, header=3)],
    "an unknown type of PDU": [request_pdu(), struct.pack(">BBL", 99, 0, 4) + b"abcd"],
    "two requests": [request_pdu(), request_pdu()],
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_peer_is_cut_off_and_costs_nothing(listen, settings, store, tmp_path, kind):
    receiver = listen(with_limits(settings, request_s=1, idle_s=1))
    threads = threading.active_count()
    with socket.create_connection(("127.0.0.1", receiver.port), timeout=20) as peer:
        try:
            for part in HOSTILE[kind]:
                peer.sendall(part)
            while peer.recv(65536):
                pass
        except ConnectionError:
            pass
    dataset = dataset_of(tmp_path)
    assert send(receiver, dataset) == 0
    end = time.monotonic() + 8
    while threading.active_count() > threads and time.monotonic() < end:
        time.sleep(0.05)
    assert threading.active_count() <= threads
    assert store.counts()[State.RECEIVED] == 1


# In a process of its own: pynetdicom's client selects, which takes no descriptor from 1024 on.
_THOUSAND = """
import socket, sys
silent = [socket.create_connection(("127.0.0.1", int(sys.argv[1])), timeout=30) for _ in range(1000)]
print("open", flush=True)
sys.stdin.read()
"""


@pytest.mark.slow
@pytest.mark.timeout(60)
def test_a_thousand_that_say_nothing_keep_nobody_out(listen, settings, tmp_path):
    receiver = listen(with_limits(settings, connections=16, request_s=30))
    call = [sys.executable, "-c", _THOUSAND, str(receiver.port)]
    with subprocess.Popen(call, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as silent:
        assert silent.stdout.readline() == b"open\n"
        start = time.monotonic()
        assert send(receiver, dataset_of(tmp_path)) == 0
        assert time.monotonic() - start < 15
        assert threading.active_count() < 150
        silent.stdin.close()


def test_one_that_sends_a_byte_a_second_is_cut_off(listen, settings):
    receiver = listen(with_limits(settings, request_s=1, idle_s=1.5))
    with socket.create_connection(("127.0.0.1", receiver.port), timeout=10) as peer:
        peer.sendall(request_pdu()[:10])
        start = time.monotonic()
        with contextlib.suppress(ConnectionError):
            while time.monotonic() - start < 8:
                peer.sendall(b"\0")
                time.sleep(0.3)
        assert time.monotonic() - start < 6


def test_an_association_on_which_nothing_comes_is_aborted(listen, settings):
    receiver = listen(with_limits(settings, idle_s=1))
    association = associate(receiver)
    assert association.is_established
    end = time.monotonic() + 6
    while association.is_established and time.monotonic() < end:
        time.sleep(0.05)
    assert association.is_aborted


def test_a_report_of_storage_commitment_is_passed_on(listen):
    heard = []
    receiver = listen(committed=lambda report: heard.append(report.TransactionUID) or True)
    client = pynetdicom.AE("ARCHIVE")
    commitment = "1.2.840.10008.1.20.1"
    client.add_requested_context(commitment)
    role = pynetdicom.build_role(commitment, scp_role=True)
    association = client.associate("127.0.0.1", receiver.port, ae_title="LUNGFIELD", ext_neg=[role])
    report = pydicom.Dataset()
    report.TransactionUID = "1.2.3.4"
    report.ReferencedSOPSequence = []
    status, _ = association.send_n_event_report(report, 1, commitment, "1.2.840.10008.1.20.1.1")
    association.release()
    assert (status.Status, heard) == (0, ["1.2.3.4"])


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    if shutil.which("openssl") is None:
        pytest.skip("needs openssl")
    folder = tmp_path_factory.mktemp("certificates")
    for name in ("node", "peer"):
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=node",
             "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", folder / f"{name}.key",
             "-out", folder / f"{name}.pem"],
            check=True, capture_output=True,
        )  # fmt: skip
    return folder


@needs_dcmtk
def test_tls_and_mutual_tls(listen, settings, certificates, tmp_path):
    tls = Tls(
        on=True, certificate=certificates / "node.pem", key=certificates / "node.key",
        ca=certificates / "peer.pem", mutual=True,
    )  # fmt: skip
    receiver = listen(with_limits(replace(settings, tls=tls), request_s=2))
    trusted = ("+cf", certificates / "node.pem")
    path = radiograph(tmp_path)
    shown = ("+tls", certificates / "peer.key", certificates / "peer.pem")
    options = tuple(map(str, ("-xi", *shown, *trusted)))
    sent = storescu(receiver.port, path, options=options)
    assert sent.returncode == 0, sent.stderr
    assert storescu(receiver.port, path, options=("-xi",)).returncode != 0
    anonymous = tuple(map(str, ("-xi", "+tla", *trusted)))
    assert storescu(receiver.port, path, options=anonymous).returncode != 0
    with socket.create_connection(("127.0.0.1", receiver.port)):  # a handshake that never comes
        assert storescu(receiver.port, path, options=options).returncode == 0


@pytest.mark.parametrize("drip", [b"", b"\x16"])
def test_a_handshake_that_does_not_come_ends_soon(listen, settings, certificates, drip):
    tls = Tls(on=True, certificate=certificates / "node.pem", key=certificates / "node.key")
    receiver = listen(with_limits(replace(settings, tls=tls), request_s=1))
    begun = time.monotonic()
    with socket.create_connection(("127.0.0.1", receiver.port), timeout=20) as silent:
        silent.sendall(drip)  # the first byte of a record, and no other
        with contextlib.suppress(ConnectionResetError):
            assert silent.recv(1) == b""
    assert time.monotonic() - begun < 10
    end = time.monotonic() + 10
    while receiver._server.peers and time.monotonic() < end:
        time.sleep(0.02)
    assert not receiver._server.peers


def test_a_stop_answers_what_is_being_kept(listen, store, tmp_path, monkeypatch):
    receiver, dataset = listen(), dataset_of(tmp_path)
    began, answers = threading.Event(), []
    real = type(store).receive

    def slow(self, received):
        began.set()
        time.sleep(0.5)
        return real(self, received)

    monkeypatch.setattr(type(store), "receive", slow)
    sender = threading.Thread(target=lambda: answers.append(send(receiver, dataset)))
    sender.start()
    assert began.wait(5)
    receiver.close()
    sender.join(10)
    assert answers == [0]
    assert store.counts()[State.RECEIVED] == 1
