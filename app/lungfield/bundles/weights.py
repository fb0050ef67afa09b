"""Load files of weights, and check that they fit the network and its preprocessing.

Training stores the preprocessing steps in the state dict's `_metadata`, where torch stores the versions of
modules. So the file stays a plain state dict that any program can load.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lungfield.errors import BundleError, first_line

logger = logging.getLogger(__name__)

_PREPARATION = "lungfield_preparation"


def require_file(path: str | Path, *, what: str, advice: str) -> str:
    """Return `path` as text if it is a file; else raise `BundleError` with `what` and `advice`."""
    if not Path(path).is_file():
        raise BundleError(f"{what} is missing: {path}. {advice}")
    return str(path)


def load_weights(
    network: Any, path: str | Path | None, *, bundle_root: str | Path = ".", preprocessing: Any = None
) -> Any:
    """Load a state dict, or the (averaged) network of a training checkpoint, into a network, and return it.

    Without `preprocessing`, for fine-tuning, the network may have more or fewer output channels than the
    weights: channels of the same number get the weights, and further channels keep their random start.

    Args:
        network: a torch module; it is changed in place.
        path: a file that `torch.load(weights_only=True)` reads; 'shipped' for models/model.pt of the bundle;
            None to return the network unchanged.
        bundle_root: folder of the bundle.
        preprocessing: the Compose that prepares the network's input, compared with that of the weights'
            training; None for fine-tuning, which may use another.

    Raises:
        BundleError: the file is missing, or holds no weights, weights of another network, or weights that
            were trained with another preprocessing.
    """
    if path is None:
        return network
    if path == "shipped":
        path = Path(bundle_root) / "models" / "model.pt"
    state = load_state(path, what="file of weights", advice="Give the path of a model.pt, or train first.")
    weights = weights_in(state)
    if preprocessing is None:
        weights = _with_channels_of(network, weights)
    else:
        require_preparation(weights, preparation(preprocessing), path)
        if noted_preparation(weights) is None:
            _warn_of_another_size(Path(path), preprocessing)
    try:
        network.load_state_dict(weights)
    except Exception as error:
        raise BundleError(
            f"{path} does not hold the weights of {type(network).__name__}: {first_line(error)}"
        ) from error
    return network


def _with_channels_of(network: Any, weights: dict[str, Any]) -> dict[str, Any]:
    """Fit the weights to the network's number of output channels, if nothing else differs."""
    own = network.state_dict()
    if all(name in own for name in weights):
        new = {name: value for name, value in own.items() if name.startswith("further.")}
        weights = {**new, **weights}
    if own.keys() != weights.keys():
        return weights
    differing = [name for name, value in own.items() if value.shape != weights[name].shape]
    if len({name.rpartition(".")[0] for name in differing}) != 1:  # more than one layer differs
        return weights
    result = dict(weights)
    for name in differing:
        if own[name].shape[1:] != weights[name].shape[1:]:
            return weights
        result[name] = own[name].clone()
        both = min(len(own[name]), len(weights[name]))
        result[name][:both] = weights[name][:both]
    return result


def weights_in(state: dict[str, Any]) -> dict[str, Any]:
    """The (averaged) network's state dict in a training checkpoint; a plain state dict is returned as is."""
    found: dict[str, Any] = state.get("averaged_network", state.get("network", state))
    return found


def preparation(preprocessing: Any) -> list[str]:
    """The names of the steps of a preprocessing that change the image, with the size of a resize."""
    steps = []
    for step in preprocessing.transforms:
        name = type(step).__name__
        if "image" in getattr(step, "keys", ()) and not name.startswith("LoadImage"):
            size = _size_of(step)
            steps.append(name if size is None else f"{name} to {' x '.join(map(str, size))}")
    return steps


def note_preparation(network: Any, preprocessing: Any) -> Any:
    """Make every future state dict of a network store the steps of its preprocessing; return the network."""
    steps = preparation(preprocessing)

    def note(_module: Any, _state: Any, _prefix: str, metadata: dict[str, Any]) -> None:
        metadata[_PREPARATION] = steps

    network.register_state_dict_post_hook(note)
    return network


def noted_preparation(weights: dict[str, Any]) -> list[str] | None:
    """The preprocessing steps that `note_preparation` stored in a state dict, or None."""
    found: list[str] | None = getattr(weights, "_metadata", {}).get("", {}).get(_PREPARATION)
    return found


def require_preparation(weights: dict[str, Any], steps: list[str] | None, path: str | Path) -> None:
    """Refuse weights that were trained with other preprocessing steps; weights without steps are accepted.

    Raises:
        BundleError: the steps differ; the message names both lists.
    """
    then = noted_preparation(weights)
    if then is not None and steps is not None and then != steps:
        raise BundleError(
            f"The network in {path} was trained with the preprocessing {', '.join(then)}, but this run uses "
            f"{', '.join(steps)}. Set image_size and preprocessing as in its training: "
            '--image_size "[H,W]" on the command line, or in configs/inference.yaml of its bundle.'
        )


def _warn_of_another_size(path: Path, preprocessing: Any) -> None:
    """Say so where weights that note nothing lie in a bundle whose metadata gives its images another size."""
    try:
        metadata = json.loads((path.parent.parent / "configs" / "metadata.json").read_text("utf-8"))
        shape = metadata["network_data_format"]["inputs"]["image"]["spatial_shape"]
    except (OSError, ValueError, LookupError, TypeError):
        return  # not in a bundle, or in one that does not tell
    sizes = [_size_of(step) for step in preprocessing.transforms]
    now = next((size for size in reversed(sizes) if size is not None), None)
    if now is not None and list(now) != list(shape):
        logger.warning(
            "%s: images are resized to %s, and the metadata.json of the bundle gives them %s. Masks are "
            "worse at another size than that of the training.",
            path,
            *(" x ".join(map(str, size)) for size in (now, shape)),
        )


def _size_of(step: Any) -> Sequence[int] | None:
    """The size that a step of a preprocessing brings the image to, or None."""
    size: Sequence[int] | None = None
    if "image" in getattr(step, "keys", ()):
        size = getattr(getattr(step, "resizer", None), "spatial_size", None)
    return size


def load_state(path: str | Path, *, what: str, advice: str) -> Any:
    """Load a file of tensors to the CPU with `weights_only`, which cannot run code.

    Args:
        path: the file.
        what: its kind, for the error message.
        advice: what to do if it cannot be read, for the error message.

    Raises:
        BundleError: the file is missing or cannot be read.
    """
    import torch

    require_file(path, what=f"The {what}", advice=advice)
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise BundleError(f"{path} cannot be read as a {what} ({type(error).__name__}). {advice}") from error
