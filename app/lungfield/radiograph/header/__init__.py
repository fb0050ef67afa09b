"""Whether a DICOM header may be that of a frontal chest radiograph, and which view it tells.

`check` joins what attributes say: codes, by the tables in `codes`, and free texts, which `texts` reads by the
terms of many languages in `terms`.
"""

from lungfield.radiograph.header.check import HeaderCheck, check_header, directions

__all__ = ["HeaderCheck", "check_header", "directions"]
