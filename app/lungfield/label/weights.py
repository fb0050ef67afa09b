"""Weights that the server trained or received, stored apart from the shipped ones."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from lungfield.bundles import Bundle
from lungfield.errors import OutputError

WEIGHTS_NAME = "model.pt"


@dataclass(frozen=True)
class RetrainedBundle(Bundle):
    """A bundle with other weights than the shipped ones.

    Attributes:
        retrained: file of a state dict; the name of its folder identifies the weights.
    """

    retrained: Path

    @property
    def version(self) -> str:
        """The bundle's version, a plus sign, and the identifier of the weights."""
        return f"{super().version}+{self.retrained.parent.name}"

    @property
    def weights(self) -> Path:
        """The file of the state dict."""
        return self.retrained


@dataclass(frozen=True)
class WeightStore:
    """The folder of one bundle's retrained weights, with a sub-folder per training; the newest is used.

    A sub-folder is named by the time of its creation. It is used once it has a model.pt, so an interrupted
    training changes nothing. Nothing is written to the folder of the bundle.
    """

    bundle: Bundle
    folder: Path

    def latest(self) -> Path | None:
        """The newest retrained weights, or None."""
        return max(self.folder.glob(f"*/{WEIGHTS_NAME}"), default=None)

    def current(self) -> Bundle:
        """The bundle with its newest weights."""
        latest = self.latest()
        if latest is None:
            return replace(self.bundle)  # a copy: a bundle caches its hash, and the file may have changed
        return RetrainedBundle(self.bundle.name, self.bundle.root, self.bundle.metadata, latest)

    def new_folder(self) -> Path:
        """Create the sub-folder for a new training, or for uploaded weights.

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
