"""Many radiographs, in worker processes; a crash of one loses only its file, and the journal survives."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lungfield.batch.inputs import read_inputs
    from lungfield.batch.interrupts import Interrupted
    from lungfield.batch.jobs import DONE, FAILED, SKIPPED
    from lungfield.batch.options import Options
    from lungfield.batch.outputs import DEFAULT_FORMATS, FORMATS
    from lungfield.batch.results import BatchResult
    from lungfield.batch.segment import segment_files

# Imported on first use: `segment_files` starts the fork server before most of the rest is imported.
_MODULES = {
    "DEFAULT_FORMATS": "outputs",
    "DONE": "jobs",
    "FAILED": "jobs",
    "FORMATS": "outputs",
    "SKIPPED": "jobs",
    "BatchResult": "results",
    "Interrupted": "interrupts",
    "Options": "options",
    "read_inputs": "inputs",
    "segment_files": "segment",
}

__all__ = [
    "DEFAULT_FORMATS",
    "DONE",
    "FAILED",
    "FORMATS",
    "SKIPPED",
    "BatchResult",
    "Interrupted",
    "Options",
    "read_inputs",
    "segment_files",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
