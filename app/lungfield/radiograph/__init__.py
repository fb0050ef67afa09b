"""Read files as `Radiograph`: decoding, grey values, spacing, and the check of the header."""

from __future__ import annotations

from lungfield.radiograph.dicom import read_header, read_stored_values
from lungfield.radiograph.files import Found, InputFile, find_files, output_stems, search
from lungfield.radiograph.header import HeaderCheck, check_header
from lungfield.radiograph.limits import Limits
from lungfield.radiograph.reading import read_radiograph

__all__ = [
    "Found",
    "HeaderCheck",
    "InputFile",
    "Limits",
    "check_header",
    "find_files",
    "output_stems",
    "read_header",
    "read_radiograph",
    "read_stored_values",
    "search",
]
