"""Put the weights of a finished training run into a bundle, in half precision.

    python scripts/promote_weights.py runs/unet/training/best_model.pt bundles/unet
    python scripts/promote_weights.py runs/unet/2/best_model.pt runs/unet/3/best_model.pt bundles/unet

The weights of several runs, each of which started from the end of the one before, are averaged (Wortsman et
al. 2022, 'Model soups', arXiv:2203.05482).

Training saves elsewhere, so that a worse run cannot replace the shipped weights.
"""

from __future__ import annotations

from pathlib import Path

import torch
import typer
from monai.bundle import ConfigParser

from lungfield.bundles.weights import (
    note_preparation,
    noted_preparation,
    preparation,
    require_preparation,
    weights_in,
)
from lungfield.errors import BundleError


def main(checkpoints: list[Path], bundle: Path) -> None:
    """Check that the weights fit the bundle's network, and write models/model.pt."""
    states = [weights_in(torch.load(path, map_location="cpu", weights_only=True)) for path in checkpoints]
    if any(one.keys() != states[0].keys() for one in states):
        raise SystemExit("These are not the weights of one network.")
    state = {key: _mean([one[key] for one in states]) for key in states[0]}
    parser = ConfigParser()
    parser.read_config(str(bundle / "configs" / "inference.yaml"))
    network, preprocessing = map(parser.get_parsed_content, ("network_def", "preprocessing"))
    try:
        for one, path in zip(states, checkpoints, strict=True):
            require_preparation(one, preparation(preprocessing), path)
    except BundleError as error:
        raise SystemExit(str(error)) from error
    if all(noted_preparation(one) for one in states):
        note_preparation(network, preprocessing)
    network.load_state_dict(state)
    half = network.half().state_dict()
    broken = [key for key, value in half.items() if not value.isfinite().all()]
    if broken:
        raise SystemExit(f"Not finite in half precision: {', '.join(broken)}")
    target = bundle / "models" / "model.pt"
    target.parent.mkdir(parents=True, exist_ok=True)
    torch.save(half, target)
    print(f"{target}: {target.stat().st_size / 1e6:.1f} MB")


def _mean(values: list[torch.Tensor]) -> torch.Tensor:
    """The mean of floating-point tensors; of others (counts), the last."""
    return torch.stack(values).mean(dim=0) if values[0].is_floating_point() else values[-1]


if __name__ == "__main__":
    typer.run(main)
