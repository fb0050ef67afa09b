"""Many radiographs: read, segmented and written by processes that may die, with a journal that may not."""

from lungfield.batch.outputs import DEFAULT_FORMATS, FORMATS
from lungfield.batch.results import DONE, FAILED, SKIPPED, BatchResult
from lungfield.batch.run import Interrupted, Options, segment_files

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
