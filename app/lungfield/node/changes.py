"""Updates of the queue's tables; the caller holds the transaction."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from lungfield.node.records import NOT_DELIVERED, Received, Result, Sending, State


def one_row(database: sqlite3.Connection, question: str, *values: Any) -> sqlite3.Row | None:
    """The first row of a query, or None."""
    row: sqlite3.Row | None = database.execute(question, values).fetchone()
    return row


def insert(database: sqlite3.Connection, received: Received, uid: str) -> int:
    """Insert an instance with a SOP Instance UID (or a replacement for it), and return its id."""
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


def store_row(database: sqlite3.Connection, number: int, row: Mapping[str, Any] | None) -> bool:
    """Store a worker's row and count the attempt; return False if the instance is no longer 'received'."""
    flags = json.dumps(list((row or {}).get("flags") or ()))
    kept = None if row is None else json.dumps(dict(row))
    done = database.execute(
        "UPDATE instance SET attempts = attempts + 1, flags = ?, row = ? WHERE id = ? AND state = 'received'",
        (flags, kept, number),
    )
    return done.rowcount == 1


def change_state(
    database: sqlite3.Connection, number: int, state: State, code: str = "", reason: str = ""
) -> None:
    """Set the state of an instance and add a transition; the reason is stored only with a code."""
    now = time.time()
    row = one_row(database, "SELECT state FROM instance WHERE id = ?", number)
    database.execute(
        "UPDATE instance SET state = ?, reason_code = ?, reason = ?, changed_at = ? WHERE id = ?",
        (state, code, reason if code else "", now, number),
    )
    _note(database, number, None, "" if row is None else row["state"], state, reason, now)


def update_delivery(
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
    """Set the state of a delivery if it is in one of the states `before`; return its old row, or None.

    `tried` is the number of attempts to add. None adds one if the delivery was waiting; a failed commitment
    belongs to an attempt that is counted already.
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


def add_delivery(database: sqlite3.Connection, number: int, destination: str) -> None:
    """Add a waiting delivery to a destination, unless the instance has one."""
    now = time.time()
    added = database.execute(
        "INSERT OR IGNORE INTO delivery (instance_id, destination, state, since, next_attempt_at, "
        "changed_at) VALUES (?, ?, 'waiting', ?, ?, ?)",
        (number, destination, now, now, now),
    )
    if added.rowcount:
        _note(database, number, destination, "", Sending.WAITING, "", now)


def restart_delivery(database: sqlite3.Connection, delivery: sqlite3.Row) -> None:
    """Reset a parked delivery to waiting, without attempts."""
    now = time.time()
    update_delivery(database, delivery["id"], Sending.WAITING, (Sending.PARKED,), "", now, tried=0)
    database.execute("UPDATE delivery SET since = ?, attempts = 0 WHERE id = ?", (now, delivery["id"]))


def add_results(
    database: sqlite3.Connection,
    number: int,
    results: Sequence[tuple[Result, int]],
    destinations: Iterable[str],
    code: str = "",
    reason: str = "",
) -> None:
    """Add an instance's results, each with its size in bytes, and a delivery to each destination."""
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
    change_state(database, number, State.SEGMENTED, code, reason)
    for name in destinations:
        add_delivery(database, number, name)
    finish_instance(database, number)


def finish_instance(database: sqlite3.Connection, number: int) -> None:
    """Set the final state of a segmented instance if none of its deliveries is waiting or sent."""
    instance = one_row(database, "SELECT state, row FROM instance WHERE id = ?", number)
    rows = database.execute("SELECT state FROM delivery WHERE instance_id = ?", (number,)).fetchall()
    states = {row["state"] for row in rows}
    if instance is None or instance["state"] != State.SEGMENTED or states & {Sending.WAITING, Sending.SENT}:
        return
    if Sending.PARKED in states:
        reason = "all attempts to deliver it have failed; see its deliveries"
        change_state(database, number, State.PARKED, NOT_DELIVERED, reason)
        return
    said = json.loads(instance["row"] or "{}")
    if said.get("status") == State.SKIPPED:  # the notice of a skipped image was delivered
        change_state(database, number, State.SKIPPED, said["reason_code"], said["reason"])
    else:
        change_state(database, number, State.DELIVERED)


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
