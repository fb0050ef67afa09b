"""What import-linter cannot see: the names of lungfield in the configs, which MONAI imports at run time."""

import re
from functools import reduce
from importlib import import_module

import pytest

from lungfield.bundles import shipped

#: The rooms whose names configs may use: what is above them belongs to commands and servers.
ROOMS = {"bundles", "datasets", "excepthook", "networks", "training", "transforms"}

CONFIGS = sorted(shipped("bundles").glob("*/configs/*.yaml"))
SOURCES = sorted(shipped("bundles").glob("source/*.yaml"))

IMPORTED = re.compile(r"\$from (lungfield[\w.]*) import (\w+)|\$import (lungfield[\w.]*) as (\w+)")
DOTTED = re.compile(r"\blungfield(?:\.\w+)+")


def text_of(path):
    """A config without comments, and without what Jinja fills in."""
    text = re.sub(r"\.?<[<%].*?[%>]>", "", path.read_text(encoding="utf-8"))
    return re.sub(r"(^|\s)#.*", "", text)


def imported(text):
    """What the imports of a config call the things of lungfield: dotted names by name."""
    found = IMPORTED.findall(text)
    return {alias or name: module or f"{package}.{name}" for package, name, module, alias in found}


def names_in(path):
    """The dotted names of lungfield in a config, those that it reaches by its imports among them.

    A config that goes on top of train.yaml uses the imports there.
    """
    text = text_of(path)
    aliases = imported(text_of(path.with_name("train.yaml"))) | imported(text)
    reached = {
        f"{target}.{attribute}"
        for alias, target in aliases.items()
        for attribute in re.findall(rf"(?<![\w.@]){alias}\.(\w+)", re.sub(r"\$(from|import) .*", "", text))
    }
    return set(DOTTED.findall(text)) | set(imported(text).values()) | reached


def resolve(name):
    """The object of a dotted name, as MONAI finds it: the longest module, then its attributes."""
    parts = name.split(".")
    for count in range(len(parts), 0, -1):
        module = ".".join(parts[:count])
        try:
            return reduce(getattr, parts[count:], import_module(module))
        except ModuleNotFoundError as error:
            if error.name != module:
                raise
    raise ModuleNotFoundError(name)


def test_configs_and_their_sources_are_looked_at():
    assert len(CONFIGS) > 5 * len(SOURCES) > 0
    train = next(path for path in CONFIGS if path.parts[-3:] == ("unet", "configs", "train.yaml"))
    assert {
        "lungfield.networks.UNet",
        "lungfield.bundles.shipped",
        "lungfield.bundles.command_line",
        "lungfield.bundles.command_line.check_overrides",
        "lungfield.training.history.log_epoch",
    } < names_in(train)
    multi_gpu = next(path for path in SOURCES if path.name == "multi_gpu_train.yaml")
    assert "lungfield.training.distributed.parallel" in names_in(multi_gpu)


@pytest.mark.parametrize("path", CONFIGS + SOURCES, ids=lambda path: f"{path.parts[-3]}-{path.name}")
def test_names_in_a_config_exist_and_lie_where_configs_may_look(path):
    for name in names_in(path):
        assert name.split(".")[1] in ROOMS, f"{path.name} must not use {name}"
        assert resolve(name) is not None, name
