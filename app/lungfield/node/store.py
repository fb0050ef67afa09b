"""The queue of a node: each change of state is a durable transaction and is recorded with time and reason."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from lungfield.node.changes import (
    add_delivery,
    add_results,
    change_state,
    finish_instance,
    insert,
    one_row,
    restart_delivery,
    store_row,
    update_delivery,
)
from lungfield.node.reading import Reading, to_instance
from lungfield.node.records import (
    BY_HAND,
    CONFLICT,
    Instance,
    Receipt,
    Received,
    Result,
    Sending,
    State,
)
from lungfield.node.schema import VERSION

_NEVER_DELETED = "state IN ('received', 'segmented', 'parked')"


class Store(Reading):
    """The queue of a node's instances, in `STATE/node.sqlite3`. Thread-safe.

    A change is on disk when the method returns. Claims are in memory only, so those of a killed process are
    released.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._claimed: set[int] = set()
        self._claiming = threading.Lock()

    # What arrives, and is segmented

    def receive(self, received: Received) -> Receipt:
        """Add an object whose file is on disk, unless it is known or a result; return its classification."""

        def change(database: sqlite3.Connection) -> Receipt:
            uid, digest = received.sop_instance_uid, received.content_sha256
            if database.execute("SELECT 1 FROM result WHERE sop_instance_uid = ?", (uid,)).fetchone():
                return Receipt.OWN
            found = one_row(database, "SELECT * FROM instance WHERE sop_instance_uid = ?", uid)
            if found is None:
                insert(database, received, uid)
                return Receipt.NEW
            if found["content_sha256"] == digest:
                return Receipt.KNOWN
            if (
                one_row(database, "SELECT 1 FROM instance WHERE sop_instance_uid = ?", f"{uid}#{digest}")
                is None
            ):
                number = insert(database, received, f"{uid}#{digest}")
                reason = "a different object has a known SOP Instance UID; a retry segments it too"
                change_state(database, number, State.PARKED, CONFLICT, reason)
            return Receipt.CONFLICT

        return self._database.write(change)

    def claim(self, limit: int) -> list[Instance]:
        """Claim received instances that are not claimed yet, the oldest first, and return them."""
        with self._claiming:
            rows = self._database.read(
                "SELECT * FROM instance WHERE state = 'received' ORDER BY id LIMIT ?",
                (limit + len(self._claimed),),
            )
            found = [to_instance(row) for row in rows if row["id"] not in self._claimed][:limit]
            self._claimed.update(one.id for one in found)
            return found

    def release(self, number: int) -> None:
        """Release the claim of an instance, without a change of its state."""
        with self._claiming:
            self._claimed.discard(number)

    def segmented(
        self,
        number: int,
        row: Mapping[str, Any],
        results: Sequence[tuple[Result, int]],
        destinations: Iterable[str],
    ) -> None:
        """Store the results of a received instance, and add its deliveries.

        Args:
            number: its id.
            row: its row from the worker.
            results: the files on disk, each with its size in bytes.
            destinations: names of its destinations; without any, it counts as delivered.
        """

        def change(database: sqlite3.Connection) -> None:
            if store_row(database, number, row):
                add_results(database, number, results, destinations)

        self._database.write(change)
        self.release(number)

    def skipped(
        self,
        number: int,
        code: str,
        reason: str,
        row: Mapping[str, Any] | None = None,
        notice: Sequence[tuple[Result, int]] = (),
        destinations: Iterable[str] = (),
    ) -> None:
        """Mark a received instance as skipped, and add the deliveries of its notice, if any."""

        def change(database: sqlite3.Connection) -> None:
            if not store_row(database, number, row):
                return
            if notice:
                add_results(database, number, notice, destinations, code, reason)
            else:
                change_state(database, number, State.SKIPPED, code, reason)

        self._database.write(change)
        self.release(number)

    def parked(self, number: int, code: str, reason: str, row: Mapping[str, Any] | None = None) -> None:
        """Park a received instance that could not be segmented."""

        def change(database: sqlite3.Connection) -> None:
            if store_row(database, number, row):
                change_state(database, number, State.PARKED, code, reason)

        self._database.write(change)
        self.release(number)

    # What is delivered

    def sent(self, delivery_id: int, transaction_uid: str, until: float, warning: str = "") -> None:
        """Mark a waiting delivery as sent; `until` is the deadline of its commitment (seconds since 1970)."""

        def change(database: sqlite3.Connection) -> None:
            update_delivery(
                database,
                delivery_id,
                Sending.SENT,
                (Sending.WAITING,),
                warning,
                until,
                transaction_uid,
                tried=1,
            )

        self._database.write(change)

    def delivered(self, delivery_id: int, warning: str = "") -> None:
        """Mark a delivery as delivered; after the last one, the instance is delivered."""

        def change(database: sqlite3.Connection) -> None:
            before = (Sending.WAITING, Sending.SENT)
            found = update_delivery(database, delivery_id, Sending.DELIVERED, before, warning, tried=None)
            if found is not None:
                finish_instance(database, found["instance_id"])

        self._database.write(change)

    def failed(self, delivery_id: int, error: str, next_attempt_at: float) -> None:
        """Store a failed attempt; the delivery waits for the next one at `next_attempt_at`."""

        def change(database: sqlite3.Connection) -> None:
            before = (Sending.WAITING, Sending.SENT)
            update_delivery(
                database, delivery_id, Sending.WAITING, before, error, next_attempt_at, tried=None
            )

        self._database.write(change)

    def park_delivery(self, delivery_id: int, error: str, fallback: str | None = None) -> None:
        """Pass a failed delivery to the fallback, or park it.

        The instance is parked once none of its deliveries is waiting or sent.
        """

        def change(database: sqlite3.Connection) -> None:
            state = Sending.PARKED if fallback is None else Sending.REPLACED
            before = (Sending.WAITING, Sending.SENT)
            found = update_delivery(database, delivery_id, state, before, error, tried=None)
            if found is not None:
                if fallback is not None:
                    add_delivery(database, found["instance_id"], fallback)
                finish_instance(database, found["instance_id"])

        self._database.write(change)

    # What a person decides

    def retry(self, numbers: Iterable[int] | None = None) -> int:
        """Retry parked instances, all of them for None, and return their number."""

        def change(database: sqlite3.Connection) -> int:
            rows = database.execute("SELECT * FROM instance WHERE state = 'parked'").fetchall()
            wanted = None if numbers is None else set(numbers)
            chosen = [row["id"] for row in rows if wanted is None or row["id"] in wanted]
            for number in chosen:
                made = one_row(database, "SELECT 1 FROM delivery WHERE instance_id = ?", number)
                change_state(
                    database, number, State.RECEIVED if made is None else State.SEGMENTED, "", "retried"
                )
                parked = "SELECT * FROM delivery WHERE instance_id = ? AND state = 'parked'"
                for row in database.execute(parked, (number,)).fetchall():
                    restart_delivery(database, row)
                finish_instance(database, number)
            return len(chosen)

        return self._database.write(change)

    def park(self, number: int, reason: str = "parked by hand") -> bool:
        """Park an instance that is received or segmented; return False if it is neither."""

        def change(database: sqlite3.Connection) -> bool:
            row = one_row(database, "SELECT state FROM instance WHERE id = ?", number)
            if row is None or row["state"] not in (State.RECEIVED, State.SEGMENTED):
                return False
            change_state(database, number, State.PARKED, BY_HAND, reason)
            return True

        return self._database.write(change)

    # Housekeeping

    def remember(self, key: str) -> None:
        """Store the key of a watched file, a polled object, or an object in another compression."""
        self._database.write(
            lambda database: database.execute("INSERT OR IGNORE INTO known VALUES (?, ?)", (key, time.time()))
        )

    def purge(
        self,
        before: float,
        max_bytes: int,
        delete: Callable[[Instance, Sequence[Result]], None],
        limit: int = 500,
    ) -> int:
        """Delete the files of delivered and skipped instances by age, and the oldest by total size.

        The rows stay, so that the same object is still known.

        Args:
            before: instances that ended before this time (seconds since 1970) are deleted.
            max_bytes: limit of the total size of all files.
            delete: deletes the files of an instance, of which some may be missing.
            limit: largest number of instances to delete.

        Returns:
            The number of deleted instances.
        """
        excess = self.bytes_kept() - max_bytes
        deleted = 0
        for one in self._instances(
            f"WHERE purged = 0 AND NOT {_NEVER_DELETED} ORDER BY changed_at LIMIT ?", limit
        ):
            if one.changed_at >= before and excess <= 0:
                break
            size = self.bytes_of(one)
            # Files first: after a kill in between, the next call finds the row and marks it.
            delete(one, self.results(one.id))
            self._database.write(
                lambda database, number=one.id: database.execute(  # type: ignore[misc]
                    f"UPDATE instance SET purged = 1 WHERE id = ? AND NOT {_NEVER_DELETED}",  # noqa: S608
                    (number,),
                )
            )
            excess -= size
            deleted += 1
        return deleted

    def forget(self, before: float, limit: int = 500) -> int:
        """Delete rows whose files were deleted before a time (seconds since 1970); return their number."""

        def change(database: sqlite3.Connection) -> int:
            old = "SELECT id FROM instance WHERE purged = 1 AND changed_at < ? LIMIT ?"
            numbers = [(row["id"],) for row in database.execute(old, (before, limit)).fetchall()]
            for table in ("transition", "delivery", "result"):
                database.executemany(f"DELETE FROM {table} WHERE instance_id = ?", numbers)  # noqa: S608
            database.executemany("DELETE FROM instance WHERE id = ?", numbers)
            return len(numbers)

        return self._database.write(change)

    def check_writable(self) -> None:
        """Check that the file can be written, without a change.

        Raises:
            DataError: the file is damaged.
            OutputError: it cannot be written.
        """
        self._database.write(lambda database: database.execute(f"PRAGMA user_version = {VERSION}"))

    def bytes_of(self, instance: Instance) -> int:
        """The size in bytes of the files of an instance and its results."""
        ((size,),) = self._database.read(
            "SELECT coalesce(sum(size), 0) FROM result WHERE instance_id = ?", (instance.id,)
        )
        return int(size) + instance.size
