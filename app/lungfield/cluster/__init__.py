"""Segment millions of radiographs, from stores and tables into a store, in shards on one machine or many."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lungfield.cluster.options import ClusterOptions
    from lungfield.cluster.results import ShardedResult
    from lungfield.cluster.run import segment_stores

# Imported on use: worker processes import this package too, and need none of it.
_MODULES = {"ClusterOptions": "options", "ShardedResult": "results", "segment_stores": "run"}

__all__ = ["ClusterOptions", "ShardedResult", "segment_stores"]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
