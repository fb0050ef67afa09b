"""The start of a training run: from ImageNet weights, or from the checkpoint of an earlier run."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from monai.handlers import CheckpointLoader

from lungfield.bundles.weights import load_state, noted_preparation, require_preparation
from lungfield.errors import BundleError
from lungfield.training.distributed import from_all, is_first

CHECKPOINTS = "checkpoint_epoch=*.pt"


def encoder_weights(pretrained: bool | str | Path, *others: str | Path | None) -> bool | str | Path:
    """The initial weights of an encoder: ImageNet weights (True, or a file), or random ones (False).

    `pretrained` is as the user gave it; MONAI's command line passes `false` as text. With any of the
    `others`, files whose weights replace the encoder's, nothing is downloaded.
    """
    if any(other is not None for other in others):
        return False
    if str(pretrained).lower() in ("true", "false"):
        return str(pretrained).lower() == "true"
    return pretrained


def refuse_other_run(resume_from: str | Path | None, ckpt_dir: str | Path, output_dir: str | Path) -> None:
    """Refuse to train in the folders of another run, unless that run is resumed.

    Raises:
        BundleError: a file of another run would be replaced; the message names it.
    """
    ckpt_dir, output_dir = Path(ckpt_dir), Path(output_dir)
    if resume_from is not None and Path(resume_from).resolve().parent == ckpt_dir.resolve():
        return
    left = [*ckpt_dir.glob("best_model.pt"), *ckpt_dir.glob(CHECKPOINTS), *output_dir.glob("history.csv")]
    if left:
        raise BundleError(
            f"{left[0]} belongs to another training. Give another --output_dir, delete that run, or resume "
            f"it with --resume_from and one of its {CHECKPOINTS}."
        )


def resume(path: str | Path | None, checkpoints: Any, ckpt_dir: str | Path) -> None:
    """Continue a run from a checkpoint of an earlier one; with None, do nothing.

    The whole state in the checkpoint is restored, including the best score and the remaining patience.
    Of the schedule only the position is restored; its length is this run's, so that a run can be resumed with
    more epochs than it was started with.

    Args:
        path: a checkpoint_epoch=*.pt file of that run.
        checkpoints: the `ignite.handlers.Checkpoint` that writes such files; its `to_save` has network,
            optimizer, lr_scheduler, trainer and any further state.
        ckpt_dir: where this run saves, and where the earlier run's best weights are copied to.

    Raises:
        BundleError: the file does not exist or is no such checkpoint, the run had other image sizes or
            another number of steps per epoch, or it has ended already.
    """
    if path is None:
        return
    advice = f"Look for {CHECKPOINTS} in its ckpt_dir."
    state = load_state(path, what="checkpoint to go on from", advice=advice)
    parts = dict(checkpoints.to_save)
    missing = [name for name in parts if name not in state]
    if missing:
        raise BundleError(f"{path} is no checkpoint to go on from: it lacks {', '.join(missing)}. {advice}")
    network: Any = getattr(parts["network"], "module", parts["network"])  # without DistributedDataParallel
    require_preparation(state["network"], noted_preparation(network.state_dict()), path)
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
        # The best score of deleted weights would keep worse weights from being saved.
        parts.pop("best_weights", None)
    CheckpointLoader(str(path), parts, map_location="cpu").attach(trainer)


def _bring_best_weights(earlier: Path, now: Path) -> bool:
    """Copy the best weights of an earlier run to the folder of this one; False if there are none.

    Only the first of several processes copies them; all get the result, as they must agree on the best score.
    """
    source, target = earlier / "best_model.pt", now / "best_model.pt"
    if is_first() and not target.is_file() and source.is_file():
        now.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
    return from_all(target.is_file())[0]


class _PlaceInSchedule:
    """Restores only the position in a schedule from a saved state."""

    def __init__(self, scheduler: Any) -> None:
        self.scheduler = scheduler

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for name in ("last_epoch", "_step_count", "_last_lr"):
            setattr(self.scheduler, name, state[name])
