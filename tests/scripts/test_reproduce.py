"""The plan, the runner and the report of scripts/reproduce.py."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pytest
import yaml
from PIL import Image

import reproduce
from lungfield.bundles import shipped
from lungfield.datasets import load_data_list
from reproduction import cost
from reproduction.plan import EXPERIMENTS_FILE, PlanError, load_plan
from reproduction.report import Results, difference, write_report

SCRIPTS = Path(__file__).parents[2] / "scripts"

DECLARED = {
    "sets": {"samples": "Samples"},
    "variants": {
        "unet": {"bundle": "unet", "label": "U-Net", "colour": "#333333"},
        "gsconv_gated": {
            "bundle": "gsconv_unet",
            "label": "GSConv (gated)",
            "colour": "#0072B2",
            "overrides": {"network_def::kind": "gated"},
        },
    },
    "recipes": {
        "tiny": {
            "label": "tiny recipe",
            "stages": [
                {"image_size": [32, 32], "max_epochs": 2, "batch_size": 2, "num_workers": 0},
                {"image_size": [48, 48], "max_epochs": 1, "batch_size": 2, "num_workers": 0},
            ],
        }
    },
    "experiments": {
        "versus": {
            "title": "One against the other",
            "paper": {"citation": "A. Someone: A paper", "claims": {"gsconv_gated": {"dice": 0.987}}},
            "recipe": {"quick": "tiny"},
            "variants": ["unet", "gsconv_gated"],
            "measure": [{"train": "all", "test": ["samples"]}],
            "metrics": ["dice", "hd95"],
            "compare": ["dice"],
        }
    },
}


def declare(folder, **changes):
    """Write DECLARED as a file, entries given as path__to__entry replaced, and return its path."""
    content = json.loads(json.dumps(DECLARED))
    for path, value in changes.items():
        *parents, last = path.split("__")
        entry = content
        for parent in parents:
            entry = entry[parent]
        entry[last] = value
    file = folder / "experiments.yaml"
    file.write_text(yaml.safe_dump(content, sort_keys=False))
    return file


@pytest.fixture
def plan(tmp_path):
    return load_plan(declare(tmp_path))


@pytest.fixture
def data(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "samples").symlink_to(shipped("sample_data"), target_is_directory=True)
    return tmp_path / "data"


def fabricate_stage(run, number, epochs):
    folder = run.stage(number)
    folder.mkdir(parents=True, exist_ok=True)
    columns = ["epoch", "train_mean_dice", "train_mean_iou", "train_loss"]
    columns += ["val_mean_dice", "val_mean_iou", "val_loss"]
    with (folder / "history.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        for epoch in range(1, epochs + 1):
            grown = 1 - 0.5 / (epoch + number + run.seed / 5)
            writer.writerow([epoch, grown, grown - 0.1, 1 - grown, grown - 0.02, grown - 0.13, 1.1 - grown])
    with ZipFile(folder / f"checkpoint_epoch={epochs}.pt", "w") as file:
        file.writestr("data.pkl", "weights")


def fabricate_evaluation(run, dice, *, hd95=5.0, further="", values=""):
    """Figures of three test images around a Dice, with further columns."""
    folder = run.evaluation("samples")
    folder.mkdir(parents=True, exist_ok=True)
    lines = [f"id,dataset,dice,hd95,distance_unit,loss{further}"]
    lines += [
        f"{name},samples,{dice + step},{hd95},mm,0.1{values}"
        for name, step in zip("abc", (-0.02, 0, 0.02), strict=True)
    ]
    (folder / "metrics.csv").write_text("\n".join(lines) + "\n")
    (folder / "summary.json").write_text("{}")


def runs(plan, output, *, seeds=None):
    return plan.runs([], "quick", output, seeds)


def rows(plan, output):
    return Results(plan, plan.experiments["versus"], plan.recipes["tiny"], output).rows()


def next_words(run):
    """The options of the next command of a run, by name."""
    _, _, words = next(run.commands(Path("sets"), "auto"))
    return dict(zip(words[7::2], words[8::2], strict=True))


# What is declared -------------------------------------------------------------------------------------------


def test_shipped_experiments_are_sound(tmp_path):
    plan = load_plan(EXPERIMENTS_FILE)
    needed = runs(plan, tmp_path)
    assert len({run.name for run in needed}) == len(needed)
    assert len({variant.colour for variant in plan.variants.values()}) == len(plan.variants)
    assert {variant.bundle for variant in plan.variants.values()} >= {"unet", "amalgamated_unet"}
    assert next(run for run in needed if run.name == "quick/unet/all/seed-0").tests == ["jsrt", "shenzhen"]
    for run in plan.runs([], "full", tmp_path, 1):
        folder = "sets" if run.train == "all" else f"sets/{run.train}"
        assert next_words(run)["--dataset_dir"].endswith(folder)
    with pytest.raises(PlanError, match="no experiment 'young'"):
        plan.select(["young"])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"variants__unet": {"bundle": "unet", "label": "U"}}, r"variants\.unet: .*'colour'"),
        ({"variants__unet__color": "red"}, r"variants\.unet: .*'color'"),
        ({"variants__unet__bundle": "vnet"}, r"variants\.unet: .*'vnet'"),
        ({"experiments__versus__metrics": ["dise"]}, r"versus: there is no metric 'dise'"),
        ({"experiments__versus__variants": ["resnet"]}, r"versus: there is no variant 'resnet'"),
        ({"experiments__versus__recipe": {"slow": "tiny"}}, r"versus: there is no mode 'slow'"),
        ({"experiments__versus__measure": [{"train": "x", "test": []}]}, r"versus: there is no set 'x'"),
    ],
)
def test_mistakes_in_the_file_are_named(tmp_path, changes, message):
    with pytest.raises(PlanError, match=message) as caught:
        load_plan(declare(tmp_path, **changes))
    assert "experiments.yaml" in str(caught.value)


def test_unreadable_file_is_named(tmp_path):
    file = tmp_path / "experiments.yaml"
    file.write_text("sets: [")
    with pytest.raises(PlanError, match=r"experiments\.yaml"):
        load_plan(file)


# How far runs have come -------------------------------------------------------------------------------------


def test_progress_is_read_from_the_files(plan, tmp_path):
    run, other = runs(plan, tmp_path / "out")
    assert run.folder == tmp_path / "out" / "tiny" / "unet" / "all" / "seed-0"
    assert [run.checkpoint(number) for number in run.stages] == [(0, None)] * 2

    fabricate_stage(run, 1, 1)
    assert not run.trained(1)
    assert next_words(run)["--resume_from"].endswith("stage-1/checkpoint_epoch=1.pt")

    shutil.rmtree(run.stage(1))
    fabricate_stage(run, 1, 2)
    assert run.trained(1)
    options = next_words(run)
    assert options["--initial_weights"].endswith("stage-1/checkpoint_epoch=2.pt")
    assert options["--image_size"] == "[48, 48]"
    assert not {"--pretrained", "--device"} & options.keys()

    fabricate_stage(run, 2, 1)
    assert not run.finished
    assert reproduce.state(run) == "partly done"
    assert next_words(run)["--section"] == "test"
    fabricate_evaluation(run, 0.9)
    assert reproduce.state(run) == "done"
    assert not list(run.commands(tmp_path, "auto"))
    assert reproduce.state(other) == "missing"
    assert next_words(other)["--network_def::kind"] == "gated"


def test_half_written_checkpoint_is_passed_over(plan, tmp_path):
    run = runs(plan, tmp_path)[0]
    fabricate_stage(run, 1, 1)
    whole = run.stage(1) / "checkpoint_epoch=1.pt"
    (run.stage(1) / "checkpoint_epoch=2.pt").write_bytes(whole.read_bytes()[:20])
    assert run.checkpoint(1) == (1, whole)


def test_recipes_are_not_mixed(tmp_path):
    """Neither after a change of the recipe, nor with encoders that started from other weights."""
    (run,) = runs(load_plan(declare(tmp_path, experiments__versus__variants=["unet"])), tmp_path)
    next_words(run)
    run.check()
    changed = declare(tmp_path, recipes__tiny__stages=[{"image_size": [32, 32], "max_epochs": 1}])
    with pytest.raises(PlanError, match="was not trained as it is declared now"):
        runs(load_plan(changed), tmp_path)
    plan = load_plan(EXPERIMENTS_FILE)
    (encoder,) = plan.runs(["swaminathan"], "quick", tmp_path)
    assert encoder.options(1)["pretrained"] is False


def test_locked_run_counts_as_running(plan, tmp_path):
    run = runs(plan, tmp_path)[0]
    run.folder.mkdir(parents=True)
    with reproduce.locked(run) as held:
        assert held is not None
        assert reproduce.state(run) == "running"
        reproduce.finish(plan, run, tmp_path, "cpu")  # leaves it to the other one
        assert not run.stage(1).exists()
    assert reproduce.state(run) == "partly done"


def test_own_split_divides_all_images_by_seed(data, tmp_path):
    plan = load_plan(declare(tmp_path, recipes__tiny__split=[4, 4, 3]))
    first, _, second, _ = runs(plan, tmp_path / "out", seeds=2)
    lists = [plan.split(run, data) for run in (first, first, second)]
    read = [json.loads((folder / "samples" / "dataset.json").read_text()) for folder in lists]
    sizes = [len(load_data_list(lists[0], section)) for section in ("training", "validation", "test")]
    assert sum(sizes) == 7
    assert max(sizes) - min(sizes) <= 1
    assert lists[0] == lists[1] != lists[2]
    assert read[0]["test"] != read[2]["test"]
    assert Path(read[0]["test"][0]["image"]).is_file()


def test_foreign_sets_are_not_trained_on(plan, data):
    plan.check_sets(data)
    (data / "other").mkdir()
    (data / "other" / "dataset.json").write_text("{}")
    with pytest.raises(PlanError, match="and no others; it holds other, samples"):
        plan.check_sets(data)


# What is made of it -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dice", "verdict"),
    [
        ({0: (0.90, 0.95)}, "one seed: no claim"),
        ({0: (0.90, 0.95), 1: (0.90, 0.95)}, "2 seeds: no claim"),
        ({0: (0.90, 0.95), 1: (0.91, 0.94), 2: (0.90, 0.95)}, "higher"),
        ({0: (0.95, 0.90), 1: (0.94, 0.91), 2: (0.95, 0.90)}, "lower"),
        ({0: (0.90, 0.95), 1: (0.95, 0.90), 2: (0.92, 0.94)}, "no difference beyond the seeds' spread"),
    ],
)
def test_differences_are_claimed_by_the_rule(plan, tmp_path, dice, verdict):
    for run in runs(plan, tmp_path, seeds=len(dice)):
        fabricate_evaluation(run, dice[run.seed][run.variant.name != "unet"])
    baseline, row = rows(plan, tmp_path)
    found = difference(row, baseline, "dice")
    assert found["verdict"] == verdict
    assert found["seeds"] == str(len(dice))
    means = np.array(list(dice.values())).mean(axis=0)
    assert found["difference"] == f"{means[1] - means[0]:+.4f}"


def test_spread_is_over_seeds_or_else_images(plan, tmp_path):
    first, other, second, _ = runs(plan, tmp_path, seeds=2)
    fabricate_evaluation(first, 0.90)
    fabricate_evaluation(other, 0.95)
    fabricate_evaluation(second, 0.92)
    baseline, row = rows(plan, tmp_path)
    assert (baseline.spread_over(), row.spread_over()) == ("2 seeds", "3 images")
    assert baseline.figure("dice")[1] == pytest.approx(0.02 / 2**0.5)
    assert row.figure("dice")[1] == pytest.approx(0.02)
    assert row.figure("hd95")[2] == "mm"


def test_report_of_a_partly_finished_set(plan, tmp_path):
    done, begun = runs(plan, tmp_path / "out")
    fabricate_stage(done, 1, 2)
    fabricate_stage(done, 2, 1)
    fabricate_evaluation(done, 0.9)
    fabricate_stage(begun, 1, 1)
    to = tmp_path / "docs" / "results"
    written = list(write_report(plan, [], tmp_path / "out", to, tmp_path / "docs" / "figures"))
    text = (to / "versus.md").read_text()
    start = "| Samples | Samples"
    assert f"| U-Net {start} | measured | 0.9000 ± 0.0200 | 5.00 ± 0.00 mm | 3 images |" in text
    assert f"| GSConv (gated) {start} | measured | – | – | – |" in text
    assert "the paper's | 0.987 | – |" in text
    assert "Tiny recipe: 32×32, 2 epochs, batch 2" in text
    assert "This is not the paper's recipe" in text
    pngs = [path for path in written if path.suffix == ".png"]
    assert [path.name for path in pngs] == ["versus-tiny-all-curves.png", "versus-tiny-dice.png"]
    for path in pngs:
        assert np.asarray(Image.open(path).convert("L")).std() > 5
        assert f"../figures/{path.name}" in text
    with (to / "versus.csv").open() as file:
        records = list(csv.DictReader(file))
    assert [(one["variant"], one["dice"], one["hd95"], one["hd95_unit"]) for one in records] == [
        ("unet", "0.9", "5.0", "mm"),
        ("gsconv_gated", "", "", ""),
    ]


def test_structures_beside_the_lungs_are_reported_where_they_were_measured(plan, tmp_path):
    done, other = runs(plan, tmp_path / "out")
    for run, columns, values in (
        (done, ",right_lung_dice,heart_dice,heart_hd95,clavicles_dice", ",0.95,0.875,7.5,"),
        (other, "", ""),
    ):
        fabricate_stage(run, 1, 2)
        fabricate_evaluation(run, 0.9, further=columns, values=values)
    list(write_report(plan, [], tmp_path / "out", tmp_path / "results", tmp_path / "figures"))
    text = (tmp_path / "results" / "versus.md").read_text()
    assert "| Dice | HD95 | heart Dice | heart HD95 |" in text
    assert "| 0.8750 ± 0.0000 | 7.50 ± 0.00 mm |" in text
    assert "lung Dice" not in text
    assert "clavicles" not in text  # nothing was measured
    with (tmp_path / "results" / "versus.csv").open() as file:
        with_heart, without = csv.DictReader(file)
    assert (with_heart["heart_dice"], with_heart["heart_hd95_unit"]) == ("0.875", "mm")
    assert without["heart_dice"] == ""


def test_report_of_nothing(plan, tmp_path):
    with pytest.raises(PlanError, match="There are no runs"):
        list(write_report(plan, [], tmp_path / "out", tmp_path, tmp_path))
    (tmp_path / "out").mkdir()
    (path,) = write_report(plan, [], tmp_path / "out", tmp_path, tmp_path)
    assert "Nothing measured yet." in path.read_text()


def test_cost_is_measured_and_shown(tmp_path, monkeypatch):
    plan = load_plan(declare(tmp_path, experiments__versus__cost=True))
    fabricate_evaluation(runs(plan, tmp_path)[0], 0.9)
    monkeypatch.setattr(cost, "SIZE", (32, 32))
    monkeypatch.setattr(cost, "REPEATS", 2)
    for _ in range(2):  # the second time in place of the first
        cost.measure_costs(plan, tmp_path, "cpu")
    assert tmp_path / "cost.csv" in write_report(plan, [], tmp_path, tmp_path, tmp_path)
    lines = (tmp_path / "cost.md").read_text().splitlines()
    assert len(lines) == 2 + 2 + len(plan.variants)
    assert lines[4].startswith("| U-Net | 7762465 | 32x32 | ")
    assert lines[4] in (tmp_path / "versus.md").read_text()


def test_operations_are_counted():
    """One 3x3 convolution of 1 to 8 channels, two 1x1 ones to 4, and the sums over the neighbourhoods."""
    from lungfield.networks.gsconv import GraphConvolution

    expected = 2 * 32 * 16 * (9 * 8 + 2 * 4 + 9 * 4 + 9 * 8)
    assert cost.count_gflops(GraphConvolution(1, 8), (32, 16)) == pytest.approx(expected / 1e9)


def test_overrides_reach_the_network(plan):
    from lungfield.networks.gsconv import GatedConvolution

    network = cost.build_network(plan.variants["gsconv_gated"])
    assert any(isinstance(module, GatedConvolution) for module in network.modules())


# The real thing ---------------------------------------------------------------------------------------------


@pytest.fixture
def start():
    """Start reproduce.py; what still runs when the test ends is stopped."""
    started = []

    def begin(*words):
        process = subprocess.Popen(
            [sys.executable, str(SCRIPTS / "reproduce.py"), *map(str, words)],
            env=os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield begin
    for process in started:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            process.communicate()


@pytest.mark.slow
def test_error_of_a_training_is_told_and_the_next_run_is_done(start, data, tmp_path):
    stages = [{"image_size": [32, 32], "max_epochs": 1, "loss": "$1 / 0"}]
    file = declare(tmp_path, recipes__tiny__stages=stages)
    process = start("run", data, "--quick", "--experiments", file, "--output", tmp_path / "out")
    output, error = process.communicate()
    assert process.returncode == 1
    assert len(output.splitlines()) == 2
    for line, name in zip(error.splitlines(), ("unet", "gsconv_gated"), strict=True):
        assert line.startswith(f"tiny/{name}/all/seed-0: ")
        assert "exit status 1; full log: " in line


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_stopped_training_goes_on_to_the_end(start, data, tmp_path):
    stages = [{"image_size": [32, 32], "max_epochs": 12, "batch_size": 4, "num_workers": 0}]
    file = declare(tmp_path, recipes__tiny__stages=stages, experiments__versus__variants=["unet"])
    (run,) = runs(load_plan(file), tmp_path / "out")
    words = (data, "--quick", "--experiments", file, "--output", tmp_path / "out")

    def history():
        with (run.stage(1) / "history.csv").open() as file:
            return list(csv.DictReader(file))

    process = start("run", *words)
    while run.checkpoint(1)[0] < 2:
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    assert reproduce.state(run) == "running"
    process.send_signal(signal.SIGINT)
    _, error = process.communicate()
    assert process.returncode == 130
    assert error.strip() == "Stopped. The same command continues from the last checkpoints."
    assert reproduce.state(run) == "partly done"
    before, epochs = history(), run.checkpoint(1)[0]
    assert 2 <= epochs < 12

    process = start("run", *words)
    output, error = process.communicate()
    assert process.returncode == 0, error
    assert f"stage 1 of 1, 12 epochs, resumed after {epochs}" in output
    assert [int(row["epoch"]) for row in history()] == list(range(1, 13))
    assert history()[:epochs] == before[:epochs]
    assert [path.name for path in run.stage(1).glob("checkpoint*")] == ["checkpoint_epoch=12.pt"]
    output, _ = start("status", *words).communicate()
    assert "1 of 1 runs done" in output

    output, _ = start("report", *words[2:], "--to", tmp_path / "to").communicate()
    assert str(tmp_path / "figures" / "versus-tiny-all-curves.png") in output
    assert "| U-Net | Samples | Samples | measured | 0." in (tmp_path / "to" / "versus.md").read_text()


def test_mistakes_end_in_one_line(start, tmp_path):
    process = start("status", tmp_path / "nothing")
    _, error = process.communicate()
    assert process.returncode == 2
    assert error.startswith("reproduce: ")
    assert len(error.splitlines()) == 1
