"""The progress bar of commands on a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)

Item = TypeVar("Item")


class Bar:
    """A title and a progress bar on standard error, removed at the end; nothing if that is no terminal.

    Start it before large imports, which take seconds on a slow disk.

    Args:
        title: the first title.
        console: for standard error.
    """

    def __init__(self, title: str, console: Console | None = None) -> None:
        console = console or Console(stderr=True)
        self._bar = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            _Count(),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
            transient=True,
        )
        self._task = self._bar.add_task(title, total=None)

    def __enter__(self) -> Bar:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def show(self, title: str, done: int | None = None, of: int | None = None) -> None:
        """Show the current step, and its progress."""
        self._bar.update(self._task, description=title, completed=done, total=of)

    def track(self, items: Iterable[Item]) -> Iterator[Item]:
        """Iterate over items, and show the progress."""
        listed = list(items)
        self._bar.update(self._task, completed=0, total=len(listed))
        for item in listed:
            yield item
            self._bar.advance(self._task)


class _Count(TaskProgressColumn):
    """'3/40' if the total is known."""

    def __init__(self) -> None:
        super().__init__()
        self._count = MofNCompleteColumn()

    def render(self, task: Any) -> Any:
        """Return the text of a task."""
        return self._count.render(task) if task.total else ""
