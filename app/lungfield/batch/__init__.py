"""Segment many radiographs in worker processes; a crash of one loses only its file, the journal survives."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lungfield.batch.inputs import read_inputs as read_inputs
    from lungfield.batch.interrupts import Interrupted as Interrupted
    from lungfield.batch.jobs import DONE as DONE
    from lungfield.batch.jobs import FAILED as FAILED
    from lungfield.batch.jobs import SKIPPED as SKIPPED
    from lungfield.batch.options import Options as Options
    from lungfield.batch.outputs import DEFAULT_FORMATS as DEFAULT_FORMATS
    from lungfield.batch.outputs import FORMATS as FORMATS
    from lungfield.batch.results import BatchResult as BatchResult
    from lungfield.batch.segment import segment_files as segment_files

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

__all__ = [*_MODULES]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
