"""What a bundle's config asks of the call that reads it: the bundle's folder, and overrides that exist.

MONAI tells an expression neither which file it stands in nor what was overridden, and takes an override with
a typing error without a word. The functions here find out from MONAI's own objects, never from `sys.argv`,
which may be that of any program. The configs call them in their first lines, before anything is built.
"""

from __future__ import annotations

import difflib
import gc
import inspect
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

from monai.bundle import ConfigParser, ConfigWorkflow, create_workflow, run, update_kwargs
from monai.utils import ensure_tuple

from lungfield.errors import BundleError


def bundle_root(name: str) -> str:
    """The folder of the bundle whose config is being read, from any working directory.

    A workflow of MONAI remembers the folder of its first config file. A bare `ConfigParser` does not.

    Args:
        name: the bundle that the config was written for, to name it in the advice.

    Raises:
        BundleError: the folder cannot be told. The shipped bundle of that name is no substitute: its weights
            are those of another network, or of another training.
    """
    parser = next(frame.f_locals["self"] for frame in _callers() if _is(frame, ConfigParser))
    # The parser does not know its workflow, and whoever asks it may have left the workflow's methods.
    workflows = (one for one in gc.get_objects() if issubclass(type(one), ConfigWorkflow))
    folder = next((one.config_root_path for one in workflows if vars(one).get("parser") is parser), None)
    if folder is None:
        raise BundleError(
            "MONAI's ConfigParser does not tell which file a config was read from. Set the bundle's folder "
            "before anything is built: parser['bundle_root'] = FOLDER (for the shipped one, "
            f"str(lungfield.bundles.find_bundle({name!r}).root)), or use monai.bundle.create_workflow."
        )
    # Links are not followed: a folder of its own weights may share another's configs.
    configs = Path(os.path.abspath(folder))  # noqa: PTH100
    if configs.name != "configs" or not configs.is_dir():
        raise BundleError(
            f"The first config file lies in {configs}, which is not the folder 'configs' of a bundle: list "
            "the bundle's own config first, or give the bundle's folder by --bundle_root."
        )
    return str(configs.parent)


def check_overrides() -> None:
    """Refuse what `monai.bundle run` and `create_workflow` were told to override and no config file knows.

    What stands in an args file counts as well. A workflow that is built in Python without either has no
    command line, and is not checked.

    Raises:
        BundleError: names the override and the nearest that exists.
    """
    call = next((frame for frame in _callers() if frame.f_code is create_workflow.__code__), None)
    if call is None:
        return
    given = call.f_locals
    parameters = set(inspect.signature(given["workflow_class"]).parameters)
    check_keys(given["kwargs"], given["config_file"], parameters)
    check_keys(update_kwargs(given["args_file"]), given["config_file"], parameters, given["args_file"])


def check_keys(
    keys: Iterable[str], config_file: Any, parameters: Iterable[str] = (), args_file: Any = None
) -> None:
    """Refuse keys whose first part neither the config files nor `monai.bundle run` know.

    Args:
        keys: such as 'train::trainer::max_epochs'.
        config_file: the config's path, or several.
        parameters: of the workflow, beside those of MONAI's own.
        args_file: the file that the keys stand in; None for those of a command line.

    Raises:
        BundleError: names the key and the nearest that exists.
    """
    functions = (run, create_workflow, ConfigWorkflow)
    known = {name for function in functions for name in inspect.signature(function).parameters}
    known |= set(parameters) | set(ConfigParser.load_config_files(config_file))
    for key in keys:
        top = key.replace("#", "::").split("::")[0].removeprefix("+")
        if top in known:
            continue
        near = difflib.get_close_matches(top, sorted(known), n=1)
        place, dashes = (f" in {args_file}", "") if args_file else ("", "--")
        files = " + ".join(Path(file).name for file in ensure_tuple(config_file))
        hint = f" Did you mean {dashes}{near[0]}?" if near else ""
        raise BundleError(f"{dashes}{key}{place} is not known to {files}.{hint}")


def _callers() -> Iterator[FrameType]:
    """The calls that led here, the innermost first."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        yield frame
        frame = frame.f_back


def _is(frame: FrameType, kind: type) -> bool:
    """Whether a call is that of a method of `kind`."""
    return issubclass(type(frame.f_locals.get("self")), kind)
