"""Find a config's bundle folder, and check overrides and the section to run.

MONAI does not give an expression the path of its config file or the overrides, and silently accepts a
misspelt override. These functions read both from MONAI's own objects on the call stack, never from
`sys.argv`, which may belong to any program. Configs call them in their first lines, before anything is built.
"""

from __future__ import annotations

import difflib
import gc
import importlib.util
import inspect
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from pydoc import locate
from types import FrameType
from typing import Any

from monai.bundle import ConfigComponent, ConfigParser, ConfigWorkflow, create_workflow, run, update_kwargs
from monai.bundle.utils import DEFAULT_EXP_MGMT_SETTINGS
from monai.utils import ensure_tuple

from lungfield.errors import BundleError

_LEAST = {"batch_size": 1, "max_epochs": 1, "num_workers": 0}
"""The least values of numbers for which torch's error message names no override."""


def bundle_root(name: str) -> str:
    """The folder of the bundle whose config is being read, from any working directory.

    A workflow of MONAI remembers the folder of its first config file. A bare `ConfigParser` does not.

    Args:
        name: the bundle that the config was written for, for the error message.

    Raises:
        BundleError: the folder cannot be found. The shipped bundle of that name is not used instead: its
            weights belong to another network or another training.
    """
    parser = next(frame.f_locals["self"] for frame in _callers() if _is(frame, ConfigParser))
    # The parser has no reference to its workflow, and the workflow's methods may have returned already. So
    # look among the objects that refer to the parser: the workflow itself or its dictionary of attributes.
    holders = (
        one if isinstance(one, dict) else getattr(one, "__dict__", {}) for one in gc.get_referrers(parser)
    )
    folders = (one.get("config_root_path") for one in holders if one.get("parser") is parser)
    folder = next(filter(None, folders), None)
    if folder is None:
        raise BundleError(
            "MONAI's ConfigParser does not store which file a config was read from. Set the bundle's folder "
            "before anything is built: parser['bundle_root'] = FOLDER (for the shipped one, "
            f"str(lungfield.bundles.find_bundle({name!r}).root)), or use monai.bundle.create_workflow."
        )
    # Links are not followed: a bundle with its own weights may link to another bundle's configs.
    configs = Path(os.path.abspath(folder))  # noqa: PTH100
    if configs.name != "configs" or not configs.is_dir():
        raise BundleError(
            f"The first config file lies in {configs}, which is not the folder 'configs' of a bundle: list "
            "the bundle's own config first, or give the bundle's folder with --bundle_root."
        )
    return str(configs.parent)


def check_overrides() -> None:
    """Refuse overrides and a section to run that no config file defines.

    The overrides are those given to `monai.bundle run` or `create_workflow`, and those in an args file. Of a
    workflow that Python code builds without these two functions, only the section is checked.

    Raises:
        BundleError: an override or the section does not exist (the message names the nearest that does), a
            number is too small, or the package for the tracking is not installed.
    """
    workflow = next((frame.f_locals["self"] for frame in _callers() if _is(frame, ConfigWorkflow)), None)
    call = next((frame for frame in _callers() if frame.f_code is create_workflow.__code__), None)
    if call is not None:
        given = call.f_locals
        from_file = update_kwargs(given["args_file"])
        parameters = set(inspect.signature(given["workflow_class"]).parameters)
        tracking = given["kwargs"].get("tracking") or from_file.get("tracking")
        parameters |= _tracking_settings(tracking)
        check_keys(given["kwargs"], given["config_file"], parameters)
        check_keys(from_file, given["config_file"], parameters, given["args_file"])
        _check_numbers(given["kwargs"])
        _check_numbers(from_file, given["args_file"])
    if workflow is not None:
        _check_run(workflow)
        _name_tracked_config(workflow.parser)


def check_keys(
    keys: Iterable[str], config_file: Any, parameters: Iterable[str] = (), args_file: Any = None
) -> None:
    """Refuse keys that neither the config files define nor `monai.bundle run` accepts.

    Args:
        keys: such as 'train::trainer::max_epochs'. The last part may be an argument that the config omits
            but the class or function that it names accepts.
        config_file: the config's path, or several.
        parameters: of the workflow, in addition to those of MONAI.
        args_file: the file that holds the keys; None for keys of a command line.

    Raises:
        BundleError: a key does not exist; the message names the nearest that does.
    """
    functions = (run, create_workflow, ConfigWorkflow)
    beside = {name for function in functions for name in inspect.signature(function).parameters}
    beside |= set(parameters)
    config = ConfigParser.load_config_files(config_file)
    for key in keys:
        parts = key.removeprefix("+").replace("#", "::").split("::")
        if parts[0] in beside:
            continue
        unknown = _unknown_part(config, parts)
        if unknown is None:
            continue
        place, names = unknown
        near = difflib.get_close_matches(parts[place], sorted(names if place else names | beside), n=1)
        where, dashes = (f" in {args_file}", "") if args_file else ("", "--")
        files = " + ".join(Path(file).name for file in ensure_tuple(config_file))
        right = "::".join([*parts[:place], *near, *parts[place + 1 :]])
        hint = f" Did you mean {dashes}{right}?" if near else ""
        raise BundleError(f"{dashes}{key}{where} is not defined in {files}.{hint}")


def _check_numbers(overrides: Mapping[str, Any], args_file: Any = None) -> None:
    """Refuse overrides of `_LEAST` that are too small or no whole numbers; expressions are not evaluated."""
    for key, value in overrides.items():
        least = _LEAST.get(key.removeprefix("+").replace("#", "::").split("::")[-1])
        if least is None or (isinstance(value, str) and value.startswith(("$", "@"))):
            continue
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            where = f"{key} is {value} in {args_file}" if args_file else f"--{key} is {value}"
            raise BundleError(f"{where}: give a whole number, {least} or more.")


def _unknown_part(config: Any, parts: Sequence[str]) -> tuple[int, set[str]] | None:
    """The index of the first part that is not in the config, and the valid names there; None if all are."""
    for place, part in enumerate(parts):
        if isinstance(config, list) and part.isdecimal() and int(part) < len(config):
            config = config[int(part)]
            continue
        content = config if isinstance(config, dict) else {}
        if part not in content:
            arguments = _arguments(content) if place == len(parts) - 1 else set()
            return None if arguments is None or part in arguments else (place, set(content) | arguments)
        config = content[part]
    return None


def _arguments(component: dict[str, Any]) -> set[str] | None:
    """The argument names of a config's `_target_`; empty for a plain section, None if it accepts any name."""
    if not ConfigComponent.is_instantiable(component):
        return set()
    target = ConfigComponent(component).resolve_module_name()
    target = locate(target) if isinstance(target, str) else target
    try:
        parameters = inspect.signature(target).parameters.values()  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        return None
    return {parameter.name for parameter in parameters} | ConfigComponent.non_arg_keys


def _check_run(workflow: ConfigWorkflow) -> None:
    """Refuse a section that runs nothing: MONAI would build it and report success."""
    config = workflow.parser.get()
    others = {workflow.init_id, workflow.final_id, "imports"}
    known = [name for name, content in config.items() if _runs(content) and name not in others]
    if workflow.run_id not in known:
        what = "runs nothing" if workflow.run_id in config else "does not exist"
        raise BundleError(f"The section '{workflow.run_id}' {what}. Run one of: {', '.join(known)}.")


def _runs(content: Any) -> bool:
    """Whether a section is an expression that runs something, or a list of expressions."""
    if isinstance(content, str):
        return content.startswith("$") and ".run(" in content
    is_list = isinstance(content, list) and bool(content)
    return is_list and all(isinstance(one, str) and one.startswith("$") for one in content)


def _tracking_settings(tracking: Any) -> set[str]:
    """The overrides that experiment tracking accepts: `tracking_uri`, `experiment_name` and others."""
    if tracking is None:
        return set()
    if tracking == "mlflow" and importlib.util.find_spec("mlflow") is None:
        raise BundleError("--tracking mlflow needs MLflow: pip install 'lungfield[mlflow]'.")
    settings = DEFAULT_EXP_MGMT_SETTINGS.get(tracking) if isinstance(tracking, str) else None
    return set((settings or ConfigParser.load_config_files(tracking)).get("configs", {}))


def _name_tracked_config(parser: ConfigParser) -> None:
    """Replace the expression of the saved config's path by the path: MONAI does not evaluate it."""
    saved = parser.get("save_execute_config")
    folder, joint, name = saved.partition(" + '/") if isinstance(saved, str) else ("", "", "")
    if joint and not folder.startswith("$"):
        parser["save_execute_config"] = f"{folder}/{name.removesuffix(chr(39))}"


def _callers() -> Iterator[FrameType]:
    """The frames of the call stack, the innermost first."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        yield frame
        frame = frame.f_back


def _is(frame: FrameType, kind: type) -> bool:
    """Whether a frame is a method call on an instance of `kind`."""
    return issubclass(type(frame.f_locals.get("self")), kind)
