"""Put the weights of a finished training run into a bundle, in half precision.

    python scripts/promote_weights.py runs/unet/training/best_model.pt bundles/unet

Training saves elsewhere on purpose: a worse run must not replace the weights that a bundle ships.
"""

from __future__ import annotations

from pathlib import Path

import torch
import typer
from monai.bundle import ConfigParser

from lungfield.inference.workflow import weights_in


def main(checkpoint: Path, bundle: Path) -> None:
    """Check that the weights fit the bundle's network, and write models/model.pt."""
    state = torch.load(checkpoint, map_location="cpu", weights_only=True)
    state = weights_in(state)
    parser = ConfigParser()
    parser.read_config(str(bundle / "configs" / "inference.yaml"))
    parser.get_parsed_content("network_def").load_state_dict(state)
    half = {key: value.half() if value.is_floating_point() else value for key, value in state.items()}
    broken = [key for key, value in half.items() if not value.isfinite().all()]
    if broken:
        raise SystemExit(f"Not finite in half precision: {', '.join(broken)}")
    target = bundle / "models" / "model.pt"
    target.parent.mkdir(parents=True, exist_ok=True)
    torch.save(half, target)
    print(f"{target}: {target.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    typer.run(main)
