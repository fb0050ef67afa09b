"""Real radiographs, where they are at hand: the lungs have to come out dark, in their place."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lungfield.radiograph import read_radiograph

JSRT = Path(__file__).parents[2] / "../shared/data/jsrt"


@pytest.mark.skipif(not JSRT.is_dir(), reason="the JSRT radiographs are not beside the repository")
def test_lungs_are_darker_than_the_heart() -> None:
    for path in sorted((JSRT / "images").glob("*.png"))[:3]:
        pixels = read_radiograph(path).pixels
        lung, heart = (
            np.asarray(Image.open(JSRT / "masks" / name / path.name)) > 0 for name in ("left_lung", "heart")
        )
        assert pixels.shape == heart.shape
        assert pixels[lung].mean() < pixels[heart & ~lung].mean()
