"""What is too large or too small to be read: checked on headers, before anything is decoded."""

from __future__ import annotations

from dataclasses import dataclass

from lungfield.errors import Reason, UnreadableError


@dataclass(frozen=True)
class Limits:
    """Bounds on what is read, so that no file can exhaust memory or time.

    The defaults leave room for the largest detectors (about 4,300 x 4,300 pixels) several times over.

    Attributes:
        max_pixels: rows x columns x frames.
        max_file_bytes: size of the file.
        max_inflated_bytes: size after decompression, of deflated DICOM and of gzipped NIfTI.
        max_header_reads: how often a DICOM header is read from, about twice an element. Those of radiographs
            have some hundred elements, those of large enhanced objects some 100,000.
        max_pixels_per_byte: pixels for each byte of a compressed image. A radiograph has at most some
            hundred; a few bytes that claim to be millions of pixels are no radiograph.
        min_side_px: rows, and columns.
    """

    max_pixels: int = 100_000_000
    max_file_bytes: int = 1 << 30
    max_inflated_bytes: int = 1 << 28
    max_header_reads: int = 500_000
    max_pixels_per_byte: int = 5_000
    min_side_px: int = 64

    def check_file_bytes(self, size: int) -> None:
        """Raise `UnreadableError` when a file is empty or larger than the limit."""
        if size == 0:
            raise UnreadableError("the file is empty", reason=Reason.DAMAGED)
        if size > self.max_file_bytes:
            raise UnreadableError(
                f"{size:,} bytes are more than the limit of {self.max_file_bytes:,}",
                reason=Reason.OVER_LIMIT,
            )

    def check_shape(self, rows: int, columns: int, frames: int = 1) -> None:
        """Raise `UnreadableError` when an image of this shape is too large or too small."""
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
        """Raise `UnreadableError` when so few bytes cannot hold a picture of so many pixels."""
        if pixels > size * self.max_pixels_per_byte:
            raise UnreadableError(
                f"{size:,} compressed bytes cannot hold a radiograph of {pixels:,} pixels",
                reason=Reason.OVER_LIMIT,
            )

    def check_header_reads(self, count: int) -> None:
        """Raise `UnreadableError` when a header has been read from too often."""
        if count > self.max_header_reads:
            raise UnreadableError(
                "the header has more elements than any radiograph", reason=Reason.OVER_LIMIT
            )


DEFAULT_LIMITS = Limits()
