"""Check the outcome: every object sent is in the archive once, or parked with a reason."""

from __future__ import annotations

import sqlite3
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests


@dataclass(frozen=True)
class Outcome:
    """The outcome of the radiographs that were answered with success.

    Attributes:
        states: number of radiographs by state.
        lost: SOPInstanceUIDs without a row, or without all results in the archive.
        twice: SOPInstanceUIDs with more results in the archive than were made.
        unreasoned: SOPInstanceUIDs that are parked without a reason.
    """

    states: Mapping[str, int]
    lost: tuple[str, ...]
    twice: tuple[str, ...]
    unreasoned: tuple[str, ...]

    @property
    def is_good(self) -> bool:
        """Whether nothing is lost or duplicated."""
        return not (self.lost or self.twice or self.unreasoned)


def rows(state: Path) -> dict[str, dict[str, Any]]:
    """The instances of a state folder by SOPInstanceUID, as the database has them."""
    database = sqlite3.connect(f"file:{state / 'node.sqlite3'}?mode=ro", uri=True, timeout=30)
    database.row_factory = sqlite3.Row
    try:
        found = database.execute(
            "SELECT id, sop_instance_uid, study_instance_uid, state, reason FROM instance"
        ).fetchall()
        made = database.execute("SELECT instance_id, sop_instance_uid FROM result").fetchall()
    finally:
        database.close()
    results: dict[int, list[str]] = {}
    for row in made:
        results.setdefault(row["instance_id"], []).append(row["sop_instance_uid"])
    return {row["sop_instance_uid"]: dict(row) | {"results": results.get(row["id"], [])} for row in found}


def wait_until_ended(state: Path, limit_s: float) -> bool:
    """Wait until no instance is received or segmented; return False after `limit_s` seconds."""
    end = time.monotonic() + limit_s
    while time.monotonic() < end:
        if not {"received", "segmented"} & {row["state"] for row in rows(state).values()}:
            return True
        time.sleep(0.5)
    return False


def check(state: Path, answered: Iterable[str], archive_url: str) -> Outcome:
    """Compare the radiographs that were answered with success with the queue and the archive.

    Args:
        state: the node's state folder.
        answered: SOPInstanceUIDs of it.
        archive_url: of Orthanc's REST interface.
    """
    kept = _at_archive(archive_url)
    known = rows(state)
    lost, twice, unreasoned = [], [], []
    answered = list(answered)
    for uid in answered:
        row = known.get(uid)
        if row is None:
            lost.append(uid)
        elif row["state"] in ("parked", "skipped"):
            unreasoned += [] if row["reason"] else [uid]
        else:
            found = kept.get(row["study_instance_uid"], [])
            if not row["results"] or set(row["results"]) - set(found):
                lost.append(uid)
            if len(found) != len(row["results"]):
                twice.append(uid)
    states = Counter(known[uid]["state"] for uid in answered if uid in known)
    return Outcome(dict(states), tuple(lost), tuple(twice), tuple(unreasoned))


def _at_archive(url: str) -> dict[str, list[str]]:
    """The SOPInstanceUIDs of all objects of the archive by StudyInstanceUID."""
    studies, series, instances = (
        {one["ID"]: one for one in _asked(f"{url}/{level}?expand")}
        for level in ("studies", "series", "instances")
    )
    found: dict[str, list[str]] = {}
    for one in instances.values():
        study = studies[series[one["ParentSeries"]]["ParentStudy"]]
        uid = study["MainDicomTags"]["StudyInstanceUID"]
        found.setdefault(uid, []).append(one["MainDicomTags"]["SOPInstanceUID"])
    return found


def _asked(address: str) -> Any:
    answer = requests.get(address, timeout=120)
    answer.raise_for_status()
    return answer.json()
