"""A whole node tells of nobody, whatever arrives: in log, page, metrics, commands and names of files."""

from __future__ import annotations

import time
import warnings

import pydicom
import pytest
from filled import ACCESSION, NAME, PATIENT_ID, get
from peers import free_port, radiograph
from pynetdicom import AE, build_context
from requests import ConnectionError as NotThere

from lungfield.node.records import State
from lungfield.node.settings import Settings
from lungfield.node.store import Store
from soaking.node_process import NodeProcess

WORDS = ("zzyzx", "quirinius", "qx-77310", "acc-90210", "secretville", "1.2.826.0.1.3680043.8.498.")
"""Parts of the patient's name, ID and accession number, of a description, and of UIDs that are made here."""

IDENTITY = {
    "PatientName": NAME,
    "PatientID": PATIENT_ID,
    "AccessionNumber": ACCESSION,
    "StudyDescription": "CHEST AT SECRETVILLE",
    "InstitutionName": "Secretville",
}


def everything(folder):
    """A good one, a lateral one, a damaged one, one with invalid values that name it, another content."""
    good = radiograph(folder, 1, **IDENTITY)
    uid = pydicom.dcmread(good).SOPInstanceUID
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of values that are invalid on purpose
        lateral = radiograph(folder, 2, **IDENTITY, ViewPosition="LL")
        cut = radiograph(folder, 3, **IDENTITY)
        dataset = pydicom.dcmread(cut)
        dataset.PixelData = dataset.PixelData[:1000]
        dataset.save_as(cut)
        odd = radiograph(folder, 4, **IDENTITY, PatientSex="ZZYZX QUIRINIUS", Modality="QX-77310")
    other = pydicom.dcmread(good)
    other.PatientComments = f"Once {NAME}"
    other.SOPInstanceUID = uid
    path = folder / "00005.dcm"
    other.save_as(path)
    return [good, lateral, cut, odd, path]


def send(port, paths):
    """Send files by C-STORE; the status of each."""
    client = AE(ae_title="MODALITY")
    datasets = [pydicom.dcmread(path) for path in paths]
    contexts = {(one.SOPClassUID, one.file_meta.TransferSyntaxUID) for one in datasets}
    association = client.associate(
        "127.0.0.1", port, contexts=[build_context(*one) for one in contexts], ae_title="LUNGFIELD"
    )
    assert association.is_established
    try:
        return [association.send_c_store(one).Status for one in datasets]
    finally:
        association.release()


def wait_until(condition, limit_s=150):
    end = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.2)


@pytest.mark.slow
@pytest.mark.timeout(280)
def test_nobody_is_told(tmp_path, call_lungfield):
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    state, messages = tmp_path / "state", tmp_path / "messages"
    page, closed = f"127.0.0.1:{free_port()}", free_port()
    options = ["--http", page, "--workers", "1", "--backend", "torch"]
    options += ["--send-to", f"PACS@127.0.0.1:{closed}", "--send-to", f"hl7:{messages}"]
    node = NodeProcess(state, free_port(), options)
    node.start()
    store = Store(Settings(state=state).database)
    try:
        paths = everything(inbox)
        assert send(node.port, paths) == [0x0000] * 5
        wait_until(lambda: store.counts()[State.RECEIVED] == 0)
        wait_until(lambda: store.open_deliveries("PACS").attempts > 0)
        counts = store.counts()
        assert sum(counts.values()) == 5
        assert all(counts[one] for one in (State.SEGMENTED, State.SKIPPED, State.PARKED))
        own = next(state.glob("results/sc/**/*.dcm"))
        assert send(node.port, [own]) == [0x0124]
        told = [get(f"http://{page}{place}").text for place in ("/", "/metrics", "/readyz", "/healthz")]
        told += [get(f"http://{page}/{number}/retry").text for number in (1, 4711)]
        table = tmp_path / "failures.csv"
        for words in (["status"], ["status", "--json"], ["export-failures", "-o", table], ["retry", "--all"]):
            done = call_lungfield("node", *words, "--state", state)
            assert done.returncode == 0, done.stderr
            told += [done.stdout, done.stderr]
        told.append(table.read_text(encoding="utf-8"))
        assert node.end() == 0
    finally:
        store.close()
        node.kill()
    with pytest.raises(NotThere):
        get(f"http://{page}/healthz")
    told += [node.output.read_text(), (tmp_path / "node.log").read_text()]
    told += [str(path.relative_to(tmp_path)) for path in (*state.rglob("*"), *messages.rglob("*"))]
    assert sum(map(len, told)) > 10_000
    for word in WORDS:
        for text in told:
            place = text.lower().find(word)
            assert place < 0, text[max(place - 200, 0) : place + 100]
    # That it would be found: the messages and the results are the patient's.
    assert any("zzyzx" in path.read_text().lower() for path in messages.rglob("*") if path.is_file())
    assert b"Quirinius" in own.read_bytes()
