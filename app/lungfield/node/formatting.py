"""Format times, sizes and counts for people."""

from __future__ import annotations

_UNITS = ((86400, "d"), (3600, "h"), (60, "min"))


def duration(seconds: float | None) -> str:
    """A duration in seconds as text: '90 s', '2 min', '5 h', '3 d', rounded down; a dash for None.

    The unit is the largest of which there are at least two.
    """
    if seconds is None:
        return "–"
    for size, unit in _UNITS:
        if seconds >= 2 * size:
            return f"{int(seconds // size)} {unit}"
    return f"{int(seconds)} s"


def size(count: float) -> str:
    """A number of bytes in GB, or in MB below 1 GB."""
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"


def number(count: int, one: str, many: str = "") -> str:
    """A count with its noun: '1 radiograph', '2,000 radiographs'."""
    return f"{count:,} {one if count == 1 else many or f'{one}s'}"
