"""The report of a batch: one HTML page that needs no network, no server and no other file to be read."""

from lungfield.export.report.page import DISCLAIMER, write_report
from lungfield.export.report.words import FLAGS, REASONS

__all__ = ["DISCLAIMER", "FLAGS", "REASONS", "write_report"]
