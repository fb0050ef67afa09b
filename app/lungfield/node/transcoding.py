"""Compare two files of a radiograph that differ only in the compression of the pixels.

A lossless transcoding keeps the SOP Instance UID (DICOM PS3.5, 10; PS3.3, C.7.6.1.1.5): archives may send a
radiograph in another transfer syntax than the modality did. Decoders can crash on a peer's data, so they run
in a separate process with limits on time and memory; if it fails, the files count as different.

`python -m lungfield.node.transcoding ONE OTHER MEMORY_BYTES` is that process; its exit code is 0 if they are
the same.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

_DIFFERENT = 3
_LIMIT_S = 30.0


def is_transcoded(one: Path, other: Path, *, memory_bytes: int) -> bool:
    """Whether two files have the same standard attributes and the same stored values of pixels.

    Args:
        one: a DICOM file.
        other: another one, in another transfer syntax.
        memory_bytes: memory limit for decoding.

    Returns:
        True if they are the same; False if they differ or cannot be compared (damaged, several frames, over a
        limit, timeout).
    """
    words = [sys.executable, "-m", "lungfield.node.transcoding", str(one), str(other), str(memory_bytes)]
    try:
        ended = subprocess.run(words, capture_output=True, timeout=_LIMIT_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return ended.returncode == 0


def _compare(one: Path, other: Path) -> bool:
    import numpy as np

    from lungfield.node.content import header_sha256
    from lungfield.radiograph import read_stored_values

    (header, values), (other_header, other_values) = map(read_stored_values, (one, other))
    return header_sha256(header) == header_sha256(other_header) and np.array_equal(values, other_values)


if __name__ == "__main__":
    from lungfield.batch.processes import limit_memory

    limit_memory(int(sys.argv[3]))
    raise SystemExit(0 if _compare(Path(sys.argv[1]), Path(sys.argv[2])) else _DIFFERENT)
