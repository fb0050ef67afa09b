"""Peers of another maker: dcmtk's programs (https://dcmtk.org; Debian: dcmtk)."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

_LIMIT_S = 120.0


def dcmtk(name: str) -> str | None:
    """The path of a program of dcmtk; pynetdicom's of the same names come first in an environment's PATH."""
    return shutil.which(name, path="/usr/local/bin:/usr/bin:/opt/homebrew/bin")


MISSING = "" if dcmtk("storescu") else "needs storescu (Debian: dcmtk)"
"""Why nothing can be sent; empty where it can."""


def storescu(
    port: int,
    *paths: Path,
    called: str = "LUNGFIELD",
    calling: str = "MODALITY",
    options: Sequence[str] = ("-xs",),
    limit_s: float = _LIMIT_S,
) -> subprocess.CompletedProcess[str]:
    """Send files to a port of 127.0.0.1; its exit status and output.

    Args:
        port: of the node.
        paths: what to send, over one association.
        called: AE title of the node.
        calling: AE title of the sender.
        options: of the program; -xs proposes lossless JPEG beside uncompressed pixels.
        limit_s: how long it may take, in seconds.
    """
    return subprocess.run(
        [
            str(dcmtk("storescu")), "-aet", calling, "-aec", called, "-R", *options,
            "127.0.0.1", str(port), *map(str, paths),
        ],
        capture_output=True, text=True, timeout=limit_s,
    )  # fmt: skip


def rate_of_sending(port: int, paths: Sequence[Path], *, associations: int, limit_s: float) -> float:
    """Send files over several associations at once, all of which must succeed; files a second.

    Raises:
        RuntimeError: one was refused.
    """
    begun = time.monotonic()
    with ThreadPoolExecutor(associations) as threads:
        ends = [
            threads.submit(storescu, port, *paths[one::associations], options=("-xi",), limit_s=limit_s)
            for one in range(min(associations, len(paths)))
        ]
    seconds = time.monotonic() - begun
    if any(end.result().returncode for end in ends):
        raise RuntimeError("the node has refused a radiograph")
    return len(paths) / seconds
