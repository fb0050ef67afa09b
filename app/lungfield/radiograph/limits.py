"""Limits on the size of files and pictures, checked on headers before decoding."""

from __future__ import annotations

from dataclasses import dataclass

from lungfield.errors import Reason, UnreadableError


@dataclass(frozen=True)
class Limits:
    """Limits on files and pictures, so that none can exhaust memory or time.

    The defaults are several times the size of the largest detectors (about 4,300 x 4,300 pixels).

    Attributes:
        max_pixels: rows x columns x frames.
        max_file_bytes: size of the file, in bytes.
        max_inflated_bytes: size of deflated DICOM and gzipped NIfTI after decompression, in bytes.
        max_header_reads: number of reads for a DICOM header, about two per element. Radiographs have some
            hundred elements, large enhanced objects some 100,000.
        max_pixels_per_byte: pixels per byte of a compressed image. Radiographs have at most some hundred;
            a few bytes that declare millions of pixels are no radiograph.
        min_side_px: smallest number of rows and of columns.
    """

    max_pixels: int = 100_000_000
    max_file_bytes: int = 1 << 30
    max_inflated_bytes: int = 1 << 28
    max_header_reads: int = 500_000
    max_pixels_per_byte: int = 5_000
    min_side_px: int = 64

    def check_file_bytes(self, size: int) -> None:
        """Raise `UnreadableError` if a file is empty or larger than the limit."""
        if size == 0:
            raise UnreadableError("the file is empty", reason=Reason.DAMAGED)
        if size > self.max_file_bytes:
            raise UnreadableError(
                f"{size:,} bytes are more than the limit of {self.max_file_bytes:,}",
                reason=Reason.OVER_LIMIT,
            )

    def check_shape(self, rows: int, columns: int, frames: int = 1) -> None:
        """Raise `UnreadableError` if an image of this shape is too large or too small."""
        if rows * columns * frames > self.max_pixels:
            raise UnreadableError(
                f"{rows} x {columns} pixels x {frames} frames are more than the limit of {self.max_pixels:,}",
                reason=Reason.OVER_LIMIT,
            )
        if min(rows, columns) < self.min_side_px:
            raise UnreadableError(
                f"{rows} x {columns} pixels are too few: a side needs at least {self.min_side_px}",
                reason=Reason.TOO_SMALL,
            )

    def check_compressed_bytes(self, pixels: int, size: int) -> None:
        """Raise `UnreadableError` if an image has too many pixels for its compressed size in bytes."""
        if pixels > size * self.max_pixels_per_byte:
            raise UnreadableError(
                f"{size:,} compressed bytes cannot hold a radiograph of {pixels:,} pixels",
                reason=Reason.OVER_LIMIT,
            )

    def check_header_reads(self, count: int) -> None:
        """Raise `UnreadableError` if the number of reads for a header is over the limit."""
        if count > self.max_header_reads:
            raise UnreadableError(
                "the header has more elements than any radiograph", reason=Reason.OVER_LIMIT
            )


DEFAULT_LIMITS = Limits()
