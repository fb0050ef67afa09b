"""What the bundles' configs need around `monai.bundle run`: places, and a clear word when a call is wrong.

MONAI takes an override with a typing error without a word, and its search for files starts at the working
directory. The functions here are called by the configs' first lines, before anything is built.
"""

from __future__ import annotations

import ast
import difflib
import logging
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from lungfield.errors import BundleError, DataError, LungfieldError, first_line
from lungfield.inference.registry import find_bundle

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


def require_file(path: str | Path, *, what: str, advice: str) -> str:
    """Return `path` where it is a file.

    Raises:
        BundleError: it is not there; says what is missing and `advice`.
    """
    if not Path(path).is_file():
        raise BundleError(f"{what} is missing: {path}. {advice}")
    return str(path)


def load_weights(network: Any, path: str | Path | None, *, bundle_root: str | Path = ".") -> Any:
    """Load a state dict, or the (averaged) network in a checkpoint of training, and return the network.

    Args:
        network: a torch module.
        path: a file that `torch.load(weights_only=True)` reads; 'shipped' for models/model.pt of the bundle;
            None leaves the network as it is.
        bundle_root: folder of the bundle.

    Raises:
        BundleError: the file is missing, holds no weights, or those of another network.
    """
    if path is None:
        return network
    if path == "shipped":
        path = Path(bundle_root) / "models" / "model.pt"
    state = _load_state(path, what="file of weights", advice="Give the path of a model.pt, or train first.")
    try:
        network.load_state_dict(weights_in(state))
    except Exception as error:
        raise BundleError(
            f"{path} does not hold the weights of {type(network).__name__}: {first_line(error)}"
        ) from error
    return network


def weights_in(state: dict[str, Any]) -> dict[str, Any]:
    """The state dict in a checkpoint of training, averaged where there is one, or what is one itself."""
    found: dict[str, Any] = state.get("averaged_network", state.get("network", state))
    return found


def encoder_weights(pretrained: bool | str | Path, *others: str | Path | None) -> bool | str | Path:
    """What an encoder is to start from: ImageNet weights (True, or a file), or random ones (False).

    Args:
        pretrained: as the user gave it; MONAI's command line hands `false` on as text.
        others: files whose weights replace the encoder's anyway; with any of them nothing is fetched.
    """
    if any(other is not None for other in others):
        return False
    if str(pretrained).lower() in ("true", "false"):
        return str(pretrained).lower() == "true"
    return pretrained


def _load_state(path: str | Path, *, what: str, advice: str) -> Any:
    import torch

    require_file(path, what=f"The {what}", advice=advice)
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise BundleError(f"{path} cannot be read as a {what} ({type(error).__name__}). {advice}") from error


def resume(path: str | Path | None, checkpoints: Any, ckpt_dir: str | Path) -> None:
    """Let a run go on where the checkpoint of an earlier one stopped; None starts afresh.

    All that the checkpoints hold is taken over, the best score so far and the patience that is left among it.
    Of the schedule only the place is: its length stays that of this run, so that a run can be resumed with
    more epochs than it was started with.

    Args:
        path: a checkpoint_epoch=*.pt file of that run.
        checkpoints: the `ignite.handlers.Checkpoint` that writes such files; its `to_save` has network,
            optimizer, lr_scheduler, trainer and whatever else there is to go on with.
        ckpt_dir: where this run saves, and where the earlier one's best weights are taken to.

    Raises:
        BundleError: there is no such file, it is no checkpoint of such a run, that run had another number of
            steps an epoch, or it is at its end already.
    """
    if path is None:
        return
    from monai.handlers import CheckpointLoader

    advice = "Look for checkpoint_epoch=*.pt in its ckpt_dir."
    state = _load_state(path, what="checkpoint to go on from", advice=advice)
    parts = dict(checkpoints.to_save)
    missing = [name for name in parts if name not in state]
    if missing:
        raise BundleError(f"{path} is no checkpoint to go on from: it lacks {', '.join(missing)}. {advice}")
    trainer = parts["trainer"]
    steps, steps_then = trainer.state.epoch_length, state["trainer"]["epoch_length"]
    if steps != steps_then:
        raise BundleError(
            f"An epoch had {steps_then} steps in the run of {path}, and would have {steps} now. Give the "
            "same data, --batch_size and number of processes."
        )
    epochs = state["trainer"]["iteration"] // steps
    if epochs >= trainer.state.max_epochs:
        raise BundleError(f"{path} has {epochs} epochs behind it already. Give more by --max_epochs.")
    if parts.get("averaged_network") is parts["network"]:  # nothing is averaged in this run
        parts.pop("averaged_network", None)
    parts["lr_scheduler"] = _PlaceInSchedule(parts["lr_scheduler"])
    if not _bring_best_weights(Path(path).parent, Path(ckpt_dir)):
        # A record of weights that are gone would keep others from being saved.
        parts.pop("best_weights", None)
    CheckpointLoader(str(path), parts, map_location="cpu").attach(trainer)


def _bring_best_weights(earlier: Path, now: Path) -> bool:
    """Take the best weights of an earlier run to where this one writes; False if there are none.

    Of several processes the first one does so, and all hear how it ended: they must agree on what is best.
    """
    from lungfield.inference.distributed import from_all, is_first

    source, target = earlier / "best_model.pt", now / "best_model.pt"
    if is_first() and not target.is_file() and source.is_file():
        now.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
    return from_all(target.is_file())[0]


class _PlaceInSchedule:
    """Takes the place in a schedule from a saved state, and leaves everything else of it."""

    def __init__(self, scheduler: Any) -> None:
        self.scheduler = scheduler

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for name in ("last_epoch", "_step_count", "_last_lr"):
            setattr(self.scheduler, name, state[name])


def list_radiographs(folder: str | Path, output_dir: str | Path) -> list[dict[str, str]]:
    """The radiographs under a folder as MONAI's data list, without those that would stop the run.

    MONAI's engine dies of the first file that it cannot load, so each is read once beforehand; what is
    unreadable or no frontal chest radiograph is left out with a warning in the log. So are earlier results,
    where `output_dir` lies in the folder.

    Raises:
        DataError: the folder is missing, holds nothing that can be segmented, or holds radiographs whose
            masks would have the same name.
    """
    from lungfield.radiograph import find_files, read_radiograph, stem

    folder, output_dir = Path(folder), Path(output_dir)
    usable: dict[Path, str] = {}
    turned_down = 0
    same = folder.resolve() == output_dir.resolve()
    for file in find_files([folder], exclude=[] if same else [output_dir]):
        try:
            read_radiograph(file.path)
        except LungfieldError as error:
            turned_down += 1
            logging.getLogger("lungfield").warning("left out: %s", error)
            continue
        name = file.path.with_name(stem(file.path.name))
        if name in usable:
            raise DataError(f"The masks of {usable[name]} and {file.path} would have one name; rename one.")
        usable[name] = str(file.path)
    if not usable:
        raise DataError(
            f"No radiograph to segment in {folder} ({turned_down} files turned down). Give --dataset_dir a "
            "folder of frontal chest radiographs (DICOM, PNG, JPEG, TIFF or NIfTI)."
        )
    return [{"image": path} for path in usable.values()]


def name_to_save(metadata: dict[str, Any], saver: Any) -> dict[str, Any]:  # noqa: ARG001
    """The name that `SaveImaged(output_name_formatter=...)` builds its own from.

    MONAI cuts off what follows the last point, which of a file named by a UID is part of its name.
    """
    from lungfield.radiograph import stem

    path = Path(metadata["filename_or_obj"])
    return {"subject": str(path.with_name(f"{stem(path.name)}.png"))}


def log_epoch(engine: Any) -> None:
    """Log the metrics of an epoch in one line; for `StatsHandler(epoch_print_logger=...)`."""
    state = engine.state
    figures = {name: float(value) for name, value in state.metrics.items()}
    training = hasattr(engine, "optimizer")
    if training:
        figures["loss of the last batch"] = float(state.output[0]["loss"])
    what = f"{state.epoch} of {state.max_epochs}, training" if training else f"{state.epoch}, validation"
    text = ", ".join(f"{name} {value:.4f}" for name, value in figures.items())
    logging.getLogger("lungfield").info("epoch %s: %s", what, text)


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
