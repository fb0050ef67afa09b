"""The steps that changes of the queue are made of; each within the transaction of its caller."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from lungfield.node.records import NOT_DELIVERED, Received, Result, Sending, State


def one_row(database: sqlite3.Connection, question: str, *values: Any) -> sqlite3.Row | None:
    """The first row that answers a question."""
    row: sqlite3.Row | None = database.execute(question, values).fetchone()
    return row


def insert(database: sqlite3.Connection, received: Received, uid: str) -> int:
    """A new instance under a SOP Instance UID (or what stands for one); its id."""
    now = time.time()
    values = {
        **vars(received),
        "sop_instance_uid": uid,
        "state": State.RECEIVED,
        "received_at": now,
        "changed_at": now,
    }
    marks = ", ".join("?" * len(values))
    cursor = database.execute(
        f"INSERT INTO instance ({', '.join(values)}) VALUES ({marks})",  # noqa: S608  (names of a dataclass)
        tuple(values.values()),
    )
    number = int(cursor.lastrowid or 0)
    _note(database, number, None, "", State.RECEIVED, "", now)
    return number


def keep_row(database: sqlite3.Connection, number: int, row: Mapping[str, Any] | None) -> bool:
    """Keep what the worker said; False where the instance is no longer waiting for that."""
    flags = json.dumps(list((row or {}).get("flags") or ()))
    kept = None if row is None else json.dumps(dict(row))
    done = database.execute(
        "UPDATE instance SET attempts = attempts + 1, flags = ?, row = ? WHERE id = ? AND state = 'received'",
        (flags, kept, number),
    )
    return done.rowcount == 1


def move(database: sqlite3.Connection, number: int, state: State, code: str = "", reason: str = "") -> None:
    """Give an instance another state, and note it; the reason stays with it where it has a code."""
    now = time.time()
    row = one_row(database, "SELECT state FROM instance WHERE id = ?", number)
    database.execute(
        "UPDATE instance SET state = ?, reason_code = ?, reason = ?, changed_at = ? WHERE id = ?",
        (state, code, reason if code else "", now, number),
    )
    _note(database, number, None, "" if row is None else row["state"], state, reason, now)


def forward(
    database: sqlite3.Connection,
    delivery_id: int,
    state: Sending,
    before: Sequence[Sending],
    error: str,
    next_attempt_at: float = 0.0,
    transaction_uid: str = "",
    *,
    tried: int | None,
) -> sqlite3.Row | None:
    """Move a delivery on that is in one of the states `before`; None where it no longer is.

    `tried` is how many tries are added: None for one where it was waiting, as a commitment that failed is
    part of the try that was counted.
    """
    row = one_row(database, "SELECT * FROM delivery WHERE id = ?", delivery_id)
    if row is None or row["state"] not in before:
        return None
    now = time.time()
    added = tried if tried is not None else int(row["state"] == Sending.WAITING)
    database.execute(
        "UPDATE delivery SET state = ?, error = ?, next_attempt_at = ?, transaction_uid = ?, "
        "attempts = attempts + ?, changed_at = ? WHERE id = ?",
        (state, error, next_attempt_at, transaction_uid, added, now, delivery_id),
    )
    _note(database, row["instance_id"], row["destination"], row["state"], state, error, now)
    return row


def address(database: sqlite3.Connection, number: int, destination: str) -> None:
    """Let an instance wait for a destination, unless it does or did."""
    now = time.time()
    added = database.execute(
        "INSERT OR IGNORE INTO delivery (instance_id, destination, state, since, next_attempt_at, "
        "changed_at) VALUES (?, ?, 'waiting', ?, ?, ?)",
        (number, destination, now, now, now),
    )
    if added.rowcount:
        _note(database, number, destination, "", Sending.WAITING, "", now)


def begin_anew(database: sqlite3.Connection, delivery: sqlite3.Row) -> None:
    """Let a parked delivery begin anew."""
    now = time.time()
    forward(database, delivery["id"], Sending.WAITING, (Sending.PARKED,), "", now, tried=0)
    database.execute("UPDATE delivery SET since = ?, attempts = 0 WHERE id = ?", (now, delivery["id"]))


def send(
    database: sqlite3.Connection,
    number: int,
    results: Sequence[tuple[Result, int]],
    destinations: Iterable[str],
    code: str = "",
    reason: str = "",
) -> None:
    """Let what was made of an instance, each with its size in bytes, wait for its destinations."""
    database.executemany(
        "INSERT OR REPLACE INTO result (instance_id, format, path, sop_class_uid, sop_instance_uid, "
        "series_instance_uid, size) VALUES (?, ?, ?, ?, ?, ?, ?)",
        [
            (
                *(number, one.format, one.path, one.sop_class_uid, one.sop_instance_uid),
                *(one.series_instance_uid, size),
            )
            for one, size in results
        ],
    )
    move(database, number, State.SEGMENTED, code, reason)
    for name in destinations:
        address(database, number, name)
    settle(database, number)


def settle(database: sqlite3.Connection, number: int) -> None:
    """Bring a segmented instance to its end, once none of its deliveries is on its way."""
    instance = one_row(database, "SELECT state, row FROM instance WHERE id = ?", number)
    rows = database.execute("SELECT state FROM delivery WHERE instance_id = ?", (number,)).fetchall()
    states = {row["state"] for row in rows}
    if instance is None or instance["state"] != State.SEGMENTED or states & {Sending.WAITING, Sending.SENT}:
        return
    if Sending.PARKED in states:
        move(
            database, number, State.PARKED, NOT_DELIVERED, "no try to deliver it is left; see its deliveries"
        )
        return
    said = json.loads(instance["row"] or "{}")
    if said.get("status") == State.SKIPPED:  # what was delivered is a notice of that
        move(database, number, State.SKIPPED, said["reason_code"], said["reason"])
    else:
        move(database, number, State.DELIVERED)


def _note(
    database: sqlite3.Connection,
    number: int,
    destination: str | None,
    before: str,
    after: str,
    reason: str,
    at: float,
) -> None:
    database.execute(
        "INSERT INTO transition (instance_id, destination, from_state, to_state, reason, at) "
        "VALUES (?, ?, ?, ?, ?, ?)",
        (number, destination, before, after, reason, at),
    )
