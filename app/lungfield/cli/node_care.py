"""`lungfield node status`, `retry` and `export-failures`, for a running or stopped node."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from lungfield.node.records import Failure
    from lungfield.node.status import Parked, Status
    from lungfield.node.store import Store

State = Annotated[
    Path, typer.Option("--state", help="State folder of the node.", exists=True, file_okay=False)
]

#: Exit code if one of the given numbers is not parked.
NOT_ALL = 1

_COLUMNS = ("instance", "code", "reason", "what_to_do", "destinations", "attempts", "parked_since")
_UIDS = ("study_instance_uid", "series_instance_uid", "sop_instance_uid")


def status(
    state: State,
    as_json: Annotated[bool, typer.Option("--json", help="Print one line of JSON.")] = False,
) -> None:
    """Show the queue of a node, the radiographs that are stuck and why, and what to do about it.

    Works with and without a running node. Radiographs are named by their number; no patient is identified.
    """
    from lungfield.node.status import status_of

    with _opened(state) as store:
        report = status_of(store, state)
    if as_json:
        print(json.dumps(report.to_json()))
    else:
        _show(report)


def retry(
    state: State,
    numbers: Annotated[list[int] | None, typer.Argument(help="Numbers of parked radiographs.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="All parked radiographs.")] = False,
) -> None:
    """Retry parked radiographs, by number or all.

    A running node continues with them at once. The exit status is 1 if one of the numbers is not parked.
    """
    if bool(numbers) == everything:
        raise typer.BadParameter("Give the numbers of parked radiographs, or --all.")
    from lungfield.node.formatting import number
    from lungfield.node.records import State as Is

    with _opened(state) as store:
        found = {one: store.instance(one) for one in numbers or ()}
        others = {
            one: instance for one, instance in found.items() if not instance or instance.state != Is.PARKED
        }
        count = store.retry(None if everything else numbers)
    print(f"{number(count, 'radiograph goes', 'radiographs go')} on.")
    for one, instance in others.items():
        why = "no such number" if instance is None else f"it is {instance.state}, not parked"
        print(f"lungfield: {one}: {why}.", file=sys.stderr)
    if others:
        raise typer.Exit(NOT_ALL)


def export_failures(
    state: State,
    output: Annotated[Path, typer.Option("-o", "--output", dir_okay=False, help="CSV file to write.")],
    with_uids: Annotated[
        bool,
        typer.Option(
            "--with-uids",
            help="Add the UIDs of study, series and object, to find them in the archive. They identify the "
            "patient to everyone with access to the archive.",
        ),
    ] = False,
) -> None:
    """Write a table of all parked radiographs, with reasons and advice."""
    import time
    from datetime import UTC, datetime

    from lungfield.export.tables import write_results_csv
    from lungfield.node.formatting import number
    from lungfield.node.status import parked_instance

    now = time.time()

    def row(failure: Failure) -> dict[str, Any]:
        parked: Parked = parked_instance(failure, now)
        since = datetime.fromtimestamp(failure.instance.changed_at, UTC)
        values = vars(parked) | {
            "what_to_do": parked.advice,
            "destinations": [f"{name}: {error}" for name, error in parked.destinations.items()],
            "parked_since": since.isoformat(timespec="seconds"),
        }
        # The part after '#' distinguishes objects with the same UID (see `Store.receive`).
        uids = {name: getattr(failure.instance, name).partition("#")[0] for name in _UIDS}
        return values | (uids if with_uids else {})

    with _opened(state) as store:
        rows = [row(one) for one in store.failures(-1)]
    write_results_csv(rows, output, columns=(*_COLUMNS, *(_UIDS if with_uids else ())))
    if with_uids:
        output.chmod(0o600)
    print(f"{output}: {number(len(rows), 'parked radiograph')}.")


@contextmanager
def _opened(state: Path) -> Iterator[Store]:
    """A context with the queue of a state folder.

    Raises:
        DataError: no node has used the folder.
    """
    from lungfield.errors import DataError
    from lungfield.node.settings import Settings
    from lungfield.node.store import Store

    path = Settings(state=state).database
    if not path.is_file():
        raise DataError(f"{state}: no node has used this state folder; give the folder in its settings.")
    store = Store(path)
    try:
        yield store
    finally:
        store.close()


def _show(report: Status) -> None:
    from lungfield.node.formatting import duration, number, size

    console = Console(soft_wrap=True, highlight=False, markup=False)
    for notice in report.notices:
        console.print(f"! {notice.text}\n  {notice.advice}")
    if report.notices:
        console.print()
    for one in report.queue:
        age = "" if one.oldest_s is None else f", oldest {duration(one.oldest_s)}"
        console.print(f"{one.state:<10}{one.count:>9,}{age}")
    console.print(f"{'disk free':<10}{size(report.disk_free_bytes):>9}")
    if report.deliveries:
        table = Table("destination", box=None, padding=(0, 3, 0, 0))
        for name in ("waiting", "accepted", "delivered", "parked", "given over"):
            table.add_column(name, justify="right")
        for each in report.deliveries:
            table.add_row(each.destination, *(f"{count:,}" for count in each.counts.values()))
        console.print()
        console.print(table)
    if report.parked:
        console.print()
    for parked in report.parked:
        where = "".join(f"; {name}: {error}" for name, error in parked.destinations.items())
        tries = number(parked.attempts, "try", "tries")
        since = duration(parked.parked_s)
        console.print(
            f"{parked.instance}: parked {since} ago, {tries}, {parked.code}: {parked.reason}{where}"
        )
        console.print(f"  {parked.advice}")
    more = report.count("parked") - len(report.parked)
    if more > 0:
        console.print(f"and {more:,} more: lungfield node export-failures")
