"""Runs on a Ray cluster: three nodes on this machine that die in the middle, and a store that is a bucket.

And the benchmark of growth, as it takes the same cluster.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from contents import contents

from lungfield.cluster import ClusterOptions
from lungfield.cluster.manifests import finished_shards
from lungfield.cluster.stores import Store
from lungfield.errors import ClusterError

SCRIPT = Path(__file__).parents[2] / "scripts" / "benchmark_ray.py"
FILES = 160
"""Five shards: two end before the node dies, one for each node is still to be done."""
STORE_BYTES = 200 << 20


def test_without_ray_the_engine_says_what_to_install(monkeypatch, tmp_path, in_shards):
    from lungfield.cluster import ray_engine

    monkeypatch.setattr(ray_engine.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(ClusterError, match=r"pip install 'lungfield\[ray\]'"):
        in_shards(tmp_path, tmp_path / "out", ClusterOptions(engine="ray"))


def test_the_engine_of_one_machine_imports_neither_ray_nor_fsspec():
    program = (
        "import sys; sys.argv = ['lungfield', '--help']; from lungfield.cli.main import app\n"
        "try: app()\nexcept SystemExit: pass\n"
        "import lungfield.cluster.options, lungfield.cluster.uris\n"
        "assert not {'ray', 'fsspec', 's3fs', 'torch'} & set(sys.modules), sorted(sys.modules)\n"
        "import lungfield.batch.run, lungfield.batch.segment\n"
        "assert not {'ray', 'fsspec', 's3fs'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, timeout=120)


@pytest.fixture(scope="module")
def phantoms(tmp_path_factory):
    """Many small phantoms: a few pictures, each under many UIDs."""
    from benchmarking.files import Kind, make_files

    folder = tmp_path_factory.mktemp("phantoms")
    make_files(folder, {Kind((128, 128), "uncompressed"): FILES}, processes=2)
    return folder


@pytest.fixture(scope="module")
def cluster(s3):
    """Three nodes, one core each; the driver is connected to the first, which has a GPU in name."""
    ray = pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    node = {"num_cpus": 1, "object_store_memory": STORE_BYTES}
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    made = Cluster(initialize_head=True, head_node_args={**node, "num_gpus": 1, "include_dashboard": False})
    for _ in range(2):
        made.add_node(**node)
    ray.init(address=made.address, log_to_driver=False, logging_level="ERROR")
    yield made
    ray.shutdown()
    made.shutdown()


@pytest.fixture(scope="module")
def expected(phantoms, bundle, tmp_path_factory, _workers_of_this_environment):
    """What the engine of one machine gives."""
    from lungfield.batch import Options, segment_files

    output = tmp_path_factory.mktemp("expected")
    options = Options(workers=2, report=False, backend="torch", device="cpu")
    segment_files([phantoms], output, bundle, options=options)
    return contents(output)


def stage_pids(stage):
    """Actors of a stage that were started by this process: Ray names its processes by what they run."""
    found = []
    for process in Path("/proc").iterdir():
        with contextlib.suppress(OSError, ValueError, IndexError):
            if process.name.isdigit() and stage.encode() in (process / "cmdline").read_bytes():
                parent = int(process.name)
                while parent not in (0, 1, os.getpid()):
                    parent = int(Path(f"/proc/{parent}/stat").read_text().rpartition(")")[2].split()[1])
                found += [int(process.name)] if parent == os.getpid() else []
    return found


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_an_actor_and_a_node_that_die_cost_time_only(
    phantoms, cluster, expected, bucket, upload, download, in_shards, tmp_path
):
    upload(phantoms, bucket, "in")
    killed = []

    def kill(progress):
        if progress.ended >= 32 and "actor" not in killed:
            (first, *_) = stage_pids("SegmentShards")
            os.kill(first, signal.SIGKILL)
            killed.append("actor")
        elif progress.ended >= 64 and "node" not in killed:
            cluster.remove_node(list(cluster.worker_nodes)[-1])
            killed.append("node")

    result = in_shards(
        f"s3://{bucket}/in", f"s3://{bucket}/out", ClusterOptions(engine="ray"), workers=1, progress=kill
    )
    cluster.add_node(num_cpus=1, object_store_memory=STORE_BYTES)
    assert killed == ["actor", "node"]
    assert len(result) == FILES
    assert contents(download(bucket, "out", tmp_path / "out")) == expected


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_driver_that_dies_is_gone_on_with(phantoms, cluster, expected, bundle, in_shards, tmp_path):
    output = tmp_path / "out"
    words = ["segment", phantoms, "-o", output, "--bundle", bundle, "--engine", "ray", "--workers", "1"]
    words += ["--ray-address", cluster.address, "--backend", "torch", "--device", "cpu", "--no-report"]
    driver = subprocess.Popen([sys.executable, "-m", "lungfield.cli", *map(str, words)])
    store, end = Store(str(output)), time.monotonic() + 600
    while len(finished_shards(store)) < 2 and driver.poll() is None and time.monotonic() < end:
        time.sleep(0.1)
    driver.kill()
    driver.wait()
    before = {path: path.stat().st_mtime_ns for path in (output / ".lungfield" / "manifests").iterdir()}
    assert 2 <= len(before) < 5
    time.sleep(2)  # for the actors of a driver that has died to be ended too
    in_shards(phantoms, output, ClusterOptions(engine="ray"), workers=1, resume=True)
    assert contents(output) == expected
    after = {path: path.stat().st_mtime_ns for path in before}
    assert sum(before[path] == after[path] for path in before) >= 2


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_workers_ask_network_actors_with_parts_of_a_gpu(
    chest, make_dicom, cluster, as_ever, in_shards, tmp_path
):
    """On CPUs, as there is no GPU: what is shared, asked and batched is the same."""
    for number in range(40):
        make_dicom(tmp_path / "in" / f"{number}.dcm", np.roll(chest, number, axis=1).astype(np.uint16))
    options = ClusterOptions(engine="ray", num_gpus=0.5)
    in_shards(tmp_path / "in", tmp_path / "out", options, workers=1, check_mirrored=True)
    expected = contents(as_ever(tmp_path / "in", tmp_path / "ever", check_mirrored=True))
    assert contents(tmp_path / "out") == expected


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_an_actor_that_cannot_work_ends_the_run_with_its_reason(cluster, inputs, in_shards, tmp_path):
    with pytest.raises(ClusterError, match="fewer than the 3 of --num-gpus"):
        in_shards(inputs, tmp_path / "out", ClusterOptions(engine="ray", num_gpus=3))


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_benchmark_of_growth_counts_every_item(cluster, tmp_path):
    words = ["growth", "--counts", "100", "--actors", "1", "--json", tmp_path / "figures.json"]
    done = subprocess.run(
        [sys.executable, SCRIPT, *map(str, words)],
        env=os.environ | {"RAY_ADDRESS": cluster.address},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (figures,) = json.loads((tmp_path / "figures.json").read_text())["growth"]
    assert figures["items"] == 100
    assert figures["driver_mb"] > 0
