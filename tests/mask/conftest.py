"""Lungs drawn as ellipses, on a canvas that is not square."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

SHAPE = (200, 240)


@pytest.fixture
def ellipse() -> Callable[..., NDArray[np.bool_]]:
    """A factory: centre (row, column) and half axes (rows, columns) to a (200, 240) bool mask."""

    def draw(row: float, column: float, half_height: float, half_width: float) -> NDArray[np.bool_]:
        rows, columns = np.ogrid[: SHAPE[0], : SHAPE[1]]
        return ((rows - row) / half_height) ** 2 + ((columns - column) / half_width) ** 2 <= 1

    return draw


@pytest.fixture
def image_left_lung(ellipse: Callable[..., NDArray[np.bool_]]) -> NDArray[np.bool_]:
    return ellipse(100, 65, 80, 35)


@pytest.fixture
def image_right_lung(ellipse: Callable[..., NDArray[np.bool_]]) -> NDArray[np.bool_]:
    return ellipse(105, 175, 70, 35)
