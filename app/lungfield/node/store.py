"""The queue of a node: each change of state is a durable transaction, with a row that says when and why."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from lungfield.node.changes import (
    address,
    begin_anew,
    forward,
    insert,
    keep_row,
    move,
    one_row,
    send,
    settle,
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
    """All that a node knows of its instances, in `STATE/node.sqlite3`; for any number of threads.

    What a method has changed is on the disk when it returns. Claims are kept in memory: those of a process
    that was killed are nobody's.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._claimed: set[int] = set()
        self._claiming = threading.Lock()

    # What arrives, and is segmented

    def receive(self, received: Received) -> Receipt:
        """Take an object in whose file has reached the disk, or tell what it is instead."""

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
                reason = "another content came under a SOP Instance UID that is known; retry segments it, too"
                move(database, number, State.PARKED, CONFLICT, reason)
            return Receipt.CONFLICT

        return self._database.write(change)

    def claim(self, limit: int) -> list[Instance]:
        """Received instances, the oldest first, that this process has not in hand; it has them now."""
        with self._claiming:
            rows = self._database.read(
                "SELECT * FROM instance WHERE state = 'received' ORDER BY id LIMIT ?",
                (limit + len(self._claimed),),
            )
            found = [to_instance(row) for row in rows if row["id"] not in self._claimed][:limit]
            self._claimed.update(one.id for one in found)
            return found

    def release(self, number: int) -> None:
        """Give a claimed instance back, as it was."""
        with self._claiming:
            self._claimed.discard(number)

    def segmented(
        self,
        number: int,
        row: Mapping[str, Any],
        results: Sequence[tuple[Result, int]],
        destinations: Iterable[str],
    ) -> None:
        """A received instance was segmented.

        Args:
            number: its id.
            row: what the worker said of it.
            results: what was made, on the disk, each with its size in bytes.
            destinations: to which it goes; without any, it counts as delivered.
        """

        def change(database: sqlite3.Connection) -> None:
            if keep_row(database, number, row):
                send(database, number, results, destinations)

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
        """A received instance holds nothing to segment; a notice of that, if any, is delivered."""

        def change(database: sqlite3.Connection) -> None:
            if not keep_row(database, number, row):
                return
            if notice:
                send(database, number, notice, destinations, code, reason)
            else:
                move(database, number, State.SKIPPED, code, reason)

        self._database.write(change)
        self.release(number)

    def parked(self, number: int, code: str, reason: str, row: Mapping[str, Any] | None = None) -> None:
        """A received instance could not be segmented."""

        def change(database: sqlite3.Connection) -> None:
            if keep_row(database, number, row):
                move(database, number, State.PARKED, code, reason)

        self._database.write(change)
        self.release(number)

    # What is delivered

    def sent(self, delivery_id: int, transaction_uid: str, until: float, warning: str = "") -> None:
        """The destination has accepted a waiting delivery; until a time, its commitment is to come."""

        def change(database: sqlite3.Connection) -> None:
            forward(
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
        """The destination has a delivery for good; the last one makes the instance delivered."""

        def change(database: sqlite3.Connection) -> None:
            before = (Sending.WAITING, Sending.SENT)
            found = forward(database, delivery_id, Sending.DELIVERED, before, warning, tried=None)
            if found is not None:
                settle(database, found["instance_id"])

        self._database.write(change)

    def failed(self, delivery_id: int, error: str, next_attempt_at: float) -> None:
        """A delivery was refused or not answered, or its commitment; it waits until the next try."""

        def change(database: sqlite3.Connection) -> None:
            before = (Sending.WAITING, Sending.SENT)
            forward(database, delivery_id, Sending.WAITING, before, error, next_attempt_at, tried=None)

        self._database.write(change)

    def park_delivery(self, delivery_id: int, error: str, fallback: str | None = None) -> None:
        """No try is left for a delivery: it goes to another destination, or the instance is parked.

        The instance is parked once none of its deliveries is on its way.
        """

        def change(database: sqlite3.Connection) -> None:
            state = Sending.PARKED if fallback is None else Sending.REPLACED
            before = (Sending.WAITING, Sending.SENT)
            found = forward(database, delivery_id, state, before, error, tried=None)
            if found is not None:
                if fallback is not None:
                    address(database, found["instance_id"], fallback)
                settle(database, found["instance_id"])

        self._database.write(change)

    # What a person decides

    def retry(self, numbers: Iterable[int] | None = None) -> int:
        """Let parked instances go on, all of them for None; how many there were."""

        def change(database: sqlite3.Connection) -> int:
            rows = database.execute("SELECT * FROM instance WHERE state = 'parked'").fetchall()
            wanted = None if numbers is None else set(numbers)
            chosen = [row["id"] for row in rows if wanted is None or row["id"] in wanted]
            for number in chosen:
                made = one_row(database, "SELECT 1 FROM delivery WHERE instance_id = ?", number)
                move(database, number, State.RECEIVED if made is None else State.SEGMENTED, "", "retried")
                parked = "SELECT * FROM delivery WHERE instance_id = ? AND state = 'parked'"
                for row in database.execute(parked, (number,)).fetchall():
                    begin_anew(database, row)
                settle(database, number)
            return len(chosen)

        return self._database.write(change)

    def park(self, number: int, reason: str = "parked by hand") -> bool:
        """Stop all work on an instance that is received or segmented; False where it is neither."""

        def change(database: sqlite3.Connection) -> bool:
            row = one_row(database, "SELECT state FROM instance WHERE id = ?", number)
            if row is None or row["state"] not in (State.RECEIVED, State.SEGMENTED):
                return False
            move(database, number, State.PARKED, BY_HAND, reason)
            return True

        return self._database.write(change)

    # Keeping house

    def remember(self, key: str) -> None:
        """Note the key of something that was watched, polled, or came in another compression."""
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
        """Delete the files of what is delivered or skipped: the old ones, and the oldest of too many.

        The rows stay, so that the same object is still known.

        Args:
            before: what came to its end before this time (seconds since 1970) is deleted.
            max_bytes: how much all files may take.
            delete: called for each; it deletes the files, and may find them gone.
            limit: how many are deleted at most.

        Returns:
            how many were deleted.
        """
        excess = self.bytes_kept() - max_bytes
        deleted = 0
        for one in self._instances(
            f"WHERE purged = 0 AND NOT {_NEVER_DELETED} ORDER BY changed_at LIMIT ?", limit
        ):
            if one.changed_at >= before and excess <= 0:
                break
            size = self.bytes_of(one)
            # Files first: a kill in between leaves a row without files, which the next call finds.
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
        """Delete the rows of what has no files since a time (seconds since 1970); how many there were."""

        def change(database: sqlite3.Connection) -> int:
            old = "SELECT id FROM instance WHERE purged = 1 AND changed_at < ? LIMIT ?"
            numbers = [(row["id"],) for row in database.execute(old, (before, limit)).fetchall()]
            for table in ("transition", "delivery", "result"):
                database.executemany(f"DELETE FROM {table} WHERE instance_id = ?", numbers)  # noqa: S608
            database.executemany("DELETE FROM instance WHERE id = ?", numbers)
            return len(numbers)

        return self._database.write(change)

    def check_writable(self) -> None:
        """Write to the file, and change nothing.

        Raises:
            DataError: the file is damaged.
            OutputError: it cannot be written.
        """
        self._database.write(lambda database: database.execute(f"PRAGMA user_version = {VERSION}"))

    def bytes_of(self, instance: Instance) -> int:
        """What an instance and its results take on the disk."""
        ((size,),) = self._database.read(
            "SELECT coalesce(sum(size), 0) FROM result WHERE instance_id = ?", (instance.id,)
        )
        return int(size) + instance.size
