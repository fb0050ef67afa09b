"""What a bundle's config needs of the command line that runs it: the bundle's folder, overrides that exist.

MONAI takes an override with a typing error without a word, and its search for files starts at the working
directory. The functions here are called by the configs' first lines, before anything is built.
"""

from __future__ import annotations

import ast
import difflib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from lungfield.bundles.registry import find_bundle
from lungfield.errors import BundleError

#: Parameters of `monai.bundle run` itself, which are no overrides.
_RUN_PARAMETERS = frozenset(
    ("run_id", "init_id", "final_id", "meta_file", "config_file", "logging_file", "tracking", "args_file")
)


def bundle_root(name: str) -> str:
    """The folder of the bundle that is being run, from any working directory.

    Taken from `--config_file` where the call has one, so that a copy of a bundle uses its own files; else
    the shipped bundle of that name.
    """
    files = _config_files(sys.argv)
    if files and files[0].parent.name == "configs":
        return str(files[0].resolve().parents[1])
    return str(find_bundle(name).root)


def check_overrides(argv: Sequence[str] | None = None) -> None:
    """Refuse command-line overrides whose first part no config file knows.

    Raises:
        BundleError: names the override and the nearest that exists.
    """
    argv = sys.argv if argv is None else argv
    files = _config_files(argv)
    if not files:
        return
    known: set[str] = set()
    for file in files:
        known |= set(yaml.safe_load(file.read_text(encoding="utf-8")))
    for key in _options(argv):
        top = key.replace("::", "#").split("#")[0].replace("-", "_")
        if top in _RUN_PARAMETERS or top in known:
            continue
        near = difflib.get_close_matches(top, sorted(known | _RUN_PARAMETERS), n=1)
        hint = f" Did you mean --{near[0]}?" if near else ""
        raise BundleError(f"--{key} is not known to {' + '.join(file.name for file in files)}.{hint}")


def _options(argv: Sequence[str]) -> dict[str, Any]:
    """The `--key value` and `--key=value` pairs of a command line."""
    options: dict[str, Any] = {}
    for position, word in enumerate(argv):
        if not word.startswith("--"):
            continue
        key, equals, value = word[2:].partition("=")
        if not equals:
            value = argv[position + 1] if position + 1 < len(argv) else ""
        options[key] = value
    return options


def _config_files(argv: Sequence[str]) -> list[Path]:
    value = _options(argv).get("config_file", "")
    if value.startswith(("[", "(")):
        try:
            names = ast.literal_eval(value)
        except (ValueError, SyntaxError):
            names = [name.strip(" '\"") for name in value.strip("[]()").split(",")]
    else:
        names = [name for name in value.split(",") if name]
    files = [Path(name) for name in names]
    return [file for file in files if file.is_file()]
