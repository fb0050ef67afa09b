"""Damaged files of every format end as a radiograph or one clear error, and the fuzzer sees what does not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import fuzz
from fuzz import ESCAPED, READ, Outcome, Reader
from fuzzing import MUTATIONS, Case, make_bases, make_case
from lungfield.errors import Reason

CASES = 300
SEED = 0


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    return make_bases(tmp_path_factory.mktemp("bases"))


@pytest.fixture
def file(bases: dict[str, bytes], tmp_path: Path) -> Path:
    (tmp_path / "whole").write_bytes(bases["Explicit VR Little Endian"])
    return tmp_path / "whole"


def test_what_is_not_damaged_is_read(bases: dict[str, bytes], reader: Reader, tmp_path: Path) -> None:
    for name, content in bases.items():
        (tmp_path / "a").write_bytes(content)
        outcome = reader.read(tmp_path / "a")
        assert (outcome.code, outcome.message) == (READ, ""), name


def test_damaged_files_end_in_one_way_or_the_other(
    bases: dict[str, bytes], reader: Reader, tmp_path: Path
) -> None:
    results = []
    for number in range(CASES):
        case = make_case(bases, seed=SEED, number=number)
        (tmp_path / "a").write_bytes(case.content)
        results.append((case, reader.read(tmp_path / "a")))
    assert list(fuzz.wrong(results, memory_mib=200)) == []
    codes = {outcome.code for _, outcome in results}
    assert {READ, Reason.DAMAGED, Reason.UNKNOWN_FORMAT, Reason.OTHER_OBJECT} <= codes
    assert {case.mutation for case, _ in results} == set(MUTATIONS)


def test_a_case_is_the_same_whenever_it_is_made(bases: dict[str, bytes], tmp_path: Path) -> None:
    again = make_bases(tmp_path)
    for number in range(100):
        assert make_case(bases, seed=1, number=number) == make_case(again, seed=1, number=number)
    contents = [make_case(bases, seed=seed, number=5).content for seed in range(20)]
    assert len(set(contents)) > 15


def test_mutations_do_damage(bases: dict[str, bytes]) -> None:
    cases = [make_case(bases, seed=2, number=number) for number in range(400)]
    damaged = [case for case in cases if case.content != bases[case.base]]
    assert len(damaged) > 0.9 * len(cases)


def test_a_process_that_dies_is_replaced(reader: Reader, file: Path) -> None:
    os.kill(reader.pid, signal.SIGABRT)
    outcome = reader.read(file)
    assert (outcome.code, outcome.message) == (Reason.CRASHED, f"exit code {-signal.SIGABRT}")
    assert reader.read(file).code == READ


def test_a_process_that_hangs_is_replaced(file: Path, tmp_path: Path) -> None:
    reader = Reader(tmp_path / "log", memory_mib=100, seconds=0.5)
    try:
        os.kill(reader.pid, signal.SIGSTOP)
        assert reader.read(file).code == Reason.TIMED_OUT
    finally:
        reader.close()


def test_memory_over_the_limit_is_seen(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(np.arange(4_000_000, dtype=np.uint16).reshape(2000, 2000)).save(path)
    reader = Reader(tmp_path / "log", memory_mib=16, seconds=60)
    try:
        outcome = reader.read(path)
    finally:
        reader.close()
    assert outcome.code == Reason.OUT_OF_MEMORY
    assert len(list(fuzz.wrong([(Case(0, "PNG", "none", b""), outcome)], memory_mib=16))) == 1


@pytest.mark.parametrize(
    "outcome",
    [
        Outcome(ESCAPED, "Traceback"),
        Outcome(Reason.TIMED_OUT, "no end"),
        Outcome(Reason.OUT_OF_MEMORY),
        Outcome(READ, memory_mib=101),
        Outcome(Reason.OTHER_OBJECT, "Modality is NEMO^NOBODY"),
    ],
)
def test_what_must_not_be(outcome: Outcome) -> None:
    case = Case(7, "PNG", "header", b"")
    (line,) = fuzz.wrong(
        [(case, outcome), (case, Outcome(Reason.CRASHED)), (case, Outcome(READ))], memory_mib=100
    )
    assert "case 7" in line


def test_errors_that_escape_are_seen(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def panic(path: Path) -> None:
        raise BaseException("a panic")

    monkeypatch.setattr(fuzz, "read_radiograph", panic)
    outcome = fuzz.outcome_of(file)
    assert outcome.code == ESCAPED
    assert "a panic" in outcome.message


def test_the_script_prints_a_table_and_ends_well() -> None:
    script = Path(fuzz.__file__)
    ended = subprocess.run(
        [sys.executable, script, "--cases", "30"], capture_output=True, text=True, timeout=120, check=False
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "30 damaged files" in ended.stdout
    assert "most memory" in ended.stdout
