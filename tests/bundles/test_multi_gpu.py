"""Several processes train and measure as one does, shown with two on a CPU."""

import csv
import json
import os
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch
import yaml
from monai.bundle import ConfigParser, ConfigWorkflow

from lungfield.bundles import BUNDLES, find_bundle
from lungfield.errors import BundleError
from lungfield.networks import MobileNetV2UNet
from lungfield.training import distributed

ROOT = find_bundle("unet").root

# The paper's recipe has neither augmentation nor a schedule. Each image is normalised by itself, since on a
# CPU batch normalisation sees a process's own share only; and by Adam differences in rounding would grow.
RECIPE = {
    "image_size": [64, 64],
    "network_def::features": [8, 8],
    "network_def::norm": "instance",
    "optimizer::_target_": "torch.optim.SGD",
    "learning_rate": 0.5,
    "precision": "float32",
    "num_workers": 0,
}
CONFIGS = ("train.yaml", "paper.yaml")


def torchrun(cwd, *words):
    """Run two processes that share this machine's CPU."""
    return subprocess.run(
        [
            sys.executable,
            "-W",
            "ignore",
            "-m",
            "torch.distributed.run",
            "--standalone",
            "--nproc_per_node=2",
            *words,
        ],
        cwd=cwd,
        env=os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )


def options(words):
    return [text for key, value in words.items() for text in (f"--{key}", str(value))]


def files(*names):
    return [str(ROOT / "configs" / name) for name in names]


def call(kind, names, **words):
    """The words of a run of `monai.bundle`."""
    return ["run", kind, "--config_file", str(files(*names)), *options(RECIPE | words)]


ONE_AFTER_THE_OTHER = """
import json, runpy, sys
from pathlib import Path
from lungfield.training import distributed

stop, distributed.stop = distributed.stop, lambda: None  # torchrun lets a process join once
for number, words in enumerate(json.loads(sys.argv[1]), 1):
    sys.argv = ["monai.bundle", *words]
    runpy.run_module("monai.bundle", run_name="__main__")
    if distributed.is_first():
        Path(f"after-{number}.json").write_text(json.dumps([path.name for path in Path().glob("*.pt")]))
    print(f"AFTER {number}", file=sys.stderr, flush=True)
    distributed.from_all("the other one too has ended")
stop()
"""


def two_processes(cwd, *calls):
    """Run `monai.bundle` with each list of words, all in the same two processes: imports take longest.

    What follows a line 'AFTER 1' on standard error is of the second call; the networks' files that lie in
    `cwd` after the first one are listed in 'after-1.json'.
    """
    (cwd / "calls.py").write_text(ONE_AFTER_THE_OTHER)
    done = torchrun(cwd, "calls.py", json.dumps(calls))
    assert done.returncode == 0, done.stderr
    return done


def one_process(kind, names, monkeypatch, **words):
    monkeypatch.setattr(sys, "argv", ["monai.bundle", "--config_file", str(files(*names))])
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)  # the configs replace it
    workflow = ConfigWorkflow(files(*names), workflow_type=kind, logging_file=False, **RECIPE, **words)
    workflow.initialize()
    workflow.run()


def table(path):
    with path.open(newline="", encoding="utf-8-sig") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def data(tiny_dataset, tmp_path_factory):
    """Four pictures to train on, all in a batch; three to validate and to test on, in unequal shares."""
    folder = tmp_path_factory.mktemp("shared")
    content = json.loads((tiny_dataset / "dataset.json").read_text())
    entries = [one for name in ("training", "validation", "test") for one in content[name]]
    for one in entries:
        one |= {kind: str(tiny_dataset / one[kind]) for kind in ("image", "label")}
    content |= {"training": entries[:4], "validation": entries[3:], "test": entries[3:]}
    (folder / "dataset.json").write_text(json.dumps(content))
    return folder


@pytest.fixture(scope="module")
def trained(data, tmp_path_factory):
    """Two epochs by two processes; then a third one by a run that goes on from there, and its measures."""
    output, measured = tmp_path_factory.mktemp("two"), tmp_path_factory.mktemp("measured")
    words = {"dataset_dir": data, "output_dir": output, "batch_size": 2}
    names = (*CONFIGS, "multi_gpu_train.yaml")
    checkpoint = output / "checkpoint_epoch=2.pt"
    weights = {"checkpoint": output / "best_model.pt", "dataset_dir": data, "output_dir": measured}
    done = two_processes(
        output,
        call("training", names, max_epochs=2, **words),
        call("training", names, max_epochs=3, resume_from=checkpoint, **words),
        call("evaluating", (*CONFIGS, "evaluate.yaml", "multi_gpu_evaluate.yaml"), **weights),
    )
    assert done.stderr.count("AFTER 1") == 2
    first, _, then = done.stderr.partition("AFTER 1")
    before = set(json.loads((output / "after-1.json").read_text()))
    return SimpleNamespace(output=output, first=first, before=before, then=then, measured=measured)


@pytest.mark.slow
def test_the_first_process_alone_logs_and_writes(trained):
    for epoch in (1, 2):
        assert trained.first.count(f"epoch {epoch} of 2, training") == 1
        assert trained.first.count(f"epoch {epoch}, validation") == 1
    assert trained.before == {"best_model.pt", "checkpoint_epoch=1.pt", "checkpoint_epoch=2.pt"}
    # A file each for the trainer and the evaluator, in either run.
    assert len(list((trained.output / "tensorboard").iterdir())) == 4


@pytest.mark.slow
def test_a_run_goes_on_in_several_processes(trained):
    assert "epoch 3 of 3" in trained.then
    assert "epoch 2 of 3" not in trained.then
    assert [row["epoch"] for row in table(trained.output / "history.csv")] == ["1", "2", "3"]


@pytest.mark.slow
def test_two_processes_train_as_one_with_a_batch_twice_as_large(trained, data, tmp_path, monkeypatch):
    one_process(
        "train",
        CONFIGS,
        monkeypatch,
        dataset_dir=str(data),
        output_dir=str(tmp_path),
        batch_size=4,
        max_epochs=3,
    )
    rows, expected = table(trained.output / "history.csv"), table(tmp_path / "history.csv")
    for row, alone in zip(rows, expected, strict=True):
        figures = {name: float(value) for name, value in row.items() if name != "seconds"}
        assert figures == pytest.approx({name: float(alone[name]) for name in figures}, abs=1e-5)
    losses = [float(row["train_loss"]) for row in rows]
    assert losses[0] > losses[1] + 0.1 > losses[2] + 0.2  # what is alike has moved
    for name in ("best_model.pt", "checkpoint_epoch=3.pt"):
        weights, others = (
            torch.load(folder / name, weights_only=True) for folder in (trained.output, tmp_path)
        )
        weights, others = weights.get("network", weights), others.get("network", others)
        torch.testing.assert_close(weights, others, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_two_processes_measure_as_one(trained, data, tmp_path, monkeypatch):
    words = {"dataset_dir": str(data), "checkpoint": str(trained.output / "best_model.pt")}
    names = (*CONFIGS, "evaluate.yaml")
    one_process("infer", names, monkeypatch, output_dir=str(tmp_path / "one"), **words)
    assert trained.then.count("3 images compared") == 1
    assert [row["id"] for row in table(trained.measured / "metrics.csv")] == ["3", "4", "5"]
    for name in ("metrics.csv", "summary.json"):
        assert (trained.measured / name).read_text() == (tmp_path / "one" / name).read_text()


PROCESS = """
import json, sys, torch
from lungfield.errors import BundleError, DataError
from lungfield.training import distributed

distributed.start()
network = distributed.parallel(torch.nn.Sequential(torch.nn.Conv2d(1, 2, 1), torch.nn.BatchNorm2d(2)))
network.train()(torch.rand(4, 1, 8, 8) + distributed.rank()).sum().backward()
own = network.module[1].running_mean.tolist()
with torch.no_grad():
    network.eval()(torch.rand(1, 1, 8, 8))
    if distributed.is_first():  # as in a validation whose shares are unequal
        network(torch.rand(1, 1, 8, 8))
try:
    distributed.check_shares([0])
except DataError as error:
    refusal = str(error)
seen = distributed.from_all([own, network.module[1].running_mean.tolist(), refusal])
if distributed.is_first():
    print("SEEN", json.dumps(seen), flush=True)
else:
    raise BundleError("the second process fails")
distributed.from_all("waits for the other")
"""


@pytest.mark.slow
def test_statistics_are_those_of_the_first_process_and_a_failure_ends_all(tmp_path):
    (tmp_path / "process.py").write_text(PROCESS)
    done = torchrun(tmp_path, "process.py")
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("SEEN")]
    (own, kept, refusal), (other, taken, _) = json.loads(line.removeprefix("SEEN"))
    assert kept == taken == own != other
    assert refusal.startswith("2 processes cannot share 1 images")
    assert done.returncode == 1
    assert "the second process fails" in done.stderr


def test_shares_are_put_together_in_the_order_of_the_data():
    assert distributed.in_order_of_data([[0, 3, 6], [1, 4], [2, 5]]) == list(range(7))
    assert distributed.in_order_of_data([[None, 0]]) == [None, 0]


def test_alone_there_is_nothing_to_wait_for():
    assert distributed.from_all("own") == ["own"]
    assert distributed.rank() == 0
    assert distributed.is_first()
    distributed.stop()


def test_starting_wrongly_is_explained(monkeypatch):
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    distributed.refuse_copies()
    with pytest.raises(BundleError, match="torchrun"):
        distributed.start()
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(BundleError, match=r"multi_gpu_train\.yaml"):
        distributed.refuse_copies()


def test_each_process_has_a_gpu_of_its_own(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert distributed.device() == torch.device("cuda", 1)
    monkeypatch.setenv("LOCAL_RANK", "2")
    with pytest.raises(BundleError, match="has 2 GPUs"):
        distributed.device()


def test_normalisation_over_all_processes_leaves_the_network_as_it_is():
    """timm's layers of normalisation hold an activation, which must not be lost."""
    network = MobileNetV2UNet(pretrained=False, norm="batch").eval()
    names = list(network.state_dict())
    image = torch.rand(1, 1, 64, 64)
    with torch.inference_mode():
        expected = network(image)
        network = distributed.synchronised(network)
        torch.testing.assert_close(network(image), expected)
    assert list(network.state_dict()) == names
    kinds = {type(layer) for layer in network.modules()}
    assert any(issubclass(kind, torch.nn.SyncBatchNorm) for kind in kinds)
    assert not any(issubclass(kind, torch.nn.BatchNorm2d) for kind in kinds)


@pytest.mark.parametrize("name", BUNDLES)
def test_every_parameter_has_a_gradient(name):
    """torch's `DistributedDataParallel` waits for each of them."""
    parser = ConfigParser(
        yaml.safe_load((find_bundle(name).root / "configs" / "inference.yaml").read_text(encoding="utf-8"))
    )
    with torch.device("meta"):  # shapes alone: nothing is computed
        network = parser.get_parsed_content("network_def")
        network(torch.rand(2, 1, 96, 96)).sum().backward()
    assert [name for name, value in network.named_parameters() if value.grad is None] == []
