"""Options for the distribution of a run over machines."""

from __future__ import annotations

import re
from dataclasses import dataclass

from lungfield.errors import DataError

ENGINES = ("local", "ray")
"""The values of `ClusterOptions.engine`."""


@dataclass(frozen=True)
class ClusterOptions:
    """Options for the distribution of a run over machines.

    Attributes:
        engine: 'local' for the cores of this machine, 'ray' for a Ray cluster.
        ray_address: of the cluster: 'auto' for the one that this machine belongs to, or host:port; None for
            the environment variable RAY_ADDRESS, or else a new cluster on this machine.
        shard: (i, n) to segment the i-th of n equal parts, counted from 1; other processes segment the rest.
        column: name of the column with URIs in tables of inputs.
        num_gpus: GPUs per network actor of Ray, such as 0.5; 0 to run the network on CPUs; None for 1 if the
            cluster has GPUs and the device is not 'cpu', else 0.
        max_actors: largest number of actors on CPUs; None for as many as the cluster has cores for.
    """

    engine: str = "local"
    ray_address: str | None = None
    shard: tuple[int, int] | None = None
    column: str = "uri"
    num_gpus: float | None = None
    max_actors: int | None = None

    def checked(self) -> ClusterOptions:
        """Check the options and return them.

        Raises:
            DataError: an option has an invalid value, or two options contradict each other.
        """
        if self.engine not in ENGINES:
            raise DataError(f"Unknown engine {self.engine!r}; give one of {', '.join(ENGINES)}.")
        if self.engine == "ray" and self.shard:
            raise DataError("Ray distributes the shards itself: omit --shard, or use --engine local.")
        if self.engine == "local" and self.ray_address:
            raise DataError("--ray-address needs --engine ray; give both or neither.")
        return self


def parse_shard(text: str) -> tuple[int, int]:
    """Parse 'i/n', such as '3/8', to (i, n) with 1 <= i <= n.

    Raises:
        DataError: the text is not of this form.
    """
    found = re.fullmatch(r"(\d+)/(\d+)", text.strip())
    if not found or not 1 <= int(found[1]) <= int(found[2]):
        raise DataError(f"{text!r} is no valid shard: give i/n, from 1/n to n/n, such as 3/8.")
    return int(found[1]), int(found[2])
