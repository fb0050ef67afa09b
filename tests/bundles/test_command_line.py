"""A config's bundle is the one that it lies in, however it is read; overrides have to exist."""

import json
import os
import shutil
import subprocess
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
    (folder / "train.yaml").write_text("output_dir: x\ntrain: {trainer: {max_epochs: 1}}\n")
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


def run_monai(*words, cwd):
    return subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "monai.bundle", "run", *map(str, words)],
        cwd=cwd,
        env=os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        check=False,
    )


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


def test_the_command_line_runs_the_bundle_of_its_args_file(small, tmp_path):
    args = tmp_path / "a.json"
    args.write_text(json.dumps({"config_file": str(small), "output_dir": "y"}))
    done = run_monai("--args_file", args, cwd=tmp_path)
    assert f"root is {small.parents[1]} y" in done.stdout, done.stderr


@pytest.mark.parametrize(
    ("given", "words", "message"),
    [
        ({}, ["--outputdir=z"], "--outputdir is not known to run.yaml. Did you mean --output_dir?"),
        ({"outputdir": "z"}, [], "outputdir in a.json is not known to run.yaml. Did you mean output_dir?"),
    ],
)
def test_the_command_line_refuses_what_is_misspelt(given, words, message, small, tmp_path):
    (tmp_path / "a.json").write_text(json.dumps({"config_file": str(small)} | given))
    done = run_monai("--args_file", "a.json", *words, cwd=tmp_path)
    assert done.returncode != 0
    assert f"lungfield: {message}\n" == done.stderr.splitlines(keepends=True)[-1]
    assert "Traceback" not in done.stderr
    assert "root is" not in done.stdout


def test_known_keys_pass(configs):
    both = [str(configs / "train.yaml"), str(configs / "evaluate.yaml")]
    check_keys(["output_dir", "section", "validate::dataset::data"], both)
    check_keys(["train::trainer::max_epochs", "train#trainer#max_epochs", "+train::x", "meta_file"], both[0])
    check_keys(["mine"], both[0], ["mine"])


@pytest.mark.parametrize("key", ["outputdir", "output_dirs", "trian::trainer::max_epochs", "section"])
def test_unknown_keys_are_named_with_what_is_near(configs, key):
    with pytest.raises(BundleError) as caught:
        check_keys([key], str(configs / "train.yaml"))
    assert f"--{key}" in str(caught.value)
    assert ("Did you mean" in str(caught.value)) == (key != "section")
