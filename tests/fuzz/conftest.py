"""A process of its own that reads files for the tests, within a limit of memory and of time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from fuzz import Reader

MEMORY_MIB = 768

# Where the kernel does not tell a process's peak of memory, as outside Linux, there is nothing to measure by.
collect_ignore_glob = [] if Path("/proc/self/clear_refs").exists() else ["test_*.py"]


@pytest.fixture(scope="session")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    one = Reader(tmp_path_factory.mktemp("reader") / "log", memory_mib=MEMORY_MIB, seconds=60)
    yield one
    one.close()
