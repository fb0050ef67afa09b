"""Check whether a DICOM header can be that of a frontal chest radiograph, and find its view.

`check` combines the attributes: codes, with the tables in `codes`, and free texts, which `texts` matches with
the terms of many languages in `terms`.
"""

from lungfield.radiograph.header.check import HeaderCheck, check_header, directions

__all__ = ["HeaderCheck", "check_header", "directions"]
