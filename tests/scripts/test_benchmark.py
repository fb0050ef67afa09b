"""The parts of scripts/benchmark.py, and one small run of all of it."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pydicom
import pytest

import benchmark
from benchmarking.end_to_end import BenchmarkError, Call, run
from benchmarking.files import SYNTAXES, Kind, make_files
from benchmarking.limits import Engine, network_rate
from benchmarking.memory import peak_memory, process_tree
from benchmarking.others import NOT_INSTALLED, torchxrayvision_rate
from benchmarking.stock import stock_seconds
from benchmarking.summary import rate_between, ratios, spent
from lungfield.batch import Options, segment_files
from lungfield.batch import run as engine
from lungfield.batch.pool import available_cores
from lungfield.bundles import find_bundle, shipped
from lungfield.bundles.predictor import Predictor
from lungfield.radiograph import read_radiograph

SAMPLES = shipped("sample_data") / "images"


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Five files of 96x80 in each transfer syntax, by its name."""
    folder = tmp_path_factory.mktemp("files")
    counts = {Kind((96, 80), syntax): 5 for syntax in SYNTAXES}
    made = make_files(folder, counts, processes=1)
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*.dcm")}
    assert make_files(folder, counts, processes=1) == made
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*.dcm")} == before
    return {kind.syntax: paths for kind, paths in made.items()}


def test_files_show_the_same_in_every_syntax(files):
    for name, syntax in SYNTAXES.items():
        headers = [pydicom.dcmread(path) for path in files[name]]
        assert [header.file_meta.TransferSyntaxUID for header in headers] == [syntax] * 5
        assert [header.Modality for header in headers] == ["DX", "CR", "DX", "CR", "DX"]
        assert {(header.Rows, header.Columns, header.BitsStored) for header in headers} == {(96, 80, 12)}
    for same in zip(*files.values(), strict=True):
        first, *others = (read_radiograph(path).pixels for path in same)
        assert all(np.array_equal(first, other) for other in others)
    pictures = [read_radiograph(path).pixels for path in files["uncompressed"]]
    assert np.array_equal(pictures[0], pictures[4])  # the copies begin
    assert not any(np.array_equal(pictures[0], other) for other in pictures[1:4])


def test_no_two_files_have_a_uid_in_common(files):
    headers = [pydicom.dcmread(path) for paths in files.values() for path in paths]
    assert all(one.SOPInstanceUID == one.file_meta.MediaStorageSOPInstanceUID for one in headers)
    for level in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"):
        assert len({one[level].value for one in headers}) == len(headers)


@pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="the system tells no Pss")
def test_memory_is_that_of_all_descendants():
    takes = 64 << 20
    grandchild = f"block = b'x' * {takes}; print('ready', flush=True); input()"
    child = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {grandchild!r}])"
    with (
        subprocess.Popen(
            [sys.executable, "-c", child], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as process,
        peak_memory(process.pid) as peak,
    ):
        assert process.stdout.readline() == "ready\n"
        tree = process_tree(process.pid)
        assert tree[0] == process.pid
        assert len(tree) == 2
        time.sleep(0.5)
        process.stdin.close()
    assert peak.processes == 2
    assert takes < peak.size_bytes < takes + (60 << 20)


def test_workers_are_those_of_the_engine(tmp_path, monkeypatch):
    taken = {}

    class StopError(Exception):
        pass

    def pool(_context, settings, *, workers, **_):
        taken.update(workers=workers, backend=settings.backend)
        raise StopError

    monkeypatch.setattr(engine, "Pool", pool)
    with pytest.raises(StopError):
        segment_files([SAMPLES], tmp_path, "unet", options=Options(report=False, device="cpu"))
    predictor = Predictor(find_bundle("unet"), device="cpu")
    expected = Engine.of(predictor, None)
    assert taken == {
        "backend": expected.backend,
        "workers": min(expected.workers, len(list(SAMPLES.iterdir()))),
    }
    assert expected.cores == len(os.sched_getaffinity(0))
    assert Engine.of(predictor, 5).workers == 5


def test_network_rate_on_a_gpu_counts_whole_batches():
    calls, pause = [], 0.02

    def answers(batch):
        calls.append(len(batch))
        time.sleep(pause)
        return batch, None

    inputs = [np.zeros((1, 8, 8), np.float32)] * 3
    rate = network_rate(SimpleNamespace(answers=answers), inputs, Engine(2, 2, "cuda", "torch"), count=40)
    assert calls == [16] * (1 + 16)  # the first one is not timed
    assert 3.2 / pause < rate <= 16 / pause


def test_run_tells_start_segmenting_and_closing(files, tmp_path):
    call = Call(files["uncompressed"][:2], SAMPLES / "09_ct.dcm", tmp_path / "out", "unet", workers=1)
    start = time.perf_counter()
    ended = run(call)
    whole = time.perf_counter() - start
    assert ended.files == 2
    assert ended.start_up_s < ended.first_file_s < whole
    parts = (ended.start_up_s, ended.segmenting_s, ended.closing_s)
    assert all(part > 0 for part in parts)
    assert sum(parts) == pytest.approx(whole, rel=0.05)
    assert ended.images_per_s == 2 / ended.segmenting_s


def test_files_that_are_not_segmented_are_not_timed(files, tmp_path):
    lateral = SAMPLES / "08_lateral.dcm"
    call = Call([files["uncompressed"][0], lateral], SAMPLES / "09_ct.dcm", tmp_path, "unet", workers=1)
    with pytest.raises(BenchmarkError, match=r"2 of 3 files did not end as they should: .*lateral"):
        run(call)


@pytest.mark.slow
def test_failure_of_the_stock_way_is_told(tmp_path):
    bundle = find_bundle("unet")
    with pytest.raises(BenchmarkError, match="wrote 0 of 1 masks: "):
        stock_seconds(bundle, [SAMPLES / "08_lateral.dcm"], tmp_path, device="auto")


def test_other_tools_are_not_fetched(monkeypatch):
    monkeypatch.setitem(sys.modules, "torchxrayvision", None)
    tool = torchxrayvision_rate([], device="cpu", threads=1)
    assert (tool["images_per_s"], tool["remark"]) == (None, NOT_INSTALLED)


def test_rate_between_needs_more_time_for_more_files():
    assert rate_between(1, 5.0, 9, 9.0) == 2.0
    assert rate_between(1, 5.0, 9, 5.0) is None
    assert rate_between(1, 5.0, 9, 4.0) is None
    assert rate_between(2, 5.0, 2, 6.0) is None


PARTS = {
    "network": {"images_per_s": 40.0},
    "stock": {"images_per_s": 4.0},
    "end_to_end": [
        {"kind": "a", "report": False, "images_per_s": 32.0},
        {"kind": "a", "report": True, "images_per_s": 30.0},
        {"kind": "b", "report": False, "images_per_s": 10.0},
    ],
    "reading": [{"kind": "a", "images_per_s": 80.0}, {"kind": "b", "images_per_s": 20.0}],
    "stages": [
        {"cpu_ms": 6.0, "by_default": True},
        {"cpu_ms": 4.0, "by_default": True},
        {"cpu_ms": 90.0, "by_default": False},
    ],
    "memory": [{"peak_bytes": 2_000_000_000}, {"peak_bytes": 2_200_000_000}],
}


def test_ratios():
    assert ratios(PARTS) == {
        "end_to_end_to_bound": pytest.approx(32 / (40 * 80 / 120)),
        "end_to_end_to_network": 0.8,
        "end_to_end_to_stock": 8.0,
        "stages_ms": 10.0,
        "peak_gb": 2.2,
        "memory_growth": 1.1,
        "end_to_end_to_network_by_kind": {"a": 0.8, "b": 0.25},
        "reading_to_network_by_kind": {"a": 2.0, "b": 0.5},
    }
    unknown = ratios(
        {**PARTS, "stock": {"images_per_s": None}, "memory": [{"peak_bytes": None}, {"peak_bytes": None}]}
    )
    assert [unknown[key] for key in ("end_to_end_to_stock", "peak_gb", "memory_growth")] == [None] * 3


def test_spent_adds_up():
    on_cpu = spent(PARTS, Engine(cores=2, workers=2, device="cpu", backend="torch"))
    assert on_cpu == {"available": 62.5, "network": 50.0, "stages": 10.0, "rest": 2.5}
    on_gpu = spent(PARTS, Engine(cores=2, workers=2, device="cuda", backend="torch"))
    assert on_gpu == {"available": 62.5, "network": 0.0, "stages": 10.0, "rest": 52.5}


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_benchmark_measures_all_in_one_run(tmp_path):
    file = tmp_path / "figures.json"
    # One worker and a quick network: the rate of the network is that of 16 runs a worker and more.
    words = ["--bundle", "efficientnet_lite0_unet", "--workers", 1]
    words += ["--count", 2, "--sizes", "256x256", "--syntaxes", "jpeg2000"]
    words += ["--repeat", 1, "--stock-files", 2, "--json", file, "--keep", tmp_path / "files"]
    command = [sys.executable, Path(benchmark.__file__), *map(str, words)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    for title in ("Radiographs a second", "One core's time", "Where the cores'", "Peak memory", "Ratios"):
        assert title in ended.stdout
    figures = json.loads(file.read_text())
    kinds = ["256x256 jpeg2000"]
    assert figures["settings"]["kinds"] == kinds
    assert figures["machine"]["cores"] == available_cores()

    network = figures["network"]
    assert len(network["each"]) == 2
    assert all(1 < rate < 10_000 for rate in network["each"])
    assert network["images_per_s"] == pytest.approx(sum(network["each"]) / 2, rel=1e-4)
    runs = figures["end_to_end"]
    assert {(one["kind"], one["report"]) for one in runs} == {
        (kinds[0], False),
        (kinds[0], True),
    }
    for one in runs:
        assert one["each"] == [one["images_per_s"]]
        assert min(one["images_per_s"], one["start_up_s"], one["closing_s"]) > 0
    assert [one["kind"] for one in figures["reading"]] == kinds

    stages = {one["name"]: one for one in figures["stages"]}
    by_default = ["read", "prepare", "post-process", "quality", "measure"]
    by_default += ["write mask", "write overlay", "write preview", "write seg"]
    assert [name for name, one in stages.items() if one["by_default"]] == by_default
    assert set(stages) - set(by_default) == {"write nifti", "write sr", "write sc"}
    assert sum(stages[name]["percent"] for name in by_default) == pytest.approx(100, abs=0.01)

    stock = figures["stock"]
    assert stock["files"] == [1, 2]
    longer = stock["seconds"][1] - stock["seconds"][0]
    assert (stock["images_per_s"] is None) == (longer <= 0)
    if longer > 0:
        assert stock["images_per_s"] == pytest.approx(1 / longer, rel=0.01)
    assert [one["name"] for one in figures["others"]] == ["TorchXRayVision PSPNet"]
    assert [one["files"] for one in figures["memory"]] == [2, 8]
    assert all(one["peak_bytes"] > 300e6 for one in figures["memory"])

    spent = figures["spent"]
    first = runs[0]["images_per_s"]
    assert spent["available"] == pytest.approx(1000 * figures["machine"]["cores"] / first, rel=1e-4)
    assert spent["stages"] == pytest.approx(sum(stages[name]["cpu_ms"] for name in by_default), rel=1e-4)
    found = figures["ratios"]
    assert found["end_to_end_to_network"] == pytest.approx(first / network["images_per_s"], rel=1e-4)
    assert found["memory_growth"] == pytest.approx(
        figures["memory"][1]["peak_bytes"] / figures["memory"][0]["peak_bytes"], rel=1e-4
    )
    assert list(found["end_to_end_to_network_by_kind"]) == kinds
    assert [path.name for path in (tmp_path / "files").iterdir()] == ["256x256-jpeg2000"]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--sizes", "2048"], "'2048' is not a list such as 2048x2048,3000x2500"),
        (["--syntaxes", "gif"], "'gif' is none of uncompressed, jpeg-lossless, jpeg2000"),
        (["--bundle", "nonsense"], "benchmark: There is no bundle 'nonsense'"),
    ],
)
def test_wrong_calls_end_in_one_message(words, told, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["benchmark.py", *words])
    with pytest.raises(SystemExit) as ended:
        benchmark.main()
    assert ended.value.code == 2
    assert told in " ".join(capsys.readouterr().err.replace("│", " ").split())
