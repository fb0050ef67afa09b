"""A bundle without training, for tests of what runs bundles: its 'network' takes for lung what is dark."""

from __future__ import annotations

import json
from pathlib import Path

import torch

_INFERENCE = """
imports:
  - $from lungfield.transforms import RadiographReader
bundle_root: .
device: cpu
network_def: {_target_: torch.nn.Conv2d, in_channels: 1, out_channels: 1, kernel_size: 1}
preprocessing:
  _target_: Compose
  transforms:
    - {_target_: LoadImaged, keys: image, reader: $RadiographReader(), ensure_channel_first: true}
    - {_target_: Transposed, keys: image, indices: [0, 2, 1]}
    - {_target_: MORE, keys: image}
    - {_target_: Resized, keys: image, spatial_size: [120, 100], mode: area}
inferer: {_target_: SimpleInferer}
postprocessing:
  _target_: Compose
  transforms:
    - {_target_: lungfield.transforms.RestoreGridd, keys: pred, orig_keys: image, transform: "@preprocessing"}
    - {_target_: lungfield.transforms.LungLabelMapd, keys: pred, threshold: 0.5}
    - {_target_: SaveImaged, keys: pred}
"""


def write_bundle(folder: Path, *, transform: str = "Identityd") -> Path:
    """Write the bundle into a new folder 'dark_is_lung' below another, and return its path.

    A pixel darker than 0.3 is lung. `transform` is the target of a further one for the radiograph, such as a
    module of the tests whose class misbehaves.
    """
    root = folder / "dark_is_lung"
    (root / "configs").mkdir(parents=True)
    (root / "models").mkdir()
    (root / "configs" / "metadata.json").write_text(json.dumps({"version": "0.1.0"}))
    (root / "configs" / "inference.yaml").write_text(_INFERENCE.replace("MORE", transform))
    weights = {"weight": torch.full((1, 1, 1, 1), -100.0), "bias": torch.tensor([30.0])}
    torch.save(weights, root / "models" / "model.pt")
    return root
