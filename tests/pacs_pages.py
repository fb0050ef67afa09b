"""Pages of docs/ whose commands need a PACS: run as they are written, in their order, on free ports."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from orthanc import ORTHANC, free_port

ROOT = Path(__file__).parents[1]
_BLOCK = re.compile(
    r"(?:^<!-- not run: (?P<why>[^\n]+) -->\n)?^```(?P<language>\w+)\n(?P<text>.*?)^```$", re.M | re.S
)


def on_free_ports(text: str, *ports: str) -> str:
    """A page with a free port in the place of each that it names."""
    for port in ports:
        text = re.sub(rf"\b{port}\b", str(free_port()), text)
    return text


def blocks(text: str, language: str) -> Iterator[str]:
    """The page's blocks of a language."""
    return (one["text"] for one in _BLOCK.finditer(text) if one["language"] == language)


def pacs_commands(text: str) -> list[str]:
    """The page's blocks of commands that need a PACS."""
    return [one["text"] for one in _BLOCK.finditer(text) if one["why"] == "needs a PACS"]


def run_with_orthanc(
    text: str, commands: Sequence[str], folder: Path, *, timeout_s: float, logs: Sequence[str]
) -> str:
    """Run commands with the page's one configuration of Orthanc; what they printed.

    Args:
        text: of the page, on free ports.
        commands: one after the other, in one shell that ends at the first failure.
        folder: where they run, with `sample_data` and `orthanc.json` in it.
        timeout_s: for all of them.
        logs: files of the folder whose ends are shown where they failed.
    """
    (configuration,) = blocks(text, "json")
    (folder / "orthanc.json").write_text(configuration, encoding="utf-8")
    (folder / "sample_data").symlink_to(ROOT / "sample_data")
    path = os.pathsep.join(
        (str(Path(sys.executable).parent), str(Path(str(ORTHANC)).parent), os.environ["PATH"])
    )
    with (folder / "printed.txt").open("w") as output, (folder / "errors.txt").open("w") as errors:
        process = subprocess.Popen(
            ["bash", "-euo", "pipefail", "-c", "\n".join(commands)],
            cwd=folder,
            env=os.environ | {"PATH": path, "HOME": str(folder), "CUDA_VISIBLE_DEVICES": ""},
            stdout=output,
            stderr=errors,
            start_new_session=True,
        )
        try:
            with suppress(subprocess.TimeoutExpired):
                process.wait(timeout_s)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
            process.wait(30)
    said = [folder / name for name in ("errors.txt", *logs)]
    assert process.returncode == 0, "\n".join(file.read_text()[-3000:] for file in said if file.exists())
    return (folder / "printed.txt").read_text()
