"""The start of a training run and the files that it saves: its best weights and its checkpoints."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ignite.engine import Engine, Events
from ignite.handlers import Checkpoint, DiskSaver
from monai.handlers import EarlyStopHandler
from torch import nn

from lungfield.bundles.weights import load_state, noted_preparation, require_preparation
from lungfield.errors import BundleError
from lungfield.training.distributed import from_all, is_first

BEST, CHECKPOINTS = "best_model.pt", "checkpoint_epoch=*.pt"


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
    left = [*ckpt_dir.glob(BEST), *ckpt_dir.glob(CHECKPOINTS), *output_dir.glob("history.csv")]
    if left:
        raise BundleError(
            f"{left[0]} belongs to another training. Give another --output_dir, delete that run, or resume "
            f"it with --resume_from and one of its {CHECKPOINTS}."
        )


class BestWeights(Checkpoint):
    """Saves the weights with the highest key metric as best_model.pt, a plain state dict.

    A handler of the evaluator. MONAI's `CheckpointSaver` removes the old file before it writes the new one,
    and its best score cannot be saved for a resumed run.

    Args:
        save_dir: folder of the file.
        network: the network whose weights are saved.
        key_metric_name: name of the evaluator's key metric.
    """

    def __init__(self, save_dir: str | Path, network: nn.Module, key_metric_name: str) -> None:
        def save(
            checkpoint: Mapping[str, Any], filename: str, metadata: Mapping[str, Any] | None = None
        ) -> None:
            # Built here, as it creates the folder: a refused run leaves none. A function without `remove`,
            # as ignite, too, would remove the old file first.
            DiskSaver(save_dir, require_empty=False)(checkpoint, filename, metadata)

        super().__init__({"network": network}, save, filename_pattern=BEST, score_name=key_metric_name)

    def attach(self, engine: Engine) -> None:
        """Save after the epochs of `engine`, the evaluator."""
        engine.add_event_handler(Events.EPOCH_COMPLETED, self)


@dataclass
class ResumableCheckpoints:
    """Saves checkpoint_epoch=N.pt, of which the last two are kept, and resumes a run from such a file.

    A handler of the trainer. The whole state is restored, including the best score and the remaining
    patience. Of the schedule only the position is restored; its length is this run's, so that a run can be
    resumed with more epochs than it was started with.

    Attributes:
        save_dir: where this run saves, and where the earlier run's best weights are copied to.
        save_dict: network, averaged_network, optimizer and lr_scheduler; the trainer is added.
        validation_handlers: those of the evaluator, for the best score and the remaining patience. MONAI's
            `EarlyStopHandler` among them gets its trainer, which is built after the evaluator.
        save_interval: number of epochs between two files; 0 writes none.
        resume_from: a checkpoint_epoch=*.pt file of an earlier run; None for a new run.

    Raises:
        BundleError: when it is attached: the file `resume_from` does not exist or is no such checkpoint, its
            run had other image sizes or another number of steps per epoch, or it has ended already.
    """

    save_dir: str | Path
    save_dict: dict[str, Any]
    validation_handlers: list[Any]
    save_interval: int = 1
    resume_from: str | Path | None = None

    def attach(self, engine: Engine) -> None:
        """Save after the epochs of `engine`, the trainer; first restore the state in `resume_from`."""
        parts = {**self.save_dict, "trainer": engine}
        for handler in self.validation_handlers:
            if isinstance(handler, EarlyStopHandler):
                handler.set_trainer(engine)
                parts["early_stopping"] = handler._handler  # ignite's, which has a state
            elif isinstance(handler, BestWeights):
                parts["best_weights"] = handler
        if self.resume_from is not None:
            _resume(Path(self.resume_from), dict(parts), Path(self.save_dir))
        if self.save_interval:
            folder = DiskSaver(self.save_dir, require_empty=False)
            # Two, as the older one is removed before the new one is written.
            save = Checkpoint(
                parts, folder, score_function=lambda one: one.state.epoch, score_name="epoch", n_saved=2
            )
            engine.add_event_handler(Events.EPOCH_COMPLETED(every=self.save_interval), save)


def _resume(path: Path, parts: dict[str, Any], save_dir: Path) -> None:
    advice = f"Look for {CHECKPOINTS} in its ckpt_dir."
    state = load_state(path, what="checkpoint to go on from", advice=advice)
    missing = [name for name in parts if name not in state]
    if missing:
        raise BundleError(f"{path} is no checkpoint to go on from: it lacks {', '.join(missing)}. {advice}")
    network: Any = getattr(parts["network"], "module", parts["network"])  # without DistributedDataParallel
    require_preparation(state["network"], noted_preparation(network.state_dict()), path)
    now, then = parts["trainer"].state, state["trainer"]
    steps, steps_then = now.epoch_length, then["epoch_length"]
    if steps != steps_then:
        raise BundleError(
            f"An epoch had {steps_then} steps in the run of {path}, and would have {steps} now. Give the "
            "same data, --batch_size and number of processes."
        )
    epochs = then["iteration"] // steps
    if epochs >= now.max_epochs:
        raise BundleError(f"{path} has {epochs} epochs behind it already. Give more by --max_epochs.")
    then["max_epochs"] = now.max_epochs
    if parts.get("averaged_network") is parts["network"]:  # nothing is averaged in this run
        del parts["averaged_network"]
    if "best_weights" in parts and not _copy_best(path.with_name(BEST), save_dir / BEST):
        # The best score of deleted weights would keep worse weights from being saved.
        del parts["best_weights"]
    schedule = parts.pop("lr_scheduler")
    for name in ("last_epoch", "_step_count", "_last_lr"):
        setattr(schedule, name, state["lr_scheduler"][name])
    Checkpoint.load_objects(parts, state)


def _copy_best(source: Path, target: Path) -> bool:
    """Copy the best weights of an earlier run to the folder of this one; False if there are none.

    Only the first of several processes copies them; all get the result, as they must agree on the best score.
    """
    if is_first() and not target.is_file() and source.is_file():
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
    return from_all(target.is_file())[0]
