"""Ensembles: several bundles whose probabilities are averaged."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import expit, logit

from lungfield.bundles.predictor import (
    LOGIT_NAMES,
    Answer,
    Outcome,
    Predictor,
    Prepared,
    Processing,
    Result,
    Steps,
    drive,
    logits_by_name,
)
from lungfield.bundles.registry import Bundle
from lungfield.errors import BundleError
from lungfield.mask.native import native_label_map
from lungfield.mask.structures import native_structures
from lungfield.records import Radiograph
from lungfield.transforms import lung_logits

Map = NDArray[np.float32]

# Probabilities are clipped to [_LEAST, 1 - _LEAST] before the logit, which is infinite at 0 and 1.
_LEAST = 1e-6


@dataclass(frozen=True)
class Ensemble:
    """The bundles of an ensemble, with the name, version and hash that a single `Bundle` has."""

    bundles: tuple[Bundle, ...]

    @property
    def name(self) -> str:
        """Their names: 'unet + gsconv_unet'."""
        return " + ".join(bundle.name for bundle in self.bundles)

    @property
    def version(self) -> str:
        """Their versions, in the same order."""
        return " + ".join(bundle.version for bundle in self.bundles)

    @cached_property
    def weights_sha256(self) -> str:
        """SHA-256, in hexadecimal, of the sorted SHA-256 of the members' weights.

        Raises:
            BundleError: a member has no readable weights.
        """
        hashes = sorted(bundle.weights_sha256 for bundle in self.bundles)
        return hashlib.sha256("\n".join(hashes).encode()).hexdigest()


class EnsembleProcessing:
    """Pre- and post-processing of an ensemble; the counterpart of `Processing` for several bundles.

    The probabilities of a structure are averaged over the networks that segment it, on the finest of their
    grids, and the mean is thresholded at 0.5. Right and left come from the networks that separate them, or
    else from the position.

    Args:
        members: the `Processing` of each bundle.
    """

    def __init__(self, members: Sequence[Processing]) -> None:
        self.members = tuple(members)
        self.bundle = Ensemble(tuple(member.bundle for member in members))

    def prepare(self, radiograph: Radiograph) -> list[Prepared]:
        """Preprocess a radiograph for each of the networks."""
        return [member.prepare(radiograph) for member in self.members]

    def network_input(self, prepared: list[Prepared]) -> list[torch.Tensor]:
        """The input of each network: (C, h, w) float32."""
        return [member.network_input(one) for member, one in zip(self.members, prepared, strict=True)]

    def outcome(self, prepared: list[Prepared], answers: Sequence[Answer], radiograph: Radiograph) -> Outcome:
        """Average the networks' answers and convert the mean to the label map, probabilities and masks.

        Args:
            prepared: from `prepare`.
            answers: of each network, in the order of the members.
            radiograph: the one that was prepared.

        Raises:
            BundleError: a network's output channels do not match its metadata.
        """
        lungs, rights, mirrored = [], [], []
        further: dict[str, list[Map]] = {}
        for member, one, (logits, logits_of_mirrored) in zip(self.members, prepared, answers, strict=True):
            over_picture = member.over_picture(one, logits).float()
            _, right = lung_logits(over_picture, member.classes)
            named = logits_by_name(over_picture, member.classes)
            lungs.append(named.pop("lungs"))
            if right is not None:
                rights.append(right.numpy())
            for name, channel in named.items():
                further.setdefault(name, []).append(channel)
            if logits_of_mirrored is not None:
                other, _ = lung_logits(member.over_picture(one, logits_of_mirrored).float(), member.classes)
                mirrored.append(other.numpy())
        grid = tuple(np.max([lung.shape for lung in lungs], axis=0).tolist())
        probability = _mean(lungs, grid)
        mean_logits = {name: _logit(_mean(maps, grid)) for name, maps in further.items()}
        label_map = native_label_map(
            _logit(probability), radiograph.shape, right=_logit(_mean(rights, grid)) if rights else None
        )
        by_value = {value: mean_logits[name] for value, name in LOGIT_NAMES.items() if name in mean_logits}
        masks = native_structures(by_value, label_map, radiograph.shape)
        stored = radiograph.pose.stored
        return Outcome(
            np.ascontiguousarray(stored(label_map)),
            probability,
            _mean(mirrored, grid) if mirrored else None,
            {name: np.ascontiguousarray(stored(mask)) for name, mask in masks.items()},
            {"lungs": _logit(probability)} | mean_logits,
        )


class EnsemblePredictor:
    """The networks of several bundles with their processing; the counterpart of `Predictor`.

    Args:
        bundles: two or more, all different. Further arguments as in `Predictor`.

    Raises:
        BundleError: as `Predictor`; or fewer than two bundles, or one of them twice.
    """

    def __init__(
        self, bundles: Sequence[Bundle], *, device: str, backend: str, check_mirrored: bool = False
    ) -> None:
        if len(bundles) < 2 or len({bundle.root.resolve() for bundle in bundles}) < len(bundles):
            raise BundleError("An ensemble takes two bundles or more, each of them once.")
        self.members = [
            Predictor(bundle, device=device, backend=backend, check_mirrored=check_mirrored)
            for bundle in bundles
        ]
        self.processing = EnsembleProcessing([member.processing for member in self.members])
        self.device = self.members[0].device
        self.backend = " + ".join(dict.fromkeys(member.backend for member in self.members))

    def drive(self, steps: Steps[Result]) -> Result:
        """As `Predictor.drive`, with a list of inputs and a list of answers, one for each network."""
        return drive(steps, self.answer)

    def answer(self, inputs: Sequence[torch.Tensor]) -> list[Answer]:
        """The `Answer` of each network to its input, (C, h, w) float32."""
        return [member.answer(one) for member, one in zip(self.members, inputs, strict=True)]


def _mean(logits: Sequence[Map], grid: tuple[int, ...]) -> Map:
    """The mean probability, float32 of shape `grid` (h, w), of logits on several grids over one picture."""
    height, width = grid
    resized = [cv2.resize(one, (width, height), interpolation=cv2.INTER_LINEAR) for one in logits]
    mean: Map = np.mean(expit(resized), axis=0, dtype=np.float32)
    return mean


def _logit(probability: Map) -> Map:
    result: Map = logit(np.clip(probability, _LEAST, 1 - _LEAST)).astype(np.float32)
    return result
