"""How a run over stores is spread over machines."""

from __future__ import annotations

import re
from dataclasses import dataclass

from lungfield.errors import DataError

ENGINES = ("local", "ray")
"""What `ClusterOptions.engine` knows."""


@dataclass(frozen=True)
class ClusterOptions:
    """How a run over stores is spread over machines.

    Attributes:
        engine: 'local' for the cores of this machine, 'ray' for a Ray cluster.
        ray_address: of the cluster: 'auto' for the one that this machine belongs to, or host:port; None for
            what RAY_ADDRESS says, or a cluster of this machine alone.
        shard: (i, n) to do the i-th of n equal parts, from 1, beside other processes that do the others.
        column: of tables of inputs, the column with URIs.
        num_gpus: GPUs that each network actor of Ray takes, such as 0.5; 0 to run the network on CPUs; None
            for 1 where the cluster has GPUs and the device is not 'cpu'.
        max_actors: actors on CPUs at most; None for as many as the cluster has room for.
    """

    engine: str = "local"
    ray_address: str | None = None
    shard: tuple[int, int] | None = None
    column: str = "uri"
    num_gpus: float | None = None
    max_actors: int | None = None

    def checked(self) -> ClusterOptions:
        """The same.

        Raises:
            DataError: options contradict each other, or have values that there are not.
        """
        if self.engine not in ENGINES:
            raise DataError(f"There is no engine {self.engine!r}; give one of {', '.join(ENGINES)}.")
        if self.engine == "ray" and self.shard:
            raise DataError("Ray spreads the shards itself: leave out --shard, or take the engine local.")
        if self.engine == "local" and self.ray_address:
            raise DataError("--ray-address is for --engine ray; give both, or neither.")
        return self


def parse_shard(text: str) -> tuple[int, int]:
    """'3/8' as (3, 8).

    Raises:
        DataError: it is no such text.
    """
    found = re.fullmatch(r"(\d+)/(\d+)", text.strip())
    if not found or not 1 <= int(found[1]) <= int(found[2]):
        raise DataError(f"{text!r} is no shard: give i/n, from 1/n to n/n, such as 3/8.")
    return int(found[1]), int(found[2])
