"""From a file to a `Radiograph`: reading, grey values, spacing, and what is a frontal chest radiograph."""

from __future__ import annotations

from lungfield.radiograph.files import Found, InputFile, find_files, output_stems, search, stem
from lungfield.radiograph.limits import Limits
from lungfield.radiograph.reading import read_radiograph
from lungfield.radiograph.views import Verdict, judge_header

__all__ = [
    "Found",
    "InputFile",
    "Limits",
    "Verdict",
    "find_files",
    "judge_header",
    "output_stems",
    "read_radiograph",
    "search",
    "stem",
]
