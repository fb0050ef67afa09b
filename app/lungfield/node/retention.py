"""Delete the files of delivered and skipped radiographs by age, and the oldest by total size.

Waiting and parked radiographs are never deleted: if the disk is full, the node refuses new ones instead. The
rows are kept much longer than the files, to recognise a radiograph or a result that arrives again. Files are
deleted before their row is marked; after a kill in between, the next call finishes the work.
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
    """Apply the retention settings.

    Args:
        settings: the node's.
        store: its queue.
        now: in seconds since 1970; by default the time of the clock.

    Returns:
        The number of radiographs whose files were deleted.

    Raises:
        DataError: the queue is damaged.
        OutputError: the queue cannot be written, or a file cannot be deleted; later ones are then kept.
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
        logger.info("old rows of deleted radiographs were deleted", extra={"count": forgotten})
    return deleted


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
        # Sync, as after a power failure the file could reappear without a row that deletes it.
        _sync(path.parent)
    except OSError as error:
        raise OutputError(
            f"A file of the state folder in {path.parent} cannot be deleted: {error.strerror}; check that "
            "the folder belongs to the node's user."
        ) from error


def _sync(folder: Path) -> None:
    if not folder.is_dir():
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
