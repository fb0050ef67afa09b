"""C-STORE: each result is exactly once at its destination, or parked with a reason."""

from __future__ import annotations

import socket
import threading
import time
from dataclasses import replace

import pydicom
import pytest
from pydicom.uid import ImplicitVRLittleEndian, SecondaryCaptureImageStorage
from pynetdicom import AE, evt
from sending import (
    MISSING_DCMTK,
    Peer,
    archive,
    free_port,
    kept,
    node,
    storescp,
    wait_until,
)

from lungfield.node.dicom_sender import DicomSender
from lungfield.node.records import Sending, State

needs_dcmtk = pytest.mark.skipif(bool(MISSING_DCMTK), reason=MISSING_DCMTK)
ALL = ("seg", "sr", "sc")
TAKES = ("+xa",)  # any transfer syntax


@needs_dcmtk
def test_all_results_arrive_once_over_few_associations(tmp_path):
    with storescp(tmp_path / "pacs", *TAKES) as pacs, node(tmp_path, archive(pacs.port)) as one:
        numbers = one.add(3, ALL) + one.add(9)
        one.start()
        for number in numbers:
            assert one.until(number, State.DELIVERED) is State.DELIVERED
        assert sorted(kept(pacs.folder)) == sorted(uid for number in numbers for uid in one.uids(number))
        assert one.delivery(numbers[0], "pacs").attempts == 1


@needs_dcmtk
@pytest.mark.parametrize("options", [("--refuse",), ("--abort-after",), ("--abort-during",)])
def test_an_archive_that_refuses_or_aborts_never_counts_as_one_that_took_it(tmp_path, options):
    port = free_port()
    with (
        storescp(tmp_path / "bad", *TAKES, *options, port=port),
        node(tmp_path, archive(port, retry_for_s=1.5)) as one,
    ):
        numbers = one.add(2)
        one.start()
        for number in numbers:
            assert one.until(number, State.PARKED, State.DELIVERED) is State.PARKED
            assert one.store.instance(number).reason_code == "not-delivered"
            found = one.delivery(number, "pacs")
            assert found.attempts > 1
            assert found.error


@needs_dcmtk
def test_what_an_archive_did_not_take_it_gets_when_it_is_well_again(tmp_path):
    port = free_port()
    with node(tmp_path, archive(port)) as one:
        (number,) = one.add(1, ALL)
        one.start()
        wait_until(lambda: one.delivery(number, "pacs").attempts >= 2)
        assert "Connection refused" in one.delivery(number, "pacs").error
        with storescp(tmp_path / "bad", *TAKES, "--abort-during", port=port):
            wait_until(lambda: "ended the association" in one.delivery(number, "pacs").error)
        with storescp(tmp_path / "good", *TAKES, port=port) as good:
            one.until(number, State.DELIVERED)
            assert sorted(kept(good.folder)) == sorted(one.uids(number))


@pytest.mark.parametrize("status", [0xA700, 0xA900, 0xC001, 0x0122, 0x0124, 0x0110, 0x0001])
def test_every_status_of_failure_is_a_failure(tmp_path, status):
    with Peer(lambda event: status) as peer, node(tmp_path, archive(peer.port, retry_for_s=0.5)) as one:
        (number,) = one.add()
        one.start()
        assert one.until(number, State.PARKED, State.DELIVERED) is State.PARKED
        assert f"refused the sc: {status:#06x}" in one.delivery(number, "pacs").error


@pytest.mark.parametrize(
    ("status", "note"), [(0xB000, "0xb000"), (0xB007, "0xb007"), (0x0111, "already"), (0, "")]
)
def test_warnings_are_noted(tmp_path, status, note):
    with Peer(lambda event: status) as peer, node(tmp_path, archive(peer.port)) as one:
        (number,) = one.add()
        one.start()
        one.until(number, State.DELIVERED)
        assert note in one.delivery(number, "pacs").error


def test_one_object_that_is_refused_costs_no_other(tmp_path):
    refused = set()
    with (
        Peer(lambda event: 0xC000 if event.request.AffectedSOPInstanceUID in refused else 0) as peer,
        node(tmp_path, archive(peer.port, retry_for_s=1.0)) as one,
    ):
        numbers = one.add(5)
        refused |= one.uids(numbers[1])
        one.start()
        states = [one.until(number, State.DELIVERED, State.PARKED) for number in numbers]
        assert [str(one) for one in states] == ["delivered", "parked", *["delivered"] * 3]
        assert len(peer.kept) == len(set(peer.kept)) == 4


def test_an_object_that_makes_the_archive_abort_costs_no_other(tmp_path):
    poison = set()

    def answer(event):
        if event.request.AffectedSOPInstanceUID in poison:
            event.assoc.abort()
        return 0x0000

    with Peer(answer) as peer, node(tmp_path, archive(peer.port, retry_for_s=4.0)) as one:
        numbers = one.add(4)
        poison |= one.uids(numbers[0])
        one.start()
        for number in numbers[1:]:
            one.until(number, State.DELIVERED)
        one.until(numbers[0], State.PARKED)


def test_an_archive_without_the_class_says_which_format_it_does_not_take(tmp_path):
    with Peer() as peer, node(tmp_path, archive(peer.port, retry_for_s=0.3)) as one:
        (number,) = one.add(1, ("seg", "sc"))
        one.start()
        one.until(number, State.PARKED)
        assert "accepts no seg (Segmentation Storage)" in one.delivery(number, "pacs").error


def test_an_archive_without_jpeg_gets_the_same_object_uncompressed(tmp_path):
    with Peer(syntaxes=[ImplicitVRLittleEndian]) as peer, node(tmp_path, archive(peer.port)) as one:
        (number,) = one.add()
        one.start()
        one.until(number, State.DELIVERED)
        assert set(peer.kept) == one.uids(number)
        (dataset,) = peer.datasets
        assert dataset.file_meta.TransferSyntaxUID == ImplicitVRLittleEndian
        assert dataset.pixel_array.ndim == 3


def test_a_rejected_association_says_why(tmp_path):
    entity = AE("PACS")
    entity.add_supported_context(SecondaryCaptureImageStorage)
    entity.require_called_aet = True
    server = entity.start_server(("127.0.0.1", 0), block=False)
    try:
        with node(tmp_path, archive(server.server_address[1], title="WRONG", retry_for_s=0.3)) as one:
            (number,) = one.add()
            one.start()
            one.until(number, State.PARKED)
            assert "Called AE title not recognised" in one.delivery(number, "pacs").error
    finally:
        server.shutdown()


@pytest.fixture
def silent():
    """A server that takes connections and never says a word."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(50)
        yield listener.getsockname()[1]


def test_an_archive_that_hangs_keeps_no_other_from_its_results(tmp_path, silent):
    release = threading.Event()

    def hang(event):
        release.wait(20)
        return 0x0000

    with Peer(hang) as hanging, Peer() as good:
        send_to = [archive(good.port, "good"), archive(silent, "silent"), archive(hanging.port, "hanging")]
        with node(tmp_path, *(replace(one, timeout_s=1.0) for one in send_to)) as one:
            numbers = one.add(5)
            one.start()
            for number in numbers:
                one.until_delivery(number, "good", Sending.DELIVERED, timeout_s=5)
            wait_until(lambda: "did not answer" in one.delivery(numbers[0], "silent").error)
            wait_until(lambda: "did not answer" in one.delivery(numbers[0], "hanging").error)
            assert {str(one.delivery(number, "hanging").state) for number in numbers} == {"waiting"}
            release.set()


def test_it_stops_within_seconds_while_archives_hang(tmp_path, silent):
    with Peer(lambda event: time.sleep(8) or 0) as hanging:
        send_to = (archive(silent, "silent", timeout_s=60), archive(hanging.port, "hanging", timeout_s=60))
        with node(tmp_path, *send_to) as one:
            (number,) = one.add()
            one.start()
            wait_until(lambda: hanging.associations == 1)
            time.sleep(0.3)
            begin = time.monotonic()
            assert one.delivering.stop(5.0)
            assert time.monotonic() - begin < 4
            assert {one.delivery(number, name).attempts for name in ("silent", "hanging")} == {0}


def test_one_that_reads_nothing_ends_at_its_limit(tmp_path):
    """It negotiates, and then leaves the object in the buffers of the connection."""
    peer = Peer()
    stuck = threading.Event()

    def hold(event):
        event.assoc.dul._kill_thread = True  # its thread reads no more; the connection stays open
        stuck.set()

    peer._server.bind(evt.EVT_ESTABLISHED, hold)
    with peer, node(tmp_path, archive(peer.port, timeout_s=1.0, retry_for_s=0.1)) as one:
        (number,) = one.add()
        (result,) = one.store.results(number)
        dataset = pydicom.dcmread(one.settings.results / result.path)
        block = dataset.private_block(0x0099, "LARGE", create=True)
        block.add_new(0x01, "OB", bytes(32 << 20))  # more than the buffers of a connection hold
        dataset.save_as(one.settings.results / result.path)
        one.start()
        assert one.until(number, State.PARKED, timeout_s=20) is State.PARKED
        assert stuck.is_set()
        assert one.delivering.stop(5.0)


def test_the_fallback_gets_what_the_first_does_not_take_and_nothing_else(tmp_path):
    wanted = []
    with (
        Peer(lambda event: 0 if event.request.AffectedSOPInstanceUID in wanted else 0xA700) as first,
        Peer() as spare,
    ):
        send_to = (
            archive(first.port, "first", fallback="spare", retry_for_s=1.0),
            archive(spare.port, "spare"),
        )
        with node(tmp_path, *send_to) as one:
            numbers = one.add(2)
            wanted += one.uids(numbers[0])
            one.start()
            for number in numbers:
                one.until(number, State.DELIVERED)
            assert set(spare.kept) == one.uids(numbers[1])
            assert one.delivery(numbers[1], "first").state is Sending.REPLACED
            assert "0xa700" in one.delivery(numbers[1], "first").error


def test_the_fallback_of_an_archive_that_is_down_gets_all_at_its_time_however_many(tmp_path):
    with Peer() as spare:
        first = archive(free_port(), "first", fallback="spare", retry_for_s=0.5, longest_retry_s=0.6)
        with node(tmp_path, first, archive(spare.port, "spare")) as one:
            numbers = one.add(30)
            one.start()
            for number in numbers:
                one.until(number, State.DELIVERED)
            assert len(spare.kept) == len(set(spare.kept)) == 30


def test_what_waits_for_a_destination_that_is_gone_is_parked(tmp_path):
    with Peer() as peer, node(tmp_path, archive(peer.port, "old")) as one:
        (number,) = one.add()
        one.restart(archive(peer.port, "new"))
        one.until(number, State.PARKED)
        assert "the destination old is no longer configured" in one.delivery(number, "old").error
        one.restart(archive(peer.port, "old"))
        assert one.store.retry([number]) == 1
        one.until(number, State.DELIVERED)


def test_a_result_whose_file_is_gone_is_parked_at_once(tmp_path):
    with Peer() as peer, node(tmp_path, archive(peer.port)) as one:
        numbers = one.add(2)
        (result,) = one.store.results(numbers[0])
        (one.settings.results / result.path).unlink()
        one.start()
        one.until(numbers[0], State.PARKED)
        assert "missing in the state folder" in one.delivery(numbers[0], "pacs").error
        one.until(numbers[1], State.DELIVERED)


@pytest.mark.parametrize("damage", [b"", b"junk" * 99])
def test_a_result_whose_file_is_damaged_is_parked_and_keeps_no_other(tmp_path, damage):
    with Peer() as peer, node(tmp_path, archive(peer.port)) as one:
        numbers = one.add(3)
        (result,) = one.store.results(numbers[0])
        (one.settings.results / result.path).write_bytes(damage)
        one.start()
        one.until(numbers[0], State.PARKED)
        assert "cannot be read" in one.delivery(numbers[0], "pacs").error
        for number in numbers[1:]:
            one.until(number, State.DELIVERED)


def test_what_nobody_expected_keeps_no_other(tmp_path, monkeypatch):
    with Peer() as peer, node(tmp_path, archive(peer.port, retry_for_s=1.0)) as one:
        numbers = one.add(3)
        cursed = one.uids(numbers[0])
        real = DicomSender._status

        def status(self, association, dataset, item):
            if item.sop_instance_uid in cursed:
                raise ZeroDivisionError
            return real(self, association, dataset, item)

        monkeypatch.setattr(DicomSender, "_status", status)
        one.start()
        for number in numbers[1:]:
            one.until(number, State.DELIVERED)
        one.until(numbers[0], State.PARKED)
        assert "unexpected ZeroDivisionError" in one.delivery(numbers[0], "pacs").error


def test_a_connection_that_is_cut_is_tried_again_and_the_object_is_there_once(tmp_path):
    cut = iter([True, True, False, False, False, False])

    def answer(event):
        if next(cut):
            event.assoc.dul.socket.socket.shutdown(socket.SHUT_RDWR)
        return 0x0000

    with Peer(answer) as peer, node(tmp_path, archive(peer.port)) as one:
        (number,) = one.add()
        one.start()
        one.until(number, State.DELIVERED)
        assert set(peer.kept) == one.uids(number)
        assert one.delivery(number, "pacs").attempts == 3
