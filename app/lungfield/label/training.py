"""Train a bundle on corrected masks with its own recipe, from its newest weights."""

from __future__ import annotations

import csv
import json
import logging
import subprocess
import sys
import time
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path
from typing import Any

from monailabel.interfaces.datastore import Datastore
from monailabel.interfaces.tasks.train import TrainTask
from monailabel.utils.others.generic import device_list, name_to_device

from lungfield.atomic import write_whole
from lungfield.bundles import Bundle
from lungfield.datasets import SetDescription
from lungfield.datasets.layout import LABELS, Item, finish_set, label_values, start_set
from lungfield.errors import BundleError, DataError
from lungfield.export import save_label_map_png
from lungfield.formats import stem
from lungfield.label.masks import read_label
from lungfield.label.split import Split, divide, divide_and_remember
from lungfield.label.weights import WEIGHTS_NAME, WeightStore
from lungfield.labels import LUNGS
from lungfield.radiograph import read_radiograph

logger = logging.getLogger(__name__)

DATA = "data"
LOG = "training.log"
SUMMARY = "summary.json"
HISTORY = "history.csv"
SPLIT = "split.json"
_METRIC = "val_mean_dice"


@dataclass(frozen=True)
class Correction:
    """A radiograph with a mask from an annotator.

    Attributes:
        id: of the radiograph in the datastore.
        image: file of the radiograph.
        label: file of the mask.
        names: names of the mask's values; None if the annotator gave none.
    """

    id: str
    image: Path
    label: Path
    names: dict[int, str] | None = None


@dataclass(frozen=True)
class Options:
    """The options of a training request; other settings are those of the bundle's train.yaml.

    Attributes:
        max_epochs: number of epochs.
        learning_rate: highest rate of the schedule; the default is a quarter of the recipe's, as the network
            is trained already.
        batch_size: images per step.
        val_split: fraction of the images for validation, in [0, 1); always at least one image. See
            `lungfield.label.split`.
        device: 'cpu', 'cuda', 'cuda:1', ...
    """

    max_epochs: int = 12
    learning_rate: float = 0.0005
    batch_size: int = 4
    val_split: float = 0.2
    device: str = "cpu"

    @classmethod
    def of(cls, request: dict[str, Any]) -> Options:
        """The options of a request, whose values may be text, as 3D Slicer sends them.

        Raises:
            DataError: a value is invalid.
        """
        try:
            numbers = {name: value for name, value in vars(cls()).items() if name != "device"}
            values = {name: type(value)(request.get(name, value)) for name, value in numbers.items()}
            options = cls(**values, device=name_to_device(request.get("device")))
        except (TypeError, ValueError) as error:
            raise DataError(f"A training option is not a number: {error}.") from error
        if not (options.max_epochs >= 1 and options.batch_size >= 1 and options.learning_rate > 0):
            raise DataError("max_epochs, batch_size and learning_rate must be above 0.")
        if not 0 <= options.val_split < 1:
            raise DataError("val_split must be at least 0 and below 1.")
        return options


class FineTuneTask(TrainTask):
    """Trains a bundle on the final labels of the datastore with `python -m monai.bundle run training`.

    Each training has its own folder with data list, log and history, and at the end the weights, which are
    used from then on. The shipped weights are never changed.
    """

    def __init__(self, weights: WeightStore) -> None:
        super().__init__(f"Train {weights.bundle.name} on the saved labels, from its newest weights")
        self.weights = weights

    def config(self) -> dict[str, Any]:
        """The options of a client, with their defaults."""
        return vars(Options()) | {"device": device_list()}

    def stats(self) -> dict[str, Any]:
        """Progress or result of the newest training, with the keys that 3D Slicer expects."""
        newest = max(self.weights.folder.glob(f"*/{DATA}"), default=None)
        if newest is None or not (newest.parent / HISTORY).is_file():
            return {}
        folder = newest.parent
        with (folder / HISTORY).open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file))
        stats: dict[str, Any] = {
            "epoch": len(rows),
            "best_metric": max((float(row[_METRIC]) for row in rows if row.get(_METRIC)), default=0.0),
        }
        summary = folder / SUMMARY
        return stats | (json.loads(summary.read_text(encoding="utf-8")) if summary.is_file() else {})

    def __call__(self, request: dict[str, Any], datastore: Datastore) -> dict[str, Any]:
        """Train on the final labels of a datastore; `request` holds `Options`. The result is used at once.

        Returns:
            A summary: data, options and the metrics reached.

        Raises:
            LungfieldError: there are no labels, a label cannot be used, or the training failed.
        """
        options = Options.of(request)
        started = time.monotonic()
        corrections = corrections_in(datastore)
        if not corrections:
            raise DataError("There is nothing to train on: save labels first (tag 'final').")
        bundle = self.weights.current()
        folder = self.weights.new_folder()
        names = [one.id for one in corrections]
        split = divide_and_remember(names, options.val_split, self.weights.folder / SPLIT)
        training, validation = write_data(corrections, folder / DATA, options, split)
        _run(_command(bundle, folder, options), folder / LOG)
        return self._finish(
            folder,
            {
                "model": bundle.name,
                "started_from": bundle.version,
                "training_images": training,
                "validation_images": validation,
                "total_epochs": options.max_epochs,
                "total_time": round(time.monotonic() - started, 1),
            },
        )

    def _finish(self, folder: Path, summary: dict[str, Any]) -> dict[str, Any]:
        """Start using the best weights, and delete the checkpoints, which are only needed to resume."""
        for checkpoint in folder.glob("checkpoint_epoch=*.pt"):
            checkpoint.unlink()
        write_whole(folder / SUMMARY, json.dumps(summary, indent=1).encode())
        (folder / "best_model.pt").replace(folder / WEIGHTS_NAME)
        return self.stats() | {"version": self.weights.current().version}


def corrections_in(datastore: Datastore) -> list[Correction]:
    """The images of a datastore with a final label."""
    names = getattr(datastore, "label_names", None)
    pairs = [(Path(one["image"]), Path(one["label"])) for one in datastore.datalist()]
    return [
        Correction(stem(image.name), image, label, names(stem(image.name)) if names else None)
        for image, label in pairs
    ]


def write_data(
    corrections: list[Correction], folder: Path, options: Options, split: Split | None = None
) -> tuple[int, int]:
    """Write the data set for a bundle's train.yaml: a list, and the masks as label maps.

    The radiographs are not copied. The training list is filled up to whole batches, as some networks cannot
    be trained with a batch of one image. A single correction is used for training and validation. Without
    `split`, a new split is made.

    Returns:
        The number of training images and of validation images.

    Raises:
        DataError: a mask cannot be used.
        UnreadableError: a radiograph cannot be read.
    """
    start_set(folder)
    split = split or divide([one.id for one in corrections], options.val_split)
    items = [_write_item(one, folder) for one in corrections]
    training = [one for one in items if one.id in split.training]
    validation = [one for one in items if one.id in split.validation]
    batches = -(-len(training) // options.batch_size)
    finish_set(
        folder,
        SetDescription("corrections", description="Masks that were saved through MONAI Label."),
        {"training": list(islice(cycle(training), batches * options.batch_size)), "validation": validation},
        label_values=label_values(lung.value for lung in LUNGS),
        split={"val_split": options.val_split, "by": "SHA-256 of the image's name, once for all trainings"},
    )
    return len(training), len(validation)


def _write_item(one: Correction, folder: Path) -> Item:
    shape = read_radiograph(one.image, require_frontal=False).stored_shape
    label = f"{LABELS}/{one.id}.png"
    save_label_map_png(read_label(one.label, shape, names=one.names), folder / label)
    return Item(one.id, str(one.image.resolve()), label, "corrections")


def _command(bundle: Bundle, folder: Path, options: Options) -> list[str]:
    """The command line that trains the bundle on the data."""
    settings = {
        "config_file": bundle.root / "configs" / "train.yaml",
        "dataset_dir": folder / DATA,
        "output_dir": folder,
        "initial_weights": bundle.weights,
        "max_epochs": options.max_epochs,
        "learning_rate": options.learning_rate,
        "batch_size": options.batch_size,
        "save_interval": options.max_epochs,
        "num_workers": 0,
        "device": options.device,
    }
    words = [word for name, value in settings.items() for word in (f"--{name}", str(value))]
    return [sys.executable, "-m", "monai.bundle", "run", "training", *words]


def _run(command: list[str], log: Path) -> None:
    """Run a command with its output in the log, whose last lines MONAI Label shows as progress.

    Raises:
        BundleError: the command failed.
    """
    logger.info("training: %s", " ".join(command))
    with (
        log.open("w", encoding="utf-8") as file,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process,
    ):
        for line in process.stdout or ():
            file.write(line)
            logger.info("%s", line.rstrip())
    if process.returncode:
        last = log.read_text(encoding="utf-8").strip().splitlines()[-1:]
        raise BundleError(f"The training failed: {''.join(last)} The full log is {log}.")
