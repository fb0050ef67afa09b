"""What a command shows on a terminal while it works."""

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
    """A word and a bar on standard error, gone when the work ends; nothing where that is no terminal.

    Begin it before anything large is imported: that alone takes seconds on a slow disk.

    Args:
        title: the word to begin with.
        console: of standard error.
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
        """Say what is done now, and how much of it."""
        self._bar.update(self._task, description=title, completed=done, total=of)

    def track(self, items: Iterable[Item]) -> Iterator[Item]:
        """Go through items, and show how many are done."""
        listed = list(items)
        self._bar.update(self._task, completed=0, total=len(listed))
        for item in listed:
            yield item
            self._bar.advance(self._task)


class _Count(TaskProgressColumn):
    """'3/40' once there is something to count."""

    def __init__(self) -> None:
        super().__init__()
        self._count = MofNCompleteColumn()

    def render(self, task: Any) -> Any:
        """Return the text of a task."""
        return self._count.render(task) if task.total else ""
