"""Many radiographs, in worker processes; a crash of one loses only its file, and the journal survives."""

from lungfield.batch.interrupts import Interrupted
from lungfield.batch.options import Options
from lungfield.batch.outputs import DEFAULT_FORMATS, FORMATS
from lungfield.batch.results import DONE, FAILED, SKIPPED, BatchResult
from lungfield.batch.run import segment_files

__all__ = [
    "DEFAULT_FORMATS",
    "DONE",
    "FAILED",
    "FORMATS",
    "SKIPPED",
    "BatchResult",
    "Interrupted",
    "Options",
    "segment_files",
]
