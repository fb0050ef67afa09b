"""Weights that the server trained or was given, kept apart from those that bundles ship with."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from lungfield.bundles import Bundle
from lungfield.errors import OutputError

WEIGHTS_NAME = "model.pt"


@dataclass(frozen=True)
class RetrainedBundle(Bundle):
    """A bundle with other weights than it ships with.

    Attributes:
        retrained: file of a state dict, in a folder whose name tells these weights from others.
    """

    retrained: Path

    @property
    def version(self) -> str:
        """The bundle's version, and after a plus sign which weights these are."""
        return f"{super().version}+{self.retrained.parent.name}"

    @property
    def weights(self) -> Path:
        """The file of the state dict."""
        return self.retrained


@dataclass(frozen=True)
class WeightStore:
    """The folder of one bundle's later weights: a sub-folder for each training, the newest one counts.

    A sub-folder is named by the time at which it was made, the first on first use. It counts once there is a
    model.pt in it, so a training that was stopped changes nothing. Nothing is ever written to the folder of
    the bundle.
    """

    bundle: Bundle
    folder: Path

    def latest(self) -> Path | None:
        """The newest weights, or None where there are only those that the bundle ships with."""
        return max(self.folder.glob(f"*/{WEIGHTS_NAME}"), default=None)

    def current(self) -> Bundle:
        """The bundle with its newest weights."""
        latest = self.latest()
        if latest is None:
            return replace(self.bundle)  # a bundle keeps its hash, and the file may have changed since
        return RetrainedBundle(self.bundle.name, self.bundle.root, self.bundle.metadata, latest)

    def new_folder(self) -> Path:
        """Make the sub-folder for a training that begins now, or for weights that are handed in.

        Raises:
            OutputError: the folder cannot be made.
        """
        now = datetime.now().strftime("%Y%m%dT%H%M%S")
        for name in (now, *(f"{now}-{count}" for count in range(2, 100))):
            try:
                (self.folder / name).mkdir(parents=True)
            except FileExistsError:
                continue
            except OSError as error:
                raise OutputError(f"{self.folder / name}: cannot be made: {error.strerror}.") from error
            return self.folder / name
        raise OutputError(f"{self.folder}: too many trainings at once; try again in a second.")
