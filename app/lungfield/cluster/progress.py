"""The progress of a run: rate, failures with their reasons, and remaining time."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable
from datetime import timedelta

from lungfield.cluster.shards import ShardEnd

logger = logging.getLogger(__name__)

_LEAST_INTERVAL_S = 10.0


class Progress:
    """Counts the shards that have ended, and reports the progress.

    Attributes:
        files: number of files for this process and its actors.
        ended: number of files that have ended, including those of an earlier part of the run.
        reasons: number of files that were skipped or failed, by '<status> <reason>'.

    Args:
        files: as above.
        ended: number of files that had ended before.
        show: called with this object after each shard.
    """

    def __init__(self, files: int, ended: int, show: Callable[[Progress], None]) -> None:
        self.files, self.ended = files, ended
        self.reasons: Counter[str] = Counter()
        self._show = show
        self._fresh = 0
        self._start = self._logged = time.monotonic()
        show(self)

    def add(self, end: ShardEnd) -> None:
        """Count a shard."""
        self.ended += end.files
        self._fresh += end.files - end.resumed
        self.reasons.update(end.reasons)
        logger.info(
            "shard %d: %d files",
            end.shard,
            end.files,
            extra={
                "shard": end.shard,
                "files": end.files,
                "resumed": end.resumed,
                "reasons": end.reasons,
                "seconds": round(end.seconds, 2),
            },
        )
        self._show(self)
        if time.monotonic() - self._logged > _LEAST_INTERVAL_S or self.ended >= self.files:
            self._logged = time.monotonic()
            logger.info("%s", self.line())

    @property
    def rate(self) -> float:
        """Files per second since the start; 0 before the first has ended."""
        return self._fresh / max(time.monotonic() - self._start, 1e-9)

    @property
    def failed(self) -> int:
        """The number of failed files."""
        return sum(count for reason, count in self.reasons.items() if reason.startswith("failed"))

    def remaining(self) -> timedelta | None:
        """The remaining time at the current rate; None without a rate."""
        if not self._fresh:
            return None
        return timedelta(seconds=round((self.files - self.ended) / self.rate))

    def line(self) -> str:
        """The progress as one line of text."""
        reasons = ", ".join(f"{count} {reason}" for reason, count in self.reasons.most_common())
        left = self.remaining()
        return (
            f"{self.ended:,} of {self.files:,} files, {self.rate:.1f}/s"
            + (f", {left} left" if left is not None and self.ended < self.files else "")
            + (f" ({reasons})" if reasons else "")
        )
