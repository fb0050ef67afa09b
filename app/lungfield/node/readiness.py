"""Whether a node is ready to receive radiographs: the checks of `/readyz`, of metrics and of the page."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping

from lungfield.errors import LungfieldError, first_line
from lungfield.node.formatting import size
from lungfield.node.settings import Settings
from lungfield.node.store import Store

Check = Callable[[], str]
"""Returns why a part of the node is not ready, or ''."""


def all_checks(settings: Settings, store: Store, checks: Mapping[str, Check]) -> dict[str, Check]:
    """The checks of a node's parts, with two for all of them: 'store' and 'disk'.

    Args:
        settings: the node's.
        store: its queue.
        checks: of the parts, by name, such as 'receiving' and 'workers'.
    """

    def writable() -> str:
        try:
            store.check_writable()
        except LungfieldError as error:
            return first_line(error)
        return ""

    def space() -> str:
        try:
            free = shutil.disk_usage(settings.state).free
        except OSError as error:
            return f"the state folder cannot be reached: {error.strerror}"
        least = settings.limits.disk_free_bytes
        return "" if free >= least else f"{size(free)} free, less than {size(least)}"

    return {"store": writable, "disk": space, **checks}


def readiness(checks: Mapping[str, Check]) -> dict[str, str]:
    """The result of each check; a check that raises an error does not pass."""
    return {name: _said(check) for name, check in checks.items()}


def _said(check: Check) -> str:
    try:
        return check()
    except Exception as error:
        return f"unexpected {type(error).__name__}"
