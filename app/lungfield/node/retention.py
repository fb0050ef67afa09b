"""Deleting radiographs and results that are delivered or skipped: the old ones, and the oldest of too many.

What waits or is parked is never deleted, whatever its age and however full the disk is: then the node refuses
new radiographs instead. Files go before their row is marked, and that is kept much longer: by it the same
radiograph is known when it comes again, and a result that comes back is known as the node's own. A kill in
between leaves rows whose files are gone already, which the next time finishes.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Sequence
from pathlib import Path

from lungfield.errors import OutputError
from lungfield.node.records import Instance, Result
from lungfield.node.settings import Retention, Settings
from lungfield.node.store import Store

_DAY_S = 86400.0
_AT_ONCE = 500

logger = logging.getLogger(__name__)


def sweep(settings: Settings, store: Store, now: float | None = None) -> int:
    """Delete what the settings' retention says.

    Args:
        settings: the node's.
        store: its queue.
        now: in seconds since 1970; by default the time of the clock.

    Returns:
        of how many radiographs the files were deleted.

    Raises:
        DataError: the queue is damaged.
        OutputError: the queue cannot be written, or a file not be deleted; what follows it is then kept.
    """
    now = time.time() if now is None else now
    kept: Retention = settings.retention

    def delete(instance: Instance, results: Sequence[Result]) -> None:
        for path in (
            settings.state / instance.path,
            *(settings.results / result.path for result in results),
        ):
            _remove(path)

    deleted = 0
    while some := store.purge(now - kept.days * _DAY_S, kept.bytes, delete, _AT_ONCE):
        deleted += some
    forgotten = 0
    while some := store.forget(now - kept.forget_days * _DAY_S, _AT_ONCE):
        forgotten += some
    if deleted:
        logger.info("old radiographs and results were deleted", extra={"count": deleted})
    if forgotten:
        logger.info("rows of what was deleted long ago were deleted", extra={"count": forgotten})
    return deleted


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
        # A file that a power cut brings back would be nobody's: its row says that it is gone.
        _sync(path.parent)
    except OSError as error:
        raise OutputError(
            f"A file of the state folder in {path.parent} cannot be deleted: {error.strerror}; see that the "
            "folder belongs to the node's user."
        ) from error


def _sync(folder: Path) -> None:
    if not folder.is_dir():
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
