"""A config's bundle is the one that it lies in, however it is read; overrides have to exist."""

import json
import runpy
import shutil
import sys

import pytest
import torch
from monai.bundle import ConfigParser, ConfigWorkflow, create_workflow

from lungfield.bundles import find_bundle
from lungfield.bundles.command_line import check_keys
from lungfield.errors import BundleError, user_error

VALUE = 0.125


@pytest.fixture
def configs(tmp_path):
    folder = tmp_path / "mine" / "configs"
    folder.mkdir(parents=True)
    (folder / "evaluate.yaml").write_text("section: test\nvalidate: {dataset: null}\n")
    return folder


@pytest.fixture(scope="session")
def copied(tmp_path_factory):
    """A copy of a shipped bundle with weights of its own: each of them has one value."""
    root = tmp_path_factory.mktemp("copied") / "my_lungs"
    shutil.copytree(find_bundle("unet").root / "configs", root / "configs")
    state = torch.load(find_bundle("unet").weights, weights_only=True)
    (root / "models").mkdir()
    torch.save({key: torch.full_like(value, VALUE) for key, value in state.items()}, root / "models/model.pt")
    return root


def first_weight(workflow_or_parser):
    is_parser = isinstance(workflow_or_parser, ConfigParser)
    parser = workflow_or_parser if is_parser else workflow_or_parser.parser
    return float(next(parser.get_parsed_content("network").parameters()).flatten()[0])


@pytest.fixture
def foreign(monkeypatch):
    """The command line of a program that happens to load a bundle."""
    monkeypatch.setattr(sys, "argv", ["my_script.py", "--lr", "0.1", "--config_file", "settings.yaml"])
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)  # the configs replace it


@pytest.mark.usefixtures("foreign")
class TestRootIsThatOfTheConfig:
    def test_of_a_workflow(self, copied):
        workflow = ConfigWorkflow(str(copied / "configs/inference.yaml"), workflow_type="infer")
        assert first_weight(workflow) == VALUE  # before its initialization
        workflow.initialize()
        assert first_weight(workflow) == VALUE

    def test_of_one_workflow_beside_another(self, copied):
        shipped = ConfigWorkflow(str(find_bundle("unet").inference_config), workflow_type="infer")
        mine = ConfigWorkflow(str(copied / "configs/inference.yaml"), workflow_type="infer")
        assert first_weight(mine) == VALUE != first_weight(shipped)

    @pytest.mark.parametrize(
        ("folder", "file"),
        [
            (".", "configs/inference.yaml"),
            ("configs", "inference.yaml"),
            ("..", "my_lungs/configs/inference.yaml"),
        ],
    )
    def test_from_any_working_directory(self, copied, folder, file, monkeypatch):
        monkeypatch.chdir(copied / folder)
        assert first_weight(create_workflow(config_file=file, workflow_type="infer")) == VALUE

    def test_of_several_files(self, copied, tmp_path):
        more = tmp_path / "more.yaml"
        more.write_text("output_dir: elsewhere\n")
        files = [str(copied / "configs/train.yaml"), str(copied / "configs/evaluate.yaml"), str(more)]
        assert first_weight(create_workflow(config_file=files, workflow_type="train")) == VALUE

    def test_of_an_args_file(self, copied, tmp_path):
        args = tmp_path / "a.json"
        args.write_text(json.dumps({"config_file": str(copied / "configs/inference.yaml")}))
        assert first_weight(create_workflow(args_file=str(args), workflow_type="infer")) == VALUE

    def test_of_configs_that_are_a_link(self, copied, tmp_path):
        (tmp_path / "linked").mkdir()
        (tmp_path / "linked/configs").symlink_to(find_bundle("unet").root / "configs")
        (tmp_path / "linked/models").symlink_to(copied / "models")
        file = str(tmp_path / "linked/configs/inference.yaml")
        assert first_weight(create_workflow(config_file=file, workflow_type="infer")) == VALUE

    def test_a_parser_is_refused_until_it_is_told(self, copied):
        parser = ConfigParser()
        parser.read_config(str(copied / "configs/inference.yaml"))
        with pytest.raises(RuntimeError) as caught:
            parser.get_parsed_content("network")
        assert "parser['bundle_root'] = FOLDER" in str(user_error(caught.value))
        parser["bundle_root"] = str(copied)
        assert first_weight(parser) == VALUE

    def test_a_config_outside_of_a_bundle_is_refused_until_it_is_told(self, copied, tmp_path):
        file = shutil.copy(copied / "configs/inference.yaml", tmp_path)
        with pytest.raises(RuntimeError) as caught:
            first_weight(create_workflow(config_file=file, workflow_type="infer"))
        assert str(tmp_path) in str(user_error(caught.value))
        assert "--bundle_root" in str(user_error(caught.value))
        told = create_workflow(config_file=file, bundle_root=str(copied), workflow_type="infer")
        assert first_weight(told) == VALUE


@pytest.fixture
def run_monai(monkeypatch, tmp_path):
    """Call `python -m monai.bundle run WORDS` in an empty folder, but in this process."""
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)  # the configs replace it
    monkeypatch.chdir(tmp_path)

    def call(*words):
        monkeypatch.setattr(sys, "argv", ["monai.bundle", "run", *map(str, words)])
        runpy.run_module("monai.bundle", run_name="__main__")

    return call


@pytest.fixture
def small(tmp_path):
    """A bundle whose run prints its root."""
    folder = tmp_path / "small" / "configs"
    folder.mkdir(parents=True)
    (folder / "run.yaml").write_text(
        "imports:\n- $import lungfield.bundles.command_line as command_line\n"
        "- $from lungfield.excepthook import report_plainly\n"
        "bundle_root: $command_line.bundle_root('unet')\noutput_dir: x\n"
        "initialize:\n- $report_plainly()\n- $command_line.check_overrides()\n"
        "run:\n- '$print(''root is'', @bundle_root, @output_dir)'\n"
    )
    return folder / "run.yaml"


def test_the_command_line_runs_the_bundle_of_its_args_file(small, tmp_path, run_monai, capsys):
    args = tmp_path / "a.json"
    args.write_text(json.dumps({"config_file": str(small), "output_dir": "y"}))
    run_monai("--args_file", args)
    assert f"root is {small.parents[1]} y" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("given", "words", "message"),
    [
        ({}, ["--outputdir=z"], "--outputdir is not defined in run.yaml. Did you mean --output_dir?"),
        ({"outputdir": "z"}, [], "outputdir in a.json is not defined in run.yaml. Did you mean output_dir?"),
    ],
)
def test_the_command_line_refuses_what_is_misspelt(given, words, message, small, tmp_path, run_monai, capsys):
    """What a process of its own then prints, `test_bundle_runs.py` asks."""
    (tmp_path / "a.json").write_text(json.dumps({"config_file": str(small)} | given))
    with pytest.raises(RuntimeError) as caught:
        run_monai("--args_file", "a.json", *words)
    assert str(user_error(caught.value)) == message
    assert "root is" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("given", "words", "message"),
    [
        ({}, ["--batch_size=0"], "--batch_size is 0: give a whole number, 1 or more."),
        ({}, ["--train::dataloader::batch_size=1.5"], "--train::dataloader::batch_size is 1.5: give a whole"),
        ({"num_workers": -1}, [], "num_workers is -1 in a.json: give a whole number, 0 or more."),
        ({"max_epochs": True}, [], "max_epochs is True in a.json: give a whole number, 1 or more."),
    ],
)
def test_the_command_line_refuses_numbers_that_are_too_small(
    given, words, message, small, tmp_path, run_monai, capsys
):
    with small.open("a") as file:
        file.write("batch_size: 2\nnum_workers: 0\nmax_epochs: 3\ntrain: {dataloader: {batch_size: 2}}\n")
    (tmp_path / "a.json").write_text(json.dumps({"config_file": str(small)} | given))
    with pytest.raises(RuntimeError) as caught:
        run_monai("--args_file", "a.json", *words)
    assert str(user_error(caught.value)).startswith(message)
    assert "root is" not in capsys.readouterr().out


def test_the_command_line_accepts_the_least_numbers_and_expressions(small, tmp_path, run_monai, capsys):
    with small.open("a") as file:
        file.write("batch_size: 2\nnum_workers: 2\nmax_epochs: 3\n")
    given = {"config_file": str(small), "batch_size": 1, "num_workers": 0, "max_epochs": "$1 + 1"}
    (tmp_path / "a.json").write_text(json.dumps(given))
    run_monai("--args_file", "a.json")
    assert "root is" in capsys.readouterr().out


CONFIG = {
    "imports": ["$import os"],
    "output_dir": "x",
    "device": "$torch.device('cpu')",
    "image_size": [64, 64],
    "optimizer": {"_target_": "torch.optim.AdamW", "lr": 0.1},
    "network": {"_target_": "torch.nn.Module"},
    "train": {"trainer": {"_target_": "SupervisedTrainer", "max_epochs": 1}, "handlers": [{"interval": 1}]},
    "initialize": ["$print(1)"],
    "run": ["$print(2)"],
    "training": ["$print(2)"],
    "alone": "$@train::trainer.run()",
}


@pytest.fixture
def train(configs):
    (configs / "train.json").write_text(json.dumps(CONFIG))
    return str(configs / "train.json")


def test_known_keys_pass(configs, train):
    check_keys(["output_dir", "section"], [train, str(configs / "evaluate.yaml")])
    check_keys(
        ["train::trainer::max_epochs", "train#trainer#max_epochs", "+train::handlers", "meta_file"], train
    )
    check_keys(["mine"], train, ["mine"])
    check_keys(["image_size::0", "train::handlers::0::interval"], train)
    # An argument that the config leaves out; any, where there is no telling.
    check_keys(
        ["optimizer::fused", "optimizer::_disabled_", "train::trainer::amp", "network::anything"], train
    )


@pytest.mark.parametrize(
    ("key", "near"),
    [
        ("outputdir", "output_dir"),
        ("trian::trainer::max_epochs", "train::trainer::max_epochs"),
        ("section", None),
        ("trainer::max_epochs", None),
        ("train::max_epochs", None),
        ("train::trainr::max_epochs", "train::trainer::max_epochs"),
        ("train::trainer::max_epoch", "train::trainer::max_epochs"),
        ("train::handlers::1::interval", None),
        ("optimizer::weightdecay", "optimizer::weight_decay"),
        ("output_dir::x", None),
    ],
)
def test_unknown_keys_are_named_with_what_is_near(train, key, near):
    with pytest.raises(BundleError) as caught:
        check_keys([key], train)
    assert f"--{key} is not defined in train.json" in str(caught.value)
    if near:
        assert f"Did you mean --{near}?" in str(caught.value)


@pytest.mark.usefixtures("foreign")
class TestWhatIsRun:
    """By `create_workflow`, as `python -m monai.bundle run NAME` does."""

    @pytest.fixture
    def create(self, configs, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)  # tracking writes the config into `output_dir`
        check = "$__import__('lungfield.bundles.command_line').bundles.command_line.check_overrides()"
        content = CONFIG | {"initialize": [check]}
        (configs / "train.json").write_text(json.dumps(content))
        return lambda **more: create_workflow(
            config_file=str(configs / "train.json"), logging_file=False, workflow_type="train", **more
        )

    @pytest.mark.parametrize("name", ["run", "training", "alone"])
    def test_what_runs_something(self, create, name):
        create(run_id=name)

    @pytest.mark.parametrize("name", ["train", "device", "initialize", "imports", "image_size", "output_dir"])
    def test_what_runs_nothing_is_refused(self, create, name):
        with pytest.raises(RuntimeError) as caught:
            create(run_id=name)
        message = f"The section '{name}' runs nothing. Run one of: run, training, alone."
        assert str(user_error(caught.value)) == message

    def test_what_is_not_there_is_refused(self, create):
        with pytest.raises(RuntimeError) as caught:
            create(run_id="trainin")
        assert "The section 'trainin' does not exist." in str(user_error(caught.value))

    def test_settings_of_tracking_are_known_where_there_is_tracking(self, create, configs):
        tracking = {"handlers_id": {}, "configs": {"experiment_name": "one", "save_execute_config": False}}
        create(tracking=tracking, experiment_name="two")
        with pytest.raises(RuntimeError) as caught:
            create(experiment_name="two")
        assert "--experiment_name is not defined" in str(user_error(caught.value))

    def test_the_config_that_tracking_saves_is_where_it_is_said_to_be(self, create, tmp_path):
        tracking = {"handlers_id": {}, "configs": {"save_execute_config": True}}
        parser = create(tracking=tracking, output_dir=str(tmp_path / "a b")).parser
        (saved,) = (tmp_path / "a b").iterdir()
        assert parser.get_parsed_content("save_execute_config") == str(saved)

    def test_mlflow_has_to_be_installed(self, create, monkeypatch):
        monkeypatch.setitem(sys.modules, "mlflow", None)
        with pytest.raises(RuntimeError) as caught:
            create(tracking="mlflow")
        assert "pip install 'lungfield[mlflow]'" in str(user_error(caught.value))
