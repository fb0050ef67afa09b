"""What a run of training starts from: ImageNet weights, or the checkpoint of an earlier run."""

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
    """What an encoder is to start from: ImageNet weights (True, or a file), or random ones (False).

    `pretrained` is as the user gave it; MONAI's command line hands `false` on as text. With any of the
    `others`, files whose weights replace the encoder's anyway, nothing is fetched.
    """
    if any(other is not None for other in others):
        return False
    if str(pretrained).lower() in ("true", "false"):
        return str(pretrained).lower() == "true"
    return pretrained


def refuse_other_run(resume_from: str | Path | None, ckpt_dir: str | Path, output_dir: str | Path) -> None:
    """Refuse to train where another run has left its weights or its history, unless that one is resumed.

    Raises:
        BundleError: names a file that this run would replace.
    """
    ckpt_dir, output_dir = Path(ckpt_dir), Path(output_dir)
    if resume_from is not None and Path(resume_from).resolve().parent == ckpt_dir.resolve():
        return
    left = [*ckpt_dir.glob("best_model.pt"), *ckpt_dir.glob(CHECKPOINTS), *output_dir.glob("history.csv")]
    if left:
        raise BundleError(
            f"{left[0]} belongs to an earlier training. Give another --output_dir, delete that run, or go on "
            f"with it by --resume_from and one of its {CHECKPOINTS}."
        )


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
        BundleError: there is no such file, it is no checkpoint of such a run, that run had other images or
            another number of steps an epoch, or it is at its end already.
    """
    if path is None:
        return
    advice = f"Look for {CHECKPOINTS} in its ckpt_dir."
    state = load_state(path, what="checkpoint to go on from", advice=advice)
    parts = dict(checkpoints.to_save)
    missing = [name for name in parts if name not in state]
    if missing:
        raise BundleError(f"{path} is no checkpoint to go on from: it lacks {', '.join(missing)}. {advice}")
    network: Any = getattr(parts["network"], "module", parts["network"])  # without what several processes add
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
        # A record of weights that are gone would keep others from being saved.
        parts.pop("best_weights", None)
    CheckpointLoader(str(path), parts, map_location="cpu").attach(trainer)


def _bring_best_weights(earlier: Path, now: Path) -> bool:
    """Take the best weights of an earlier run to where this one writes; False if there are none.

    Of several processes the first one does so, and all hear how it ended: they must agree on what is best.
    """
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
