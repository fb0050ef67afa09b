"""Ratios of the figures, and the parts of a radiograph's time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmarking.limits import Engine

# On two CPU cores with uncompressed files of 2048x2048.
GOALS: Mapping[str, tuple[str, float]] = {
    "end_to_end_to_bound": ("at least", 0.85),
    "end_to_end_to_stock": ("at least", 4.0),
    "stages_ms": ("at most", 26.0),
    "peak_gb": ("less than", 2.5),
}


def rate_between(few: int, seconds_of_few: float, many: int, seconds_of_many: float) -> float | None:
    """Files per second without start-up, from two runs; None if more files did not take longer."""
    longer = seconds_of_many - seconds_of_few
    return (many - few) / longer if many > few and longer > 0 else None


def ratios(parts: Mapping[str, Any]) -> dict[str, Any]:
    """Ratios of the rates; None if one of the two is missing.

    The bound is the rate of reading and the network, one after the other.

    Args:
        parts: network, end_to_end, reading, stages, stock and memory, as in the JSON file.
    """
    network, stock = parts["network"]["images_per_s"], parts["stock"]["images_per_s"]
    first = parts["end_to_end"][0]["images_per_s"]
    bound = 1 / (1 / network + 1 / parts["reading"][0]["images_per_s"])
    few, many = (one["peak_bytes"] for one in parts["memory"])
    return {
        "end_to_end_to_bound": first / bound,
        "end_to_end_to_network": first / network,
        "end_to_end_to_stock": _ratio(first, stock),
        "stages_ms": sum(one["cpu_ms"] for one in parts["stages"] if one["by_default"]),
        "peak_gb": None if many is None else many / 1e9,
        "memory_growth": _ratio(many, few),
        "end_to_end_to_network_by_kind": {
            one["kind"]: one["images_per_s"] / network for one in parts["end_to_end"] if not one["report"]
        },
        "reading_to_network_by_kind": {
            one["kind"]: one["images_per_s"] / network for one in parts["reading"]
        },
    }


def spent(parts: Mapping[str, Any], engine: Engine) -> dict[str, float]:
    """The parts of the cores' time for a radiograph, in ms of one core, for files of the first kind.

    Returns:
        `available`, the time of all cores at the measured rate; `network`; `stages`, those done by default;
        and `rest`, which is negative if the parts were measured slower than the whole.
    """
    available = 1000 * engine.cores / parts["end_to_end"][0]["images_per_s"]
    network = 1000 * engine.workers / parts["network"]["images_per_s"] if engine.device == "cpu" else 0.0
    stages = sum(one["cpu_ms"] for one in parts["stages"] if one["by_default"])
    return {
        "available": available,
        "network": network,
        "stages": stages,
        "rest": available - network - stages,
    }


def _ratio(one: float | None, other: float | None) -> float | None:
    return None if one is None or other is None else one / other
