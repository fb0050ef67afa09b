"""Commands that the pages show, run elsewhere or not, name only what exists.

Read are the options of `lungfield` and of scripts, the configs, overrides and runs of `monai.bundle`, and the
extras of `pip install`.
"""

import ast
import functools
import inspect
import re
import runpy
import tomllib
from pathlib import Path

import monai.bundle
import pytest
import typer
import yaml
from monai.bundle.utils import DEFAULT_EXP_MGMT_SETTINGS
from pages import ROOT, Block, blocks

from lungfield.bundles import DEFAULT_BUNDLE, find_bundle
from lungfield.bundles.command_line import check_keys
from lungfield.cli.main import app

BLOCKS = blocks()
TRAIN = "--config_file bundles/unet/configs/train.yaml"
COMMANDS = [
    pytest.param(words, id=f"{block}-{number}")
    for block in BLOCKS
    if block.language == "bash"
    for number, words in enumerate(block.commands)
]
NO_COMMANDS = ("", "json", "mermaid", "python", "text", "toml", "xml", "yaml")


@pytest.mark.parametrize("words", COMMANDS)
def test_command_exists(words, monkeypatch):
    monkeypatch.chdir(ROOT)
    monkeypatch.syspath_prepend(ROOT / "scripts")
    check(words)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("lungfield segmant radiographs/ -o out", "no command segmant"),
        ("lungfield segment radiographs/ -o out --formatz mask", "--formatz"),
        ("lungfield segment radiographs/", "output is missing"),
        ("lungfield node --stat node-state", "--stat"),
        ("lungfield node statsu --state node-state", "no command statsu"),
        ("python scripts/promote_weights.py --best best_model.pt bundles/unet", "--best"),
        ("python scripts/worst_cases.py a b", "b is one too many"),
        (
            "python -m monai.bundle run training --config_file bundles/unet/configs/train.yaml --epochs 1",
            "--epochs",
        ),
        (
            "python -m monai.bundle run --config_file bundles/unet/configs/train.yaml --loss::k::m 1",
            "--loss::k::m",
        ),
        (
            "python -m monai.bundle run trainin --config_file bundles/unet/configs/train.yaml",
            "no run trainin",
        ),
        ("python -m monai.bundle run --config_file bundles/unet/configs/train.yml", "train.yml"),
        (
            "torchrun -m monai.bundle run trainin --config_file bundles/unet/configs/train.yaml",
            "no run trainin",
        ),
        ("python -m monai.bundle ckpt_exports --filepath model.ts", "ckpt_exports"),
        ("python -m monai.bundle ckpt_export --file_path model.ts", "no option file_path"),
        ("python docs/none.py", "none.py"),
        ("pip install '.[tests]'", "no extra tests"),
    ],
)
def test_what_does_not_exist_is_found(line, message, monkeypatch):
    monkeypatch.chdir(ROOT)
    (words,) = Block("x.md", 1, "bash", line, None).commands
    with pytest.raises(Exception, match=message):
        check(words)


@pytest.mark.parametrize("block", [block for block in BLOCKS if block.language != "bash"], ids=str)
def test_commands_stand_in_blocks_of_bash_and_python_is_python(block):
    assert block.language in NO_COMMANDS
    if block.language == "python":
        ast.parse(block.text)


def check(words):
    """Raise where a command names something that is not there."""
    match words:
        case ["lungfield", *rest]:
            check_options(typer.main.get_command(app), rest)
        case ["python", script, *rest] if script.startswith("scripts/"):
            source = Path(script).read_text(encoding="utf-8")
            if "import typer" in source:
                check_options(command_of(script), rest)
            for option in (word for word in rest if word.startswith("--")):
                assert option in source or "import typer" in source, option
        case ["python" | "torchrun", *_] if "monai.bundle" in words and "run" in words:
            check_run(words[words.index("run") :])
        case ["python", "-m", "monai.bundle", action, *rest]:
            known = inspect.signature(getattr(monai.bundle.scripts, action)).parameters
            for option in (word[2:] for word in rest if word.startswith("--")):
                assert option in known, f"no option {option}"
        case ["python", script, *_] if script.endswith(".py"):
            assert Path(script).is_file(), script
        case ["pip", "install", *rest]:
            check_extras(rest)


def check_options(command, words):
    while subcommands := getattr(command, "commands", None):
        if words in (["--help"], ["--version"], ["-h"]):
            return
        if command.invoke_without_command and words[0].startswith("-"):
            break
        assert words[0] in subcommands, f"no command {words[0]}"
        command, words = subcommands[words[0]], words[1:]
    if "--help" in words:
        return
    context = command.make_context(command.name, [], resilient_parsing=True)
    context.resilient_parsing = False  # it was made without arguments; now they count
    values, rest, _ = command.make_parser(context).parse_args(args=list(words))
    assert not rest, f"{rest[0]} is one too many"
    for parameter in command.params:
        assert not parameter.required or values.get(parameter.name), f"{parameter.name} is missing"


@functools.cache
def command_of(script):
    content = runpy.run_path(str(ROOT / script), run_name="read")
    if "app" in content:
        return typer.main.get_command(content["app"])
    single = typer.Typer()
    single.command()(content["main"])
    return typer.main.get_command(single)


def check_run(words):
    place = words.index("--config_file") + 1
    value = words[place]
    files = [shipped_config(file) for file in (ast.literal_eval(value) if value[0] == "[" else [value])]
    known = {}
    for file in files:
        known |= yaml.safe_load(file.read_text(encoding="utf-8"))
    assert words[1].startswith("--") or words[1] in known, f"no run {words[1]}"
    tracked = DEFAULT_EXP_MGMT_SETTINGS["mlflow"]["configs"] if "--tracking" in words else {}
    check_keys([word[2:].split("=")[0] for word in words if word.startswith("--")], files, tracked)
    for option in (word for word in words if word.startswith("--") and "::" in word):
        at = known
        for part in option[2:].split("::")[:-1]:  # the last may be an argument that the config leaves out
            keys = dict(enumerate(at)) if isinstance(at, list) else at
            key = int(part) if isinstance(at, list) and part.isdigit() else part
            assert key in keys, option
            at = keys[key]


def shipped_config(file):
    """The config itself, or for a bundle that the reader is to make or to fetch that of the default one."""
    path = ROOT / file
    return path if path.parents[1].is_dir() else find_bundle(DEFAULT_BUNDLE).root / "configs" / path.name


def check_extras(words):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for extras in re.findall(r"\.\[(.*?)\]", " ".join(words)):
        for extra in extras.split(","):
            assert extra in project["optional-dependencies"], f"no extra {extra}"
