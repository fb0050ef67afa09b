"""A node as a separate process that can be killed and restarted."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

_START_LIMIT_S = 120.0


class NodeProcess:
    """`lungfield node` with a state folder.

    Args:
        state: its state folder.
        port: where it listens for DICOM; the same after each start.
        options: further options of the command.
        environment: further variables of its environment.
    """

    def __init__(
        self, state: Path, port: int, options: Sequence[str] = (), environment: dict[str, str] | None = None
    ) -> None:
        self.state, self.port = state, port
        self._environment = {**os.environ, **(environment or {})}
        self._command = [
            sys.executable, "-m", "lungfield.cli", "node", "--state", str(state), "--port", str(port),
            "--log-file", str(state.parent / "node.log"), *options,
        ]  # fmt: skip
        self._process: subprocess.Popen[str] | None = None
        self.output = state.parent / "node.out"

    @property
    def pid(self) -> int:
        """The ID of the main process."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start it, and wait until it listens.

        Raises:
            RuntimeError: it ended, or does not listen in time.
        """
        with self.output.open("w") as output:
            self._process = subprocess.Popen(
                self._command, stdout=output, stderr=subprocess.STDOUT, text=True, env=self._environment
            )
        end = time.monotonic() + _START_LIMIT_S
        while "listening" not in self.output.read_text():
            if self._process.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"the node does not listen:\n{self.output.read_text()}")
            time.sleep(0.05)

    def kill(self) -> None:
        """Kill it at once, as a power failure would."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def end(self, limit_s: float = 30.0) -> int:
        """Ask it to end, and return its exit status.

        Raises:
            subprocess.TimeoutExpired: it takes longer than a limit in seconds.
        """
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(limit_s)

    @property
    def memory_mib(self) -> float:
        """The memory of the main process, in MiB (Linux)."""
        status = Path(f"/proc/{self.pid}/status").read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS")) / 1024
