"""The engine for one machine: it segments shards in its own worker processes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from lungfield.cluster.results import write_part
from lungfield.cluster.shards import ShardEnd, Shards, Todo, Work, local_pool
from lungfield.cluster.tally import Tally

_WRITERS = 4


class LocalEngine:
    """Segments shards on the cores of this machine.

    Args:
        work: the settings of all shards.
        workers: number of worker processes.
        device: a `torch.device`; on a GPU, the network runs in this process.
    """

    def __init__(self, work: Work, workers: int, device: Any) -> None:
        self._work, self._workers, self._device = work, workers, device

    def segment(self, todo: Sequence[Todo], ended: Callable[[ShardEnd], None]) -> None:
        """Segment shards; `ended` is called for each.

        Raises:
            LungfieldError: as `Shards.run`.
        """
        with Shards(self._work, local_pool(self._work, self._workers, self._device)) as shards:
            shards.run(todo, ended)

    def summarise(self, shards: int, duplicates: set[int], add: Callable[[Tally], None]) -> None:
        """Write the tables of all shards; `add` is called with the tally of each.

        Raises:
            LungfieldError: as `write_part`.
        """

        def write(shard: int) -> Tally:
            return write_part(self._work.output, shard, duplicates=shard in duplicates)

        with ThreadPoolExecutor(_WRITERS) as writers:
            for start in range(0, shards, _WRITERS):
                for tally in writers.map(write, range(start, min(start + _WRITERS, shards))):
                    add(tally)
