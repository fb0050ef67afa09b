"""A drawn chest with heart and clavicles, and a bundle whose network finds them by their grey values."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from numpy.typing import NDArray

from grey_bundle import write_bundle

if TYPE_CHECKING:
    from lungfield.pipeline import Segmenter

HEART_WIDTH_PX, CHEST_WIDTH_PX = 75, 180


@pytest.fixture(scope="session")
def finds_hearts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a bundle: lung below a grey of 0.25, heart above 0.6, clavicles above 0.85."""
    root = tmp_path_factory.mktemp("bundles") / "finds_hearts"
    greys = {"lung": (-100.0, 0.25), "heart": (100.0, 0.6), "clavicle": (100.0, 0.85)}
    return write_bundle(root, greys, size=(200, 240), restores=False)


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
