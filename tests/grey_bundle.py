"""Bundles without training, for tests of what runs bundles: their 'network' knows classes by grey value."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

_INFERENCE = """
imports:
  - $from lungfield.transforms import RadiographReader
  - $from lungfield.bundles.classes import output_classes
bundle_root: .
device: cpu
network_def: {_target_: torch.nn.Conv2d, in_channels: 1, out_channels: CHANNELS, kernel_size: 1}
preprocessing:
  _target_: Compose
  transforms:
    - {_target_: LoadImaged, keys: image, reader: $RadiographReader(), ensure_channel_first: true}
    - {_target_: Transposed, keys: image, indices: [0, 2, 1]}
    - {_target_: MORE, keys: image}
    - {_target_: Resized, keys: image, spatial_size: SIZE, mode: area}
inferer: {_target_: SimpleInferer}
postprocessing:
  _target_: Compose
  transforms:
    - {_target_: lungfield.transforms.RestoreGridd, keys: pred, orig_keys: image, transform: "@preprocessing"}
    - {_target_: lungfield.transforms.LungLabelMapd, keys: pred, classes: $output_classes(@_meta_)}
    - {_target_: SaveImaged, keys: pred}
"""
_RESTORING = next(line for line in _INFERENCE.splitlines(keepends=True) if "RestoreGridd" in line)


def write_bundle(
    root: Path,
    classes: Mapping[str, tuple[float, float]],
    *,
    size: tuple[int, int],
    transform: str = "Identityd",
    restores: bool = True,
) -> Path:
    """Write a bundle into the new folder `root`, and return that.

    Args:
        root: folder of the bundle.
        classes: by name, the slope of its logits, and the grey value in [0, 1] where they are zero.
        size: (rows, columns) of what the network sees.
        transform: target of a further transform for the radiograph, such as one that misbehaves.
        restores: whether logits are brought to the file's grid before the mask is made, or the mask is.
    """
    import torch  # on use: every test session loads this module

    (root / "configs").mkdir(parents=True)
    (root / "models").mkdir()
    text = _INFERENCE.replace("CHANNELS", str(len(classes))).replace("SIZE", str([*size]))
    if not restores:
        text = text.replace(_RESTORING, "").replace("(@_meta_)}", '(@_meta_), transform: "@preprocessing"}')
    (root / "configs" / "inference.yaml").write_text(text.replace("MORE", transform))
    output = {"num_channels": len(classes), "channel_def": {str(i): name for i, name in enumerate(classes)}}
    metadata = {"version": "0.1.0", "network_data_format": {"outputs": {"pred": output}}}
    (root / "configs" / "metadata.json").write_text(json.dumps(metadata))
    slopes, zeros = torch.tensor([*classes.values()]).T
    weights = {"weight": slopes.reshape(-1, 1, 1, 1), "bias": -slopes * zeros}
    torch.save(weights, root / "models" / "model.pt")
    return root


def write_dark_is_lung(folder: Path, *, transform: str = "Identityd") -> Path:
    """Write a bundle into a new folder 'dark_is_lung' below another: a pixel darker than 0.3 is lung."""
    root = folder / "dark_is_lung"
    return write_bundle(root, {"lung": (-100.0, 0.3)}, size=(120, 100), transform=transform)
