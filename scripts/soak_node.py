"""Soak test of a node: send radiographs over several associations, and kill node and archive at random.

python scripts/soak_node.py --minutes 10                  # the long form; --minutes 1 is the short one
python scripts/soak_node.py --minutes 1 --queued 10000    # also the memory with this number in the queue

Needs Orthanc and dcmtk (Debian: orthanc, orthanc-dicomweb, dcmtk). The exit status is 1 if an object was lost
or duplicated.
"""

from __future__ import annotations

import contextlib
import json
import random
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import typer
from pydicom import dcmread

sys.path.append(str(Path(__file__).parents[1] / "tests"))

from orthanc import MISSING, Orthanc, free_port, running_orthanc
from soaking.dcmtk import MISSING as NO_SENDER
from soaking.dcmtk import rate_of_sending
from soaking.node_process import NodeProcess
from soaking.outcome import check, rows, wait_until_ended
from soaking.radiographs import make_radiographs
from soaking.sending import Senders

_QUEUED_SIZE = 128
_FIRST_LIMIT_S = 120.0
"""Until the first radiograph is delivered, with the start of the workers."""
_QUICK_RETRIES = {"first_retry_s": 1, "longest_retry_s": 5, "commitment": "never"}


def main(
    minutes: float = typer.Option(10.0, min=0.2, help="Duration, without the final delivery."),
    radiographs: int = typer.Option(500, min=4, help="How many are sent."),
    associations: int = typer.Option(8, min=1, help="Over how many associations at once."),
    size: int = typer.Option(512, min=64, help="Their rows and columns."),
    kills: int = typer.Option(30, min=0, help="How often the node is killed."),
    archive_kills: int = typer.Option(10, min=0, help="How often the archive is killed."),
    queued: int = typer.Option(0, min=0, help="Also queue this number of small ones, and report the memory."),
    seed: int = typer.Option(0, min=0, help="Of the radiographs and the moments."),
    folder: Path | None = typer.Option(None, help="Where all files are; by default a temporary folder."),
) -> None:
    """Run the soak test, and print the result as JSON."""
    if MISSING or NO_SENDER:
        raise SystemExit(MISSING or NO_SENDER)
    with contextlib.ExitStack() as stack:
        root = folder or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="soak-")))
        root.mkdir(parents=True, exist_ok=True)
        figures = soak(
            root, seconds=60 * minutes, count=radiographs, associations=associations, size=size,
            kills=kills, archive_kills=archive_kills, seed=seed,
        )  # fmt: skip
        if queued:
            figures |= queue_up(root / "queued", queued, associations=associations)
    print(json.dumps(figures, indent=2))
    raise SystemExit(0 if figures["good"] else 1)


def soak(
    root: Path,
    *,
    seconds: float,
    count: int,
    associations: int,
    size: int,
    kills: int,
    archive_kills: int,
    seed: int,
) -> dict[str, Any]:
    """Send half of the radiographs undisturbed and half during kills; return the outcome and figures.

    The rate of receiving is that of the first half, which dcmtk sends as fast as it can while workers run.
    """
    dice = random.Random(seed)  # noqa: S311  (moments, not secrets)
    paths = make_radiographs(root / "radiographs", count, size=size, seed=seed)
    archive_folder = root / "archive"
    archive_folder.mkdir()
    with _Archive(archive_folder) as archive:
        node = NodeProcess(root / "state", free_port(), ["--config", str(_config(root, archive))])
        try:
            node.start()
            first, *others = paths[: max(count // 2, 2)]
            rate_of_sending(node.port, [first], associations=1, limit_s=seconds)
            begun = wait_until_ended(node.state, _FIRST_LIMIT_S)
            rate = rate_of_sending(node.port, others, associations=associations, limit_s=seconds)
            meanwhile = sum(row["state"] != "received" for row in rows(node.state).values()) - 1
            rest = paths[1 + len(others) :]
            during_kills = Senders(node.port, rest, associations=associations, over_s=seconds)
            during_kills.start()
            _kill_at_random(node, archive, kills, archive_kills, seconds, dice)
            sent = during_kills.wait(seconds + 120)
            ended = wait_until_ended(node.state, seconds + 20 * count)
            memory = node.memory_mib
            status = node.end()
            before_kills = [
                str(dcmread(path, stop_before_pixels=True).SOPInstanceUID) for path in (first, *others)
            ]
            answered = [*before_kills, *during_kills.answered]
            outcome = check(node.state, answered, archive.orthanc.url)
        except BaseException:
            node.kill()
            raise
    return {
        "answered": len(answered),
        "received_per_second": round(rate, 1),
        "segmented_meanwhile": meanwhile,
        "states": outcome.states,
        "lost": len(outcome.lost),
        "twice": len(outcome.twice),
        "unreasoned": len(outcome.unreasoned),
        "memory_mib": round(memory),
        "kills": kills,
        "archive_kills": archive_kills,
        "sigterm_status": status,
        "good": outcome.is_good and begun and sent and ended and status == 0 and len(answered) == count,
    }


def queue_up(root: Path, count: int, *, associations: int) -> dict[str, Any]:
    """Queue radiographs faster than they are segmented, and measure the main process's memory."""
    paths = make_radiographs(root / "radiographs", count, size=_QUEUED_SIZE)
    node = NodeProcess(root / "state", free_port(), ["--http", "", "--workers", "1"])
    memory: dict[int, int] = {}
    try:
        node.start()
        senders = Senders(node.port, paths, associations=associations)
        begun = time.monotonic()
        senders.start()
        step = max(count // 10, 1)
        while not senders.wait(0.5):
            reached = len(senders.answered) // step * step
            if reached and reached not in memory:
                memory[reached] = round(node.memory_mib)
        seconds = time.monotonic() - begun
        waiting = sum(row["state"] == "received" for row in rows(node.state).values())
        memory[len(senders.answered)] = round(node.memory_mib)
    finally:
        node.kill()
    return {
        "queued": len(senders.answered),
        "still_waiting": waiting,
        "queued_per_second": round(len(senders.answered) / seconds, 1),
        "memory_mib_by_queued": memory,
    }


class _Archive:
    """An Orthanc that can be killed and restarted on the same ports and files."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._ports = folder, (free_port(), free_port())
        self._stack = contextlib.ExitStack()
        self.orthanc: Orthanc

    def __enter__(self) -> _Archive:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def start(self) -> None:
        self.orthanc = self._stack.enter_context(running_orthanc(self._folder, ports=self._ports))

    def kill(self) -> None:
        process = self.orthanc.process
        assert process is not None
        process.kill()
        process.wait()


def _config(root: Path, archive: _Archive) -> Path:
    address = f"ORTHANC@127.0.0.1:{archive.orthanc.dicom_port}"
    path = root / "node.yaml"  # JSON is YAML
    path.write_text(json.dumps({"http": "", "send_to": [{"address": address, **_QUICK_RETRIES}]}))
    return path


def _kill_at_random(
    node: NodeProcess, archive: _Archive, kills: int, archive_kills: int, seconds: float, dice: random.Random
) -> None:
    """Kill and restart node and archive in random order, each its number of times."""
    victims: list[NodeProcess | _Archive] = [*[node] * kills, *[archive] * archive_kills]
    dice.shuffle(victims)
    for victim in victims:
        time.sleep(dice.uniform(0, 1.5 * seconds / max(len(victims), 1)))
        victim.kill()
        time.sleep(dice.uniform(0, 1))
        victim.start()


if __name__ == "__main__":
    typer.run(main)
