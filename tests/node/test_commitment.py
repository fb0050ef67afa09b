"""Storage commitment: where an archive offers it, only what it commits itself to counts as delivered."""

from __future__ import annotations

import threading

import pytest
import requests
from pydicom import Dataset
from pydicom.uid import JPEGBaseline8Bit, SecondaryCaptureImageStorage, generate_uid
from pynetdicom import AE, build_role, evt
from pynetdicom.sop_class import StorageCommitmentPushModel as Commitment
from pynetdicom.sop_class import StorageCommitmentPushModelInstance as TheInstance
from sending import archive, node, wait_until

from lungfield.errors import DataError
from lungfield.node.commitment import Commitments
from lungfield.node.incoming import Incoming
from lungfield.node.receiver import Receiver
from lungfield.node.records import Sending, State
from orthanc import MISSING, running_orthanc

SOON = {"first_retry_s": 0.05, "longest_retry_s": 0.1}


class Archive:
    """An archive that is asked for storage commitment.

    Args:
        report: makes (objects it keeps, objects it does not) of those it is asked for; None is silence.
        status: its answer to the N-ACTION.
        port: where it reports by an association of its own; 0 for that on which it was asked.
    """

    def __init__(self, report=lambda uids: (uids, []), *, status=0x0000, port=0, offers=True):
        self.kept: list[str] = []
        self.asked: list[list[str]] = []
        self._report, self._status, self._port = report, status, port
        entity = AE("PACS")
        entity.add_supported_context(SecondaryCaptureImageStorage, JPEGBaseline8Bit)
        if offers:
            entity.add_supported_context(Commitment)
        handlers = [(evt.EVT_C_STORE, self._store), (evt.EVT_N_ACTION, self._action)]
        self._server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers)
        self.port = self._server.server_address[1]

    def _store(self, event):
        self.kept.append(str(event.request.AffectedSOPInstanceUID))
        return 0x0000

    def _action(self, event):
        request = event.action_information
        uids = [str(one.ReferencedSOPInstanceUID) for one in request.ReferencedSOPSequence]
        self.asked.append(uids)
        answer = self._report(uids)
        if self._status == 0x0000 and answer is not None:
            report = report_of(request.TransactionUID, *answer)
            threading.Timer(0.1, self._send, (event.assoc, report)).start()
        return self._status, None

    def _send(self, association, report):
        kind = 2 if "FailedSOPSequence" in report else 1
        if not self._port:
            if association.is_established:
                association.send_n_event_report(report, kind, Commitment, TheInstance)
            return
        entity = AE("PACS")
        entity.add_requested_context(Commitment)
        role = build_role(Commitment, scp_role=True)
        association = entity.associate("127.0.0.1", self._port, ae_title="LUNGFIELD", ext_neg=[role])
        association.send_n_event_report(report, kind, Commitment, TheInstance)
        association.release()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._server.shutdown()


def report_of(transaction_uid, kept, failed):
    report = Dataset()
    report.TransactionUID = transaction_uid
    for keyword, uids in (("ReferencedSOPSequence", kept), ("FailedSOPSequence", failed)):
        items = []
        for uid in uids:
            item = Dataset()
            item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = SecondaryCaptureImageStorage, uid
            if keyword == "FailedSOPSequence":
                item.FailureReason = 0x0112
            items.append(item)
        if items:
            setattr(report, keyword, items)
    return report


def listening(one):
    """The node's own port."""
    incoming = Incoming(one.settings, one.store)
    incoming.prepare()
    return Receiver(one.settings, incoming, one.delivering.commitments.note)


def test_reports_on_the_association_itself_deliver_by_one_question(tmp_path):
    with Archive() as pacs, node(tmp_path, archive(pacs.port)) as one:
        numbers = one.add(4)
        one.start()
        for number in numbers:
            one.until(number, State.DELIVERED)
        assert len(pacs.asked) == 1
        assert sorted(pacs.kept) == sorted(pacs.asked[0])
        told = [one.to_state for one in one.store.transitions(numbers[0]) if one.destination]
        assert told == ["waiting", "sent", "delivered"]


def test_reports_on_an_association_to_the_node_deliver(tmp_path):
    with Archive() as pacs, node(tmp_path, archive(pacs.port, timeout_s=1.0)) as one:
        receiver = listening(one)
        pacs._port = receiver.port
        try:
            numbers = one.add(2)
            one.start()
            for number in numbers:
                one.until(number, State.DELIVERED)
        finally:
            receiver.close()


def test_what_the_archive_lost_is_sent_again_until_it_is_kept(tmp_path):
    losses = []

    def report(uids):
        if len(losses) < 2:
            losses.append(uids[0])
            return uids[1:], uids[:1]
        return uids, []

    with Archive(report) as pacs, node(tmp_path, archive(pacs.port)) as one:
        numbers = one.add(3)
        one.start()
        for number in numbers:
            one.until(number, State.DELIVERED)
        lost = next(number for number in numbers if losses[0] in one.uids(number))
        assert "0x0112, it has no such object" in one.told(lost)
        assert pacs.kept.count(losses[0]) >= 2
        others = set(pacs.kept) - set(losses)
        assert all(pacs.kept.count(uid) == 1 for uid in others)


@pytest.mark.parametrize(
    ("report", "options", "said"),
    [
        (lambda uids: ([], uids), {}, "does not commit to the sc"),
        (lambda uids: ([], []), {}, "does not name the sc"),
        (lambda uids: None, {}, "no storage commitment arrived"),
        (lambda uids: (uids, []), {"status": 0x0110}, "offers storage commitment, but refuses it: 0x0110"),
    ],
)
def test_what_is_never_committed_is_parked_with_the_reason(tmp_path, report, options, said):
    with Archive(report, **options) as pacs:
        limit_s = 0.4 if report([""]) is None else 5.0  # it is waited for six times as long
        destination = archive(pacs.port, retry_for_s=4.0, timeout_s=limit_s, **SOON)
        with node(tmp_path, destination) as one:
            (number,) = one.add()
            one.start()
            assert one.until(number, State.PARKED, State.DELIVERED, timeout_s=30) is State.PARKED
            assert said in one.delivery(number, "pacs").error
            assert pacs.kept.count(*one.uids(number)) > 1


@pytest.mark.parametrize(("wanted", "state"), [("auto", State.DELIVERED), ("never", State.DELIVERED)])
def test_an_archive_that_offers_none_delivers_by_its_word(tmp_path, wanted, state):
    with Archive(offers=False) as pacs, node(tmp_path, archive(pacs.port, commitment=wanted)) as one:
        (number,) = one.add()
        one.start()
        assert one.until(number, State.DELIVERED) is state


def test_never_asks_nothing_and_required_sends_nothing_without(tmp_path):
    with Archive() as pacs, node(tmp_path, archive(pacs.port, commitment="never")) as one:
        (number,) = one.add()
        one.start()
        one.until(number, State.DELIVERED)
        assert not pacs.asked
        with Archive(offers=False) as other:
            one.restart(archive(other.port, commitment="required", retry_for_s=0.5))
            (number,) = one.add()
            one.until(number, State.PARKED)
            assert "offers no storage commitment" in one.delivery(number, "pacs").error
            assert not other.kept


def test_a_node_that_ends_before_the_report_asks_again(tmp_path):
    silent = []
    with Archive(lambda uids: (uids, []) if silent else None) as pacs:
        destination = archive(pacs.port, longest_retry_s=600.0)
        with node(tmp_path, destination) as one:
            (number,) = one.add()
            one.start()
            one.until_delivery(number, "pacs", Sending.SENT)
            wait_until(lambda: pacs.asked)
            silent.append(True)
            one.restart()
            one.until(number, State.DELIVERED)
            assert set(pacs.kept) == one.uids(number)


def test_reports_that_are_none_or_unknown_change_nothing(tmp_path):
    with Archive(lambda uids: None) as pacs, node(tmp_path, archive(pacs.port, longest_retry_s=600.0)) as one:
        (number,) = one.add()
        one.start()
        sent = one.until_delivery(number, "pacs", Sending.SENT)
        commitments = Commitments(one.settings, one.store)
        (uid,) = one.uids(number)
        assert commitments.note(report_of(generate_uid(), [uid], [])) is False
        with pytest.raises(DataError, match="cannot be read"):
            commitments.note(Dataset())
        assert one.delivery(number, "pacs").state is Sending.SENT
        assert commitments.note(report_of(sent.transaction_uid, [uid], [])) is True
        assert commitments.note(report_of(sent.transaction_uid, [], [uid])) is False  # it was delivered
        assert one.until(number, State.DELIVERED)


@pytest.mark.skipif(bool(MISSING), reason=MISSING)
def test_orthanc_commits_itself_and_has_every_result_once(tmp_path):
    (tmp_path / "orthanc").mkdir()
    with running_orthanc(tmp_path / "orthanc") as orthanc:
        destination = archive(orthanc.dicom_port, title="ORTHANC", commitment="required")
        with node(tmp_path, destination) as one:
            receiver = listening(one)
            try:
                here = {"AET": "LUNGFIELD", "Host": "127.0.0.1", "Port": receiver.port}
                address = f"http://127.0.0.1:{orthanc.http_port}/modalities/sender"
                requests.put(address, json=here, timeout=10).raise_for_status()
                numbers = one.add(3, ("seg", "sr", "sc"))
                one.start()
                for number in numbers:
                    one.until(number, State.DELIVERED, timeout_s=30)
                    assert "sent" in [str(change.to_state) for change in one.store.transitions(number)]
                one.send_again()
                for number in numbers:
                    one.until(number, State.DELIVERED, timeout_s=30)
                found = {str(item.SOPInstanceUID) for item in orthanc.find("instances")}
                assert found == {uid for number in numbers for uid in one.uids(number)}
                assert len(orthanc.find("instances")) == 9
            finally:
                receiver.close()
