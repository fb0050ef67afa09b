"""A drawn chest with heart and clavicles, and a bundle whose network finds them by their grey values."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from numpy.typing import NDArray

if TYPE_CHECKING:
    from lungfield.pipeline import Segmenter

_INFERENCE = """
imports:
  - $from lungfield.transforms import RadiographReader
  - $from lungfield.bundles.classes import output_classes
bundle_root: .
device: cpu
network_def: {_target_: torch.nn.Conv2d, in_channels: 1, out_channels: 3, kernel_size: 1}
preprocessing:
  _target_: Compose
  transforms:
    - {_target_: LoadImaged, keys: image, reader: $RadiographReader(), ensure_channel_first: true}
    - {_target_: Transposed, keys: image, indices: [0, 2, 1]}
    - {_target_: Resized, keys: image, spatial_size: [200, 240], mode: area}
inferer: {_target_: SimpleInferer}
postprocessing:
  _target_: Compose
  transforms:
    - _target_: lungfield.transforms.LungLabelMapd
      keys: pred
      classes: $output_classes(@_meta_)
      transform: "@preprocessing"
    - {_target_: SaveImaged, keys: pred}
"""
_OUTPUT = {"num_channels": 3, "channel_def": {"0": "lung", "1": "heart", "2": "clavicle"}}
HEART_WIDTH_PX, CHEST_WIDTH_PX = 75, 180


@pytest.fixture(scope="session")
def finds_hearts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a bundle: lung below a grey of 0.25, heart above 0.6, clavicles above 0.85."""
    import torch  # on use: every test session loads this module

    root = tmp_path_factory.mktemp("bundles") / "finds_hearts"
    (root / "configs").mkdir(parents=True)
    (root / "models").mkdir()
    metadata = {"version": "0.1.0", "network_data_format": {"outputs": {"pred": _OUTPUT}}}
    (root / "configs" / "metadata.json").write_text(json.dumps(metadata))
    (root / "configs" / "inference.yaml").write_text(_INFERENCE)
    slopes = torch.tensor([-100.0, 100.0, 100.0])
    weights = {"weight": slopes.reshape(3, 1, 1, 1), "bias": -slopes * torch.tensor([0.25, 0.6, 0.85])}
    torch.save(weights, root / "models" / "model.pt")
    return root


@pytest.fixture
def hearts_chest() -> tuple[NDArray[np.uint8], NDArray[np.uint8], dict[str, NDArray[np.bool_]]]:
    """A picture, (200, 240) uint8; its label map; and its further masks by name.

    The heart is 75 pixels wide and the chest 180; the clavicles lie over the lungs.
    """
    rows, columns = np.ogrid[:200, :240]

    def ellipse(row: float, column: float, half_height: float, half_width: float) -> NDArray[np.bool_]:
        return ((rows - row) / half_height) ** 2 + ((columns - column) / half_width) ** 2 <= 1

    masks = {
        "heart": ellipse(120, 110, 28, 20) | ellipse(130, 134, 30, 30),
        "right_clavicle": ellipse(45, 75, 5, 35),
        "left_clavicle": ellipse(45, 165, 5, 35),
    }
    label_map = (ellipse(100, 65, 80, 35) * 1 + ellipse(105, 175, 70, 35) * 2).astype(np.uint8)
    clavicles = masks["right_clavicle"] | masks["left_clavicle"]
    # What is seen of the lungs, as a network that thinks in greys finds them.
    label_map[masks["heart"] | clavicles] = 0
    grain = (3 * rows + columns) % 8  # else a picture of few values, taken for a mask
    pixels = np.select([label_map > 0, masks["heart"], clavicles], [10, 180, 247], 105) + grain
    return pixels.astype(np.uint8), label_map, masks


@pytest.fixture
def segment_heart(finds_hearts: Path) -> Segmenter:
    """That bundle, loaded."""
    from lungfield.pipeline import Segmenter

    return Segmenter(finds_hearts, device="cpu", backend="torch")


@pytest.fixture
def heart_dicom(
    tmp_path: Path, hearts_chest: tuple[Any, Any, Any], make_dicom: Callable[..., Path]
) -> Callable[..., Path]:
    """Write the picture as DICOM, with attributes by keyword."""

    def make(name: str = "a.dcm", **keywords: Any) -> Path:
        pixels = hearts_chest[0].astype(np.uint16)
        return make_dicom(tmp_path / name, pixels, PixelSpacing=[2, 1], **keywords)

    return make
