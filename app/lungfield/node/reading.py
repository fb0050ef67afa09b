"""Queries of a node's queue, for its threads, the page and the command line."""

from __future__ import annotations

import json
import sqlite3
import time
from dataclasses import fields
from pathlib import Path
from typing import Any

from lungfield.node.database import Database
from lungfield.node.records import (
    Delivery,
    Failure,
    Instance,
    OpenDeliveries,
    Result,
    Sending,
    State,
    Transition,
)


class Reading:
    """Queries of a queue; each sees the committed state at its time.

    Args:
        path: of the SQLite file, created if missing; its folder must exist.

    Raises, as every method does:
        DataError: the file is damaged, or of a later version.
        OutputError: the file cannot be read or written.
    """

    def __init__(self, path: Path) -> None:
        self._database = Database(path)

    def close(self) -> None:
        """Close the file; no thread may use it any more."""
        self._database.close()

    def instance(self, number: int) -> Instance | None:
        """The instance with an id, or None."""
        return next(iter(self._instances("WHERE id = ?", number)), None)

    def find(self, sop_instance_uid: str) -> Instance | None:
        """The instance with a SOP Instance UID, or None."""
        return next(iter(self._instances("WHERE sop_instance_uid = ?", sop_instance_uid)), None)

    def is_own(self, sop_instance_uid: str) -> bool:
        """Whether the object with a SOP Instance UID is a result of this node."""
        return bool(
            sop_instance_uid
            and self._database.read("SELECT 1 FROM result WHERE sop_instance_uid = ?", (sop_instance_uid,))
        )

    def results(self, instance_id: int) -> list[Result]:
        """The results of an instance."""
        rows = self._database.read(
            "SELECT format, path, sop_class_uid, sop_instance_uid, series_instance_uid FROM result "
            "WHERE instance_id = ? ORDER BY id",
            (instance_id,),
        )
        return [Result(**dict(row)) for row in rows]

    def deliveries(self, instance_id: int) -> list[Delivery]:
        """The deliveries of an instance."""
        return self._deliveries("WHERE instance_id = ? ORDER BY id", instance_id)

    def due(self, destination: str, now: float, limit: int = 1) -> list[Delivery]:
        """The deliveries to a destination that are due at a time (seconds since 1970), the earliest first."""
        return self._deliveries(
            "WHERE destination = ? AND state = 'waiting' AND next_attempt_at <= ? AND EXISTS "
            "(SELECT 1 FROM instance WHERE instance.id = instance_id AND instance.state = 'segmented') "
            "ORDER BY next_attempt_at, id LIMIT ?",
            *(destination, now, limit),
        )

    def expired(self, destination: str, since: float, limit: int = 100) -> list[Delivery]:
        """The waiting deliveries to a destination, due or not, from before a time (seconds since 1970)."""
        return self._deliveries(
            "WHERE destination = ? AND state = 'waiting' AND since < ? AND EXISTS "
            "(SELECT 1 FROM instance WHERE instance.id = instance_id AND instance.state = 'segmented') "
            "ORDER BY id LIMIT ?",
            *(destination, since, limit),
        )

    def overdue(self, destination: str, now: float, limit: int = 100) -> list[Delivery]:
        """The sent deliveries whose storage commitment did not arrive before the deadline given to `sent`."""
        return self._deliveries(
            "WHERE destination = ? AND state = 'sent' AND next_attempt_at <= ? "
            "ORDER BY next_attempt_at LIMIT ?",
            *(destination, now, limit),
        )

    def by_transaction(self, transaction_uid: str) -> list[Delivery]:
        """The sent deliveries whose storage commitment was requested with a Transaction UID."""
        if not transaction_uid:
            return []
        return self._deliveries("WHERE transaction_uid = ? AND state = 'sent'", transaction_uid)

    def counts(self) -> dict[State, int]:
        """The number of instances in each state."""
        rows = self._database.read("SELECT state, count(*) AS n FROM instance GROUP BY state")
        found = {row["state"]: row["n"] for row in rows}
        return {state: found.get(state.value, 0) for state in State}

    def delivery_counts(self) -> dict[str, dict[Sending, int]]:
        """The number of deliveries in each state, by destination."""
        found: dict[str, dict[Sending, int]] = {}
        for row in self._database.read(
            "SELECT destination, state, count(*) AS n FROM delivery GROUP BY destination, state"
        ):
            of_one = found.setdefault(row["destination"], dict.fromkeys(Sending, 0))
            of_one[Sending(row["state"])] = row["n"]
        return found

    def open_deliveries(self, destination: str) -> OpenDeliveries | None:
        """A summary of a destination's deliveries that are waiting or sent; None without any."""
        ((since, attempts, next_at),) = self._database.read(
            "SELECT min(since), max(attempts), "
            "min(CASE WHEN attempts > 0 AND state = 'waiting' THEN next_attempt_at END) "
            "FROM delivery WHERE destination = ? AND state IN ('waiting', 'sent')",
            (destination,),
        )
        if since is None:
            return None
        errors = self._database.read(
            "SELECT error FROM delivery WHERE destination = ? AND state = 'waiting' AND error != '' "
            "ORDER BY changed_at DESC LIMIT 1",
            (destination,),
        )
        return OpenDeliveries(destination, since, attempts, next_at, errors[0]["error"] if errors else "")

    def reason_counts(self) -> dict[tuple[State, str], int]:
        """The number of parked and skipped instances, by state and reason code."""
        rows = self._database.read(
            "SELECT state, reason_code, count(*) AS n FROM instance WHERE state IN ('parked', 'skipped') "
            "AND reason_code != '' GROUP BY state, reason_code"
        )
        return {(State(row["state"]), row["reason_code"]): row["n"] for row in rows}

    def oldest(self, state: State) -> float | None:
        """How long the oldest instance in a state has been in it, in seconds, or None."""
        ((since,),) = self._database.read(
            "SELECT min(changed_at) FROM instance WHERE state = ?", (state.value,)
        )
        return None if since is None else max(0.0, time.time() - since)

    def failures(self, limit: int = 1000) -> list[Failure]:
        """The parked instances with their parked deliveries, the latest first."""
        return [
            Failure(one, tuple(self._deliveries("WHERE instance_id = ? AND state = 'parked'", one.id)))
            for one in self._instances("WHERE state = 'parked' ORDER BY changed_at DESC LIMIT ?", limit)
        ]

    def last(self, limit: int = 50) -> list[Instance]:
        """The instances that changed last, the latest first."""
        return self._instances("ORDER BY changed_at DESC LIMIT ?", limit)

    def unfinished(self, limit: int = 50) -> list[Instance]:
        """The instances that are received or segmented, the oldest first."""
        return self._instances("WHERE state IN ('received', 'segmented') ORDER BY id LIMIT ?", limit)

    def ended(self, limit: int = 50) -> list[Instance]:
        """The instances that were segmented or skipped last and still have files, the latest first."""
        return self._instances(
            # '+' makes SQLite use the index of changes from its end, not that of states with a full sort.
            "WHERE purged = 0 AND +state IN ('segmented', 'delivered', 'skipped') "
            "ORDER BY changed_at DESC LIMIT ?",
            limit,
        )

    def last_transition(self) -> int:
        """The number of the last transition; 0 before the first."""
        ((number,),) = self._database.read("SELECT coalesce(max(id), 0) FROM transition")
        return int(number)

    def transitions(self, instance_id: int) -> list[Transition]:
        """All transitions of an instance and its deliveries, in order."""
        return self._transitions("WHERE instance_id = ? ORDER BY id", instance_id)

    def transitions_after(self, number: int, limit: int = 10_000) -> tuple[int, list[Transition]]:
        """The number of the last transition, and the transitions after `number` (0 for all)."""
        rows = self._database.read(
            "SELECT * FROM transition WHERE id > ? ORDER BY id LIMIT ?", (number, limit)
        )
        return (rows[-1]["id"] if rows else number), [_transition(row) for row in rows]

    def knows(self, key: str) -> bool:
        """Whether a key was stored with `Store.remember`."""
        return bool(self._database.read("SELECT 1 FROM known WHERE key = ?", (key,)))

    def bytes_kept(self) -> int:
        """The size in bytes of all stored radiographs and results."""
        ((total,),) = self._database.read(
            "SELECT (SELECT coalesce(sum(size), 0) FROM instance WHERE purged = 0) + "
            "(SELECT coalesce(sum(result.size), 0) FROM result JOIN instance ON instance.id = instance_id "
            "WHERE purged = 0)"
        )
        return int(total)

    def is_kept(self, path: str) -> bool:
        """Whether an instance's file is at a path (as in `Received.path`)."""
        return bool(self._database.read("SELECT 1 FROM instance WHERE path = ? AND purged = 0", (path,)))

    def _instances(self, condition: str, *values: Any) -> list[Instance]:
        rows = self._database.read(f"SELECT * FROM instance {condition}", values)  # noqa: S608
        return [to_instance(row) for row in rows]

    def _deliveries(self, condition: str, *values: Any) -> list[Delivery]:
        rows = self._database.read(f"SELECT * FROM delivery {condition}", values)  # noqa: S608
        return [to_delivery(row) for row in rows]

    def _transitions(self, condition: str, *values: Any) -> list[Transition]:
        rows = self._database.read(f"SELECT * FROM transition {condition}", values)  # noqa: S608
        return [_transition(row) for row in rows]


def to_instance(row: sqlite3.Row) -> Instance:
    """A row of the table `instance`."""
    values = dict(row)
    values |= {
        "state": State(row["state"]),
        "flags": tuple(json.loads(row["flags"])),
        "row": None if row["row"] is None else json.loads(row["row"]),
        "purged": bool(row["purged"]),
    }
    return Instance(**values)


def to_delivery(row: sqlite3.Row) -> Delivery:
    """A row of the table `delivery`."""
    return Delivery(**dict(row) | {"state": Sending(row["state"])})


def _transition(row: sqlite3.Row) -> Transition:
    return Transition(**{one.name: row[one.name] for one in fields(Transition)})
