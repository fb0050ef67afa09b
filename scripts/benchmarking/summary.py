"""What the figures come to: ratios, and where the time of a radiograph goes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmarking.limits import Resources

#: What is aimed at, on two CPU cores with uncompressed files of 2048x2048.
GOALS: Mapping[str, tuple[str, float]] = {
    "end_to_end_to_network": ("at least", 0.8),
    "end_to_end_to_stock": ("at least", 6.0),
    "peak_gb": ("less than", 2.5),
}


def rate_between(few: int, seconds_of_few: float, many: int, seconds_of_many: float) -> float | None:
    """Files a second of what has a start: by how much longer more files take.

    Returns:
        None where they did not take longer, so that nothing can be told.
    """
    longer = seconds_of_many - seconds_of_few
    return (many - few) / longer if many > few and longer > 0 else None


def ratios(parts: Mapping[str, Any]) -> dict[str, Any]:
    """How the rates relate to each other; None where one of the two is missing.

    Args:
        parts: network, end_to_end, reading, stock and memory, as in the JSON file.
    """
    network, stock = parts["network"]["images_per_s"], parts["stock"]["images_per_s"]
    first = parts["end_to_end"][0]["images_per_s"]
    few, many = (one["peak_bytes"] for one in parts["memory"])
    return {
        "end_to_end_to_network": first / network,
        "end_to_end_to_stock": _ratio(first, stock),
        "peak_gb": None if many is None else many / 1e9,
        "memory_growth": _ratio(many, few),
        "end_to_end_to_network_by_kind": {
            one["kind"]: one["images_per_s"] / network for one in parts["end_to_end"] if not one["report"]
        },
        "reading_to_network_by_kind": {
            one["kind"]: one["images_per_s"] / network for one in parts["reading"]
        },
    }


def spent(parts: Mapping[str, Any], engine: Resources, *, on_cpu: bool) -> dict[str, float]:
    """Where the cores' time of a radiograph goes, in ms of one core, for files of the first kind.

    Args:
        parts: network, end_to_end and stages, as in the JSON file.
        engine: the cores, and how many of them the network takes.
        on_cpu: whether the network runs on the cores.

    Returns:
        `available`: what all cores have for a radiograph at the rate that was measured. `network`, and
        `stages`, the sum of those that are done by default. `rest`: what is left: cores that wait, messages
        between processes, the journal, and what each slows the others by sharing memory and caches; below
        0 where the parts were measured slower than the whole.
    """
    available = 1000 * engine.cores / parts["end_to_end"][0]["images_per_s"]
    network = 1000 * engine.network_threads / parts["network"]["images_per_s"] if on_cpu else 0.0
    stages = sum(one["cpu_ms"] for one in parts["stages"] if one["by_default"])
    return {
        "available": available,
        "network": network,
        "stages": stages,
        "rest": available - network - stages,
    }


def _ratio(one: float | None, other: float | None) -> float | None:
    return None if one is None or other is None else one / other
