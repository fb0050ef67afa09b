"""Read thousands of damaged files, and check that each gives a radiograph or one clear error.

    python scripts/fuzz.py --cases 5000 --seed 1
    python scripts/fuzz.py --seed 1 --only 1234 --keep damaged/    # that case again, and its file

A separate process reads the files, with limits on memory and time. Native decoders may crash on damaged data:
a process that dies is replaced and counted as `crashed`, one that hangs as `timed-out`. The exit status is 1
if read_radiograph neither returned a radiograph nor raised a LungfieldError, if a message or the log names
the patient, if memory exceeded the limit, or if reading did not end.
"""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import resource
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import KW_ONLY, dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path

import typer
from rich.console import Console
from rich.progress import track
from rich.table import Table

from fuzzing import Case, make_bases, make_case
from lungfield.errors import LungfieldError, Reason
from lungfield.radiograph import read_radiograph

READ = "read"
ESCAPED = "escaped"
REMARKABLE = (ESCAPED, Reason.CRASHED, Reason.TIMED_OUT, Reason.OUT_OF_MEMORY)
IDENTITY = ("Nemo", "4711")
"""Parts of the name and of the ID in the files; no message may contain them."""
MEBIBYTE = 1 << 20


@dataclass(frozen=True)
class Outcome:
    """The outcome of reading one file.

    Attributes:
        code: 'read', a code of `Reason`, or 'escaped' for an error of any other kind.
        message: of the error, or the warnings.
        seconds: duration.
        memory_mib: peak memory of the process, less its memory before.
        digest: of the pixels, '' without pixels.
        warned: whether the radiograph has warnings.
    """

    code: str
    message: str = ""
    seconds: float = 0.0
    memory_mib: float = 0.0
    digest: str = ""
    warned: bool = False


@dataclass
class Reader:
    """A process that reads files, replaced when it dies or hangs.

    Attributes:
        log: file for the output of the process and its native decoders.
        memory_mib: limit of memory for reading.
        seconds: limit of time for one file.
    """

    log: Path
    _: KW_ONLY
    memory_mib: int
    seconds: float

    def __post_init__(self) -> None:
        self._context = multiprocessing.get_context("spawn")
        self._start()

    @property
    def pid(self) -> int:
        """The number of the process."""
        return self._process.pid

    def read(self, path: Path) -> Outcome:
        """Read a file in the process, and return the outcome."""
        started = time.perf_counter()
        try:
            self._connection.send(path)
            if self._connection.poll(self.seconds):
                return self._connection.recv()
            outcome = Outcome(Reason.TIMED_OUT, f"no end after {self.seconds:g} s")
        except (EOFError, ConnectionError):
            self._process.join()
            outcome = Outcome(Reason.CRASHED, f"exit code {self._process.exitcode}")
        self.close()
        self._start()
        return replace(outcome, seconds=time.perf_counter() - started)

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.join()
        self._connection.close()

    def _start(self) -> None:
        self._connection, theirs = self._context.Pipe()
        self._process = self._context.Process(
            target=_serve, args=(theirs, self.log, self.memory_mib), daemon=True
        )
        self._process.start()
        theirs.close()
        self._connection.recv()  # wait for its imports, which must not count as time of a file


def _serve(connection: Connection, log: Path, memory_mib: int) -> None:
    """Read the files whose paths come along a connection, one after the other."""
    with log.open("ab") as stream:
        os.dup2(stream.fileno(), sys.stdout.fileno())
        os.dup2(stream.fileno(), sys.stderr.fileno())
    limit = _status_kib("VmSize") * 1024 + memory_mib * MEBIBYTE
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    connection.send("ready")
    while True:
        path = connection.recv()
        Path("/proc/self/clear_refs").write_text("5")  # VmHWM, the peak, starts again
        before = _status_kib("VmRSS")
        started = time.perf_counter()
        outcome = outcome_of(path)
        seconds = time.perf_counter() - started
        memory = max(0, _status_kib("VmHWM") - before) / 1024
        connection.send(replace(outcome, seconds=seconds, memory_mib=memory))


def outcome_of(path: Path) -> Outcome:
    """Read a file in this process, and return the outcome."""
    try:
        radiograph = read_radiograph(path)
    except LungfieldError as error:
        return Outcome(error.reason, str(error))
    except BaseException as error:
        return Outcome(ESCAPED, "".join(traceback.format_exception(error)))
    digest = hashlib.sha256(radiograph.pixels.tobytes()).hexdigest()
    return Outcome(READ, " ".join(radiograph.warnings), digest=digest, warned=bool(radiograph.warnings))


def _status_kib(name: str) -> int:
    """A memory value of this process, in KiB (proc(5), /proc/pid/status)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(f"{name}:")).split()[1])


def main(
    cases: int = typer.Option(2000, help="How many damaged files."),
    seed: int = typer.Option(0, help="Another seed, other damage."),
    only: int | None = typer.Option(None, help="Only the case of this number."),
    keep: Path | None = typer.Option(None, help="Folder for the files that crashed, hung or escaped."),
    memory_mib: int = typer.Option(768, help="Limit of memory on top of what the reading process holds."),
    seconds: float = typer.Option(20.0, help="Limit of time for a file."),
) -> None:
    """Damage files, read them, and report."""
    numbers = range(cases) if only is None else range(only, only + 1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with closing(Reader(folder / "log", memory_mib=memory_mib, seconds=seconds)) as reader:
            bases = make_bases(folder)
            whole = {name: reader.read(_written(folder, content)) for name, content in bases.items()}
            results = []
            for number in track(numbers, "Reading", console=Console(stderr=True)):
                case = make_case(bases, seed=seed, number=number)
                outcome = reader.read(_written(folder, case.content))
                results.append((case, outcome))
                if keep and (only is not None or outcome.code in REMARKABLE):
                    keep.mkdir(parents=True, exist_ok=True)
                    (keep / f"{seed}-{number}").write_bytes(case.content)
        log = (folder / "log").read_text(errors="replace")
    print_report(results, whole, seed=seed)
    lines = list(wrong(results, memory_mib=memory_mib))
    lines += [f"the undamaged {name} was not read" for name, one in whole.items() if one.code != READ]
    lines += ["the log names the patient"] * any(word in log for word in IDENTITY)
    for line in lines:
        print(line)
    raise typer.Exit(bool(lines))


def _written(folder: Path, content: bytes) -> Path:
    path = folder / "case"
    path.write_bytes(content)
    return path


def wrong(results: list[tuple[Case, Outcome]], *, memory_mib: int) -> Iterator[str]:
    """The failures; a crash of a native decoder is contained, and so is reported only."""
    for case, outcome in results:
        where = f"case {case.number} ({case.base}, {case.mutation})"
        if outcome.code == ESCAPED:
            yield f"{where}: an error escaped\n{outcome.message}"
        elif outcome.code == Reason.TIMED_OUT:
            yield f"{where}: {outcome.message}"
        elif outcome.code == Reason.OUT_OF_MEMORY or outcome.memory_mib > memory_mib:
            yield f"{where}: more than {memory_mib} MiB of memory"
        elif any(word.casefold() in outcome.message.casefold() for word in IDENTITY):
            yield f"{where}: the message names the patient"


def print_report(results: list[tuple[Case, Outcome]], whole: dict[str, Outcome], *, seed: int) -> None:
    """Print outcomes by format and code, crashes, the slowest files and those with the highest memory."""
    console = Console(width=200)
    console.print(_table_of_outcomes(results, whole))
    for case, outcome in results:
        if outcome.code == Reason.CRASHED:
            console.print(f"crashed: --seed {seed} --only {case.number} ({case.base}, {case.mutation}): "
                          f"{outcome.message}")  # fmt: skip
    for what, name, unit in (("slowest", "seconds", "s"), ("most memory", "memory_mib", "MiB")):
        case, outcome = max(results, key=lambda result: getattr(result[1], name))
        console.print(f"{what}: case {case.number}, {case.base}, {getattr(outcome, name):.2f} {unit}")


def _table_of_outcomes(results: list[tuple[Case, Outcome]], whole: dict[str, Outcome]) -> Table:
    """A row for each format. 'other' counts files read with other pixels than those of the undamaged file.

    'silent' counts those of them without a warning whose damage is behind the header: undetected damage.
    """
    counts: dict[str, Counter[str]] = {name: Counter() for name in whole}
    for case, outcome in results:
        count = counts[case.base]
        count["cases"] += 1
        if outcome.code != READ:
            count[outcome.code] += 1
        elif outcome.digest == whole[case.base].digest:
            count["same"] += 1
        else:
            count["other"] += 1
            count["silent"] += case.mutation in ("stream", "zeroed") and not outcome.warned
    total: Counter[str] = sum(counts.values(), Counter())
    codes = [code for code in (*Reason, ESCAPED) if total[code]]
    columns = ["cases", "same", "other", "silent", *codes]
    table = Table("format", *columns, title=f"{total['cases']} damaged files")
    for name, count in [*counts.items(), ("all", total)]:
        table.add_row(name.split(" [")[0], *(str(count[column] or "") for column in columns))
    return table


if __name__ == "__main__":
    typer.run(main)
