"""Files of weights: there or not, readable or not, and of this network or of another."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lungfield.errors import BundleError, first_line


def require_file(path: str | Path, *, what: str, advice: str) -> str:
    """Return `path` where it is a file; else `BundleError` says what is missing and `advice`."""
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
    state = load_state(path, what="file of weights", advice="Give the path of a model.pt, or train first.")
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


def load_state(path: str | Path, *, what: str, advice: str) -> Any:
    """What a file of tensors holds, on the CPU; such a file cannot run code.

    Raises:
        BundleError: there is no such file, or it is no such one; says `what` it should be and `advice`.
    """
    import torch

    require_file(path, what=f"The {what}", advice=advice)
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise BundleError(f"{path} cannot be read as a {what} ({type(error).__name__}). {advice}") from error
