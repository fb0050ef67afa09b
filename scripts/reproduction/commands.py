"""The calls of `monai.bundle` that train and measure a run, as a user could type them."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from reproduction.data import folder_of
from reproduction.plan import PlanError
from reproduction.runs import Run, Stage, stage_settings

_PRETRAINED = re.compile(r"> pretrained: '?(.*?)'?$", re.MULTILINE)


def training(run: Run, stage: Stage, data: Path, *, device: str, pretrained: str) -> list[str]:
    """The call that trains a stage, from where it stopped or from the stage before.

    Args:
        run: the run.
        stage: the stage as it stands; the one before it is finished.
        data: folder of the sets, in the recipe's split.
        device: 'auto' or a name that torch knows.
        pretrained: 'true', 'false' or a file: what encoders start from.
    """
    options: dict[str, Any] = dict(run.recipe.stages[stage.number - 1]) | dict(run.variant.overrides)
    options |= {
        "dataset_dir": folder_of(data, run.key.data),
        "output_dir": stage.folder,
        "seed": run.key.seed,
        # The weights at the end of the schedule are measured: no choice is made on the validation images.
        "early_stop_patience": stage.epochs,
    }
    if run.variant.encoder:
        options["pretrained"] = pretrained
    if stage.checkpoint is not None:
        options["resume_from"] = stage.checkpoint
    elif stage.number > 1:
        options["initial_weights"] = run.stages[stage.number - 2].checkpoint
    return _call("training", run, ["train.yaml"], options, device)


def evaluation(run: Run, dataset: str, data: Path, *, device: str) -> list[str]:
    """The call that measures a trained run on a set's test section; `data` as in `training`."""
    last = run.stages[-1]
    settings = stage_settings(run.recipe, run.variant, last.number)
    options: dict[str, Any] = dict(run.variant.overrides) | {
        "dataset_dir": folder_of(data, dataset),
        "section": "test",
        "output_dir": run.evaluation(dataset),
        "checkpoint": last.checkpoint,
        "image_size": settings["image_size"],
        "num_workers": settings.get("num_workers", 0),
    }
    return _call("evaluating", run, ["train.yaml", "evaluate.yaml"], options, device)


def encoder_start(run: Run) -> str | None:
    """What the encoder of a run started from: 'true', 'false' or a file; None where that is not told.

    MONAI logs every override at the start of a training.
    """
    log = run.folder / "stage-1" / "run.log"
    if not run.variant.encoder or not log.is_file():
        return None
    match = _PRETRAINED.search(log.read_text(encoding="utf-8", errors="replace"))
    return _normal(match[1]) if match else None


def check_encoders(runs: list[Run], pretrained: str) -> None:
    """Make sure that no run goes on from other encoder weights than it started with.

    Raises:
        PlanError: one did; results of both kinds must not be mixed under one name.
    """
    for run in runs:
        before = encoder_start(run)
        if before is not None and before != _normal(pretrained):
            raise PlanError(
                f"{run.folder} was started with --pretrained {before}, and {pretrained} is asked for. "
                f"Give --pretrained {before}, or another --output."
            )


def _normal(pretrained: str) -> str:
    return pretrained.lower() if pretrained.lower() in ("true", "false") else pretrained


def _call(action: str, run: Run, names: list[str], options: Mapping[str, Any], device: str) -> list[str]:
    configs = [run.variant.configs / name for name in names]
    if run.recipe.config is not None:
        configs.insert(1, run.recipe.config)
    if device != "auto":
        options = {**options, "device": f"$torch.device('{device}')"}
    words = [sys.executable, "-W", "ignore", "-m", "monai.bundle", "run", action]
    words += ["--config_file", str([str(config) for config in configs])]
    for key, value in options.items():
        words += [f"--{key}", value if isinstance(value, str) else _text(value)]
    return words


def _text(value: Any) -> str:
    """A value as MONAI's command line reads it, which is as Python would."""
    if isinstance(value, Path):
        return str(value.absolute())
    return str(value) if isinstance(value, bool) else json.dumps(value)
