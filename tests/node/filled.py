"""A state folder with a radiograph in every state, of a patient who is found wherever identity leaks."""

from __future__ import annotations

import atexit
import hashlib
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import requests

from lungfield.export import save_secondary_capture
from lungfield.export.derived import Algorithm
from lungfield.mask import Regions
from lungfield.node.readiness import Check
from lungfield.node.records import Received, Result
from lungfield.node.settings import Destination, Settings
from lungfield.node.store import Store
from lungfield.node.web import Server
from lungfield.radiograph import read_radiograph
from phantoms import make_phantom, phantom_dataset, write_dicom

NAME, PATIENT_ID, ACCESSION = "Zzyzx^Quirinius", "QX-77310-SECRET", "ACC-90210-SECRET"
DESTINATIONS = (
    Destination("pacs", "dicom", ae_title="ORTHANC", host="127.0.0.1", port=4242, fallback="spare"),
    Destination("web", "dicomweb", url="http://127.0.0.1:1/dicom-web"),
    Destination("spare", "dicom", ae_title="SPARE", host="127.0.0.1", port=4243),
)
ERROR = "127.0.0.1:4242 refused the connection; is the archive up?"
FLAGS = ("one-lung", "low-confidence")


@dataclass
class Filled:
    """A store, its settings, and the number of the instance in each state.

    `retrying` is segmented and waits for `pacs` after failed tries; `committing` was accepted by it.
    """

    settings: Settings
    store: Store
    received: int = 0
    retrying: int = 0
    committing: int = 0
    delivered: int = 0
    skipped: int = 0
    damaged: int = 0
    undelivered: int = 0

    @property
    def uids(self) -> set[str]:
        """All identifiers of the radiographs."""
        return {uid for one in range(1, 8) for uid in self.uids_of(one)}

    def uids_of(self, number: int) -> tuple[str, ...]:
        one = self.store.instance(number)
        return one.sop_instance_uid, one.study_instance_uid, one.series_instance_uid

    def assert_nobody_in(self, text: str) -> None:
        """No name, number or identifier of the patient is in a text."""
        low = text.lower()
        for word in ("zzyzx", "quirinius", "qx-77310", "acc-90210", *self.uids):
            assert word not in low, word


def fill(state: Path) -> Filled:
    """Make the folder, with real files: phantoms, and captures of those that are segmented."""
    template, numbers = _template()
    shutil.copytree(template, state)
    settings = Settings(state=state, http="127.0.0.1:0", send_to=DESTINATIONS)
    return Filled(settings, Store(settings.database), *numbers)


@cache
def _template() -> tuple[Path, tuple[int, ...]]:
    """The folder that others are copied from, once a process; and the numbers of `Filled`."""
    state = Path(tempfile.mkdtemp(prefix="lungfield-filled-"))
    atexit.register(shutil.rmtree, state, ignore_errors=True)
    settings = Settings(state=state)
    filled = Filled(settings, Store(settings.database))
    for number in range(1, 8):
        receive(filled, number)
    store = filled.store
    one_by_one = [one.id for one in store.claim(7)]
    filled.retrying, filled.committing, filled.delivered, filled.undelivered = one_by_one[:4]
    filled.skipped, filled.damaged, filled.received = one_by_one[4:]
    for number in one_by_one[:4]:
        segment(filled, number)
    soon = time.time() + 600
    for number, deliver in (
        (filled.retrying, lambda one: store.failed(one.id, f"{ERROR} {filled.uids_of(1)[0]}", soon)),
        (filled.committing, lambda one: store.sent(one.id, "2.25.77777777", soon)),
        (filled.delivered, lambda one: store.delivered(one.id)),
        (filled.undelivered, lambda one: store.park_delivery(one.id, ERROR)),
    ):
        first, second = store.deliveries(number)
        deliver(first)
        store.delivered(second.id)
    store.skipped(filled.skipped, "other-view", "ViewPosition says LL")
    store.parked(filled.damaged, "damaged", "the file ends too early")
    store.close()
    return state, (
        *(filled.received, filled.retrying, filled.committing, filled.delivered),
        *(filled.skipped, filled.damaged, filled.undelivered),
    )


def receive(filled: Filled, number: int, *, size: int = 192) -> Path:
    """A phantom of the patient, received."""
    phantom = make_phantom(number, shape=(size, size))
    dataset = phantom_dataset(
        phantom.pixels,
        name=NAME,
        number=number,
        entropy=["filled", str(number)],
        PatientID=PATIENT_ID,
        AccessionNumber=ACCESSION,
        BurnedInAnnotation="NO",
    )
    stem = hashlib.sha256(dataset.SOPInstanceUID.encode()).hexdigest()
    place = Path("incoming") / stem[:2] / f"{stem}.dcm"
    path = filled.settings.state / place
    path.parent.mkdir(parents=True, exist_ok=True)
    write_dicom(path, dataset)
    filled.store.receive(
        Received(
            dataset.SOPInstanceUID,
            dataset.SOPClassUID,
            dataset.file_meta.TransferSyntaxUID,
            dataset.StudyInstanceUID,
            dataset.SeriesInstanceUID,
            hashlib.sha256(path.read_bytes()).hexdigest(),
            path.stat().st_size,
            place.as_posix(),
            "dicom",
            "MODALITY",
        )
    )
    return path


def segment(filled: Filled, number: int) -> Path:
    """A secondary capture of a received one, on its way to the first two destinations."""
    instance = filled.store.instance(number)
    radiograph = read_radiograph(filled.settings.state / instance.path)
    place = Path("sc") / f"{Path(instance.path).stem}.dcm"
    path = filled.settings.results / place
    phantom = make_phantom(number, shape=radiograph.shape)
    algorithm = Algorithm("lungfield phantom", "1.0")
    save_secondary_capture(
        radiograph,
        Regions(phantom.label_map),
        path,
        algorithm=algorithm,
        created=datetime(2026, 1, 1, tzinfo=UTC),
    )
    row = {"seconds": 1.5, "confidence": 0.97, "flags": FLAGS if number == 1 else ()}
    row |= {"right_lung_area_mm2": 14_200.0, "left_lung_area_mm2": 12_300.0}
    result = Result("sc", place.as_posix(), "1.2.840.10008.5.1.4.1.1.7", f"2.25.{number}", "2.25.1000")
    filled.store.segmented(number, row, [(result, path.stat().st_size)], ("pacs", "web"))
    return path


@contextmanager
def served(filled: Filled, checks: Mapping[str, Check] | None = None, **settings: Any) -> Iterator[str]:
    """The page of the folder on a free port; its address."""
    server = Server(replace(filled.settings, **settings), filled.store, checks or {})
    server.start()
    try:
        yield server.url
    finally:
        server.stop()


def get(url: str, **options: Any) -> requests.Response:
    """A GET that does not wait for ever."""
    return requests.get(url, timeout=20, **options)
