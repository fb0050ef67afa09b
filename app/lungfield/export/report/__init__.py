"""The report of a batch: one HTML page that needs no network, no server and no other file."""

from lungfield.export.report.messages import FLAGS, REASONS
from lungfield.export.report.page import DISCLAIMER, write_report

__all__ = ["DISCLAIMER", "FLAGS", "REASONS", "write_report"]
